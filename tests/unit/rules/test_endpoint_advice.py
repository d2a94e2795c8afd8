"""Which endpoints are not what was meant, and what to do about internal ones that cannot be reached."""

from __future__ import annotations

import pytest

from listener.core.errors import FailureKind, QueueUnavailable
from listener.formats.service_hosts import ServiceHost, mns_host, mps_host
from listener.rules.endpoint_advice import advice_if_unreachable, judge_mps_endpoint, judge_queue_endpoint
from tests.support.cases import each_case

HERE = "https://1.mns.cn-shanghai.aliyuncs.com"


@each_case(
    ("endpoint", "region", "words"),
    [
        pytest.param(HERE, "cn-shanghai", "", id="right"),
        pytest.param(HERE, "", "", id="no-region-to-compare-with"),
        pytest.param("http://127.0.0.1:8470", "cn-shanghai", "", id="not-the-vendors"),
        pytest.param(HERE, "cn-beijing", "only to queues in its own region", id="another-region"),
        pytest.param(
            "https://me.mns.cn-shanghai.aliyuncs.com", "", "not an endpoint of MNS", id="no-account"
        ),
        pytest.param("https://1.oss-cn-shanghai.aliyuncs.com", "", "not an endpoint of MNS", id="of-oss"),
    ],
)
def test_the_endpoint_of_a_queue(endpoint: str, region: str, words: str) -> None:
    results = list(judge_queue_endpoint("q", endpoint, mps_region=region))

    assert [words in one.detail for one in results] == [True] * bool(words)
    assert all(one.advice for one in results)


@each_case(
    ("endpoint", "region", "words"),
    [
        pytest.param("", "cn-shanghai", "", id="from-the-region"),
        pytest.param("https://mts-vpc.cn-shanghai.aliyuncs.com", "cn-shanghai", "", id="right"),
        pytest.param("https://mts.cn-beijing.aliyuncs.com", "cn-shanghai", "is in cn-beijing", id="another"),
        pytest.param("https://ice.cn-shanghai.aliyuncs.com", "", "not an endpoint of MPS", id="of-ice"),
    ],
)
def test_the_endpoint_of_mps(endpoint: str, region: str, words: str) -> None:
    results = list(judge_mps_endpoint("", endpoint, region=region))

    assert [words in one.detail for one in results] == [True] * bool(words)
    assert all(one.advice for one in results)


@each_case(
    ("host", "kind", "advised"),
    [
        (mns_host("https://1.mns.cn-shanghai-internal.aliyuncs.com"), FailureKind.TIMEOUT, True),
        (mps_host("https://mts-vpc.cn-shanghai.aliyuncs.com"), FailureKind.DNS, True),
        (mns_host("https://1.mns.cn-shanghai-internal.aliyuncs.com"), FailureKind.CREDENTIALS, False),
        (mns_host(HERE), FailureKind.TIMEOUT, False),
        (None, FailureKind.TIMEOUT, False),
    ],
    ids=["queue", "mps", "it-answered", "public", "unknown-host"],
)
def test_an_internal_endpoint_that_cannot_be_reached_says_so(
    host: ServiceHost | None, kind: FailureKind, advised: bool
) -> None:
    advice = advice_if_unreachable(host, QueueUnavailable("no answer", kind=kind))

    assert ("internal endpoint" in advice, bool(advice)) == (advised, advised)
    assert not (host and advised) or f"use {host.public}" in advice
