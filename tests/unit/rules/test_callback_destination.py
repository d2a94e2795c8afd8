"""Whether callbacks arrive at a queue that is polled."""

from __future__ import annotations

import pytest

from listener.core.account import Pipeline
from listener.core.check_result import CheckResult, Level
from listener.core.exit_codes import ExitCode
from listener.rules.callback_destination import Destination, PolledQueue, judge_notify_url, judge_pipeline
from tests.support.cases import each_case

AT_MNS = PolledQueue.of(
    "ours", label="ours", url="https://1.mns.cn-shanghai-internal.aliyuncs.com/queues/ours"
)
ELSEWHERE = PolledQueue.of("ours", label="ours", url="http://127.0.0.1:8470/queues/ours")
URL = "mns://1.mns.cn-shanghai.aliyuncs.com/queues/ours"


def notified(url: str, *polled: PolledQueue) -> CheckResult:
    return judge_notify_url(Destination(notify_url=url, polled=polled or (AT_MNS,)))


@each_case(
    ("url", "polled", "level"),
    [
        pytest.param(URL, AT_MNS, Level.OK, id="the-same-by-its-internal-endpoint"),
        pytest.param(URL, ELSEWHERE, Level.OK, id="only-the-name-is-comparable"),
        pytest.param(URL.replace("ours", "others"), AT_MNS, Level.WARNING, id="another-queue"),
        pytest.param(URL.replace("ours", "others"), ELSEWHERE, Level.WARNING, id="another-name"),
        pytest.param(URL.replace("//1.", "//2."), AT_MNS, Level.WARNING, id="another-account"),
        pytest.param(URL.replace("shanghai", "beijing"), AT_MNS, Level.WARNING, id="another-region"),
        pytest.param("", AT_MNS, Level.OK, id="none"),
        pytest.param(URL.replace("queues/ours", "topics/t"), AT_MNS, Level.FAILED, id="a-topic"),
        pytest.param(URL.replace(".mns.", ".oss-"), AT_MNS, Level.OK, id="corrected-at-submission"),
        pytest.param("mns://mns.example.com/queues/ours", AT_MNS, Level.FAILED, id="no-host-of-mns"),
        pytest.param("mns://h/somewhere", AT_MNS, Level.FAILED, id="no-queue-url"),
    ],
)
def test_a_notify_url_leads_to_a_polled_queue(url: str, polled: PolledQueue, level: Level) -> None:
    result = notified(url, polled)

    assert result.level == level
    assert bool(result.advice) == (level != Level.OK)


def test_a_notify_url_that_is_no_url_is_invalid_configuration() -> None:
    assert notified("nonsense").exit_code == ExitCode.CONFIG


def test_a_queue_that_is_polled_with_the_key_of_another_tenant_is_polled() -> None:
    assert judge_notify_url(Destination(notify_url=URL, polled_by_others=[AT_MNS])).level == Level.OK


@each_case("only", ["", URL])
def test_without_a_notify_url_it_is_said_what_is_used(only: str) -> None:
    detail = judge_notify_url(Destination(only_url=only)).detail

    assert (only or "each job has to name") in detail


def test_names_of_the_setting_and_of_the_polled_queues_are_in_the_words() -> None:
    to = Destination(tenant="one", section="tenants.one.mps", notify_url=URL.replace("ours", "others"))
    result = judge_notify_url(to)

    assert result.name == "notify url one"
    assert result.detail.startswith("tenants.one.mps.notify_url = 'mns://")
    assert "polled: none of this tenant" in result.detail


def judged(pipeline: Pipeline | None, *, notify_url: str = "") -> CheckResult:
    return judge_pipeline("p", pipeline, Destination(notify_url=notify_url, polled=[AT_MNS]))


@each_case(
    ("pipeline", "notify_url", "level", "words"),
    [
        pytest.param(
            Pipeline(id="p", state="Active", queue="ours"), "", Level.OK, "which is polled", id="polled"
        ),
        pytest.param(Pipeline(id="p", queue="ours"), "", Level.OK, "which is polled", id="unknown-state"),
        pytest.param(
            Pipeline(id="p", state="Paused", queue="ours"), "", Level.WARNING, "do not run", id="paused"
        ),
        pytest.param(
            Pipeline(id="p", state="Active", queue="others"),
            URL,
            Level.WARNING,
            "no [[queues]] entry polls",
            id="another-queue",
        ),
        pytest.param(Pipeline(id="p", state="Active", topic="t"), "", Level.OK, "the topic t", id="a-topic"),
        pytest.param(
            Pipeline(id="p", state="Active"), URL, Level.OK, "need a NotifyUrl", id="notify-url-instead"
        ),
        pytest.param(Pipeline(id="p", state="Active"), "", Level.WARNING, "has no callback", id="unbound"),
        pytest.param(None, URL, Level.FAILED, "does not exist", id="unknown"),
    ],
)
def test_a_pipeline_sends_its_callbacks_to_a_polled_queue(
    pipeline: Pipeline | None, notify_url: str, level: Level, words: str
) -> None:
    result = judged(pipeline, notify_url=notify_url)

    assert (result.level, words in result.detail) == (level, True)
    assert result.advice or level == Level.OK


def test_a_topic_needs_a_subscription() -> None:
    assert "subscription" in judged(Pipeline(id="p", topic="t")).advice
