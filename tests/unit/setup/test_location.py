"""Endpoints and names that follow from region, account and queue."""

from __future__ import annotations

from typing import Any

import pytest

from listener.core.errors import UsageError
from listener.formats.queue_url import split_queue_url
from listener.setup.location import Network, is_pipeline_id, location, parsed_url
from tests.support.cases import each_case


def located(**fields: Any) -> Any:
    given = {"region": "cn-shanghai", "account": "1234567890", "queue": "q", "network": Network.PUBLIC}
    return location(**(given | fields))


@each_case(
    ("network", "mns", "mps", "public"),
    [
        pytest.param(
            Network.PUBLIC, "https://1234567890.mns.cn-shanghai.aliyuncs.com", "", True, id="public"
        ),
        pytest.param(
            Network.INTERNAL,
            "http://1234567890.mns.cn-shanghai-internal.aliyuncs.com",
            "",
            False,
            id="internal",
        ),
        pytest.param(
            Network.VPC,
            "http://1234567890.mns.cn-shanghai-internal-vpc.aliyuncs.com",
            "https://mts-vpc.cn-shanghai.aliyuncs.com",
            False,
            id="vpc",
        ),
    ],
)
def test_endpoints_follow_from_the_network(network: Network, mns: str, mps: str, public: bool) -> None:
    found = located(network=network)

    assert (found.mns_endpoint, found.mps_endpoint, found.has_public_endpoint) == (mns, mps, public)
    assert found.notify_url == "mns://1234567890.mns.cn-shanghai.aliyuncs.com/queues/q"


def test_the_public_endpoint_is_the_one_that_the_settings_derive_from_the_url() -> None:
    found = located()

    assert split_queue_url(found.notify_url) == (found.mns_endpoint, "q")


def test_endpoints_that_are_given_take_precedence() -> None:
    found = located(network=Network.VPC, mns_endpoint="http://h:1", mps_endpoint="http://h:2")

    assert (found.mns_endpoint, found.mps_endpoint) == ("http://h:1", "http://h:2")
    assert not found.has_public_endpoint


@each_case(
    ("fields", "words"),
    [
        pytest.param({"region": ""}, "--region is missing", id="no-region"),
        pytest.param({"region": "shanghai"}, "--region 'shanghai' is not valid", id="region"),
        pytest.param({"account": "me@example.com"}, "--account 'me@example.com' is not valid", id="account"),
        pytest.param(
            {"account": "\uff11\uff12\uff13\uff14\uff15"}, "--account", id="digits-of-other-scripts"
        ),
        pytest.param({"queue": "a_b"}, "--queue 'a_b' is not valid", id="queue"),
        pytest.param({"queue": "q" * 121}, "120", id="long-queue"),
        pytest.param({"mns_endpoint": "127.0.0.1:8470"}, "--mns-endpoint '127.0.0.1:8470'", id="no-scheme"),
        pytest.param({"mps_endpoint": "http://h/x"}, "--mps-endpoint 'http://h/x'", id="endpoint-with-path"),
    ],
)
def test_what_is_not_valid_is_named_with_the_way_out(fields: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        located(**fields)

    assert "; use " in str(refused.value)


@each_case("suffix", ["", "-internal", "-internal-vpc"])
def test_the_url_of_a_queue_gives_region_account_and_queue(suffix: str) -> None:
    url = f"mns://1234567890.mns.ap-southeast-1{suffix}.aliyuncs.com/queues/my-queue"

    assert parsed_url(url) == {"region": "ap-southeast-1", "account": "1234567890", "queue": "my-queue"}


@each_case("url", ["", "http://127.0.0.1:8470/queues/q", "mns://x.mns.y.aliyuncs.com/queues/q"])
def test_another_url_gives_nothing(url: str) -> None:
    assert parsed_url(url) == {}


def test_an_id_of_a_pipeline_has_32_hexadecimal_digits() -> None:
    assert is_pipeline_id("88c6ca184c0e47b2a17a1b6ef2c6a1f0")
    assert not is_pipeline_id("transcode")
