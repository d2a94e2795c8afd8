"""Warnings about what goes on and on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import structlog
from structlog.testing import capture_logs

from listener.runtime.log_throttle import INTERVAL, ThrottledLog
from tests.support.clocks import FrozenClock, freeze_time

SECOND = timedelta(seconds=1)


@pytest.fixture
def time() -> Iterator[FrozenClock]:
    with freeze_time() as frozen:
        yield frozen


@pytest.fixture
def throttled() -> ThrottledLog:
    return ThrottledLog(structlog.get_logger())


def test_a_warning_is_logged_at_once_and_then_once_a_minute_with_a_count(
    time: FrozenClock, throttled: ThrottledLog
) -> None:
    with capture_logs() as logs:
        for _ in range(121):
            throttled.warning("queue.unavailable", queue="q")
            time.tick(SECOND)

    assert [(entry["repeated"], entry["queue"]) for entry in logs] == [(0, "q"), (59, "q"), (59, "q")]


def test_different_events_do_not_throttle_each_other(time: FrozenClock, throttled: ThrottledLog) -> None:
    with capture_logs() as logs:
        throttled.warning("queue.unavailable")
        throttled.warning("store.unavailable")

    assert len(logs) == 2


def test_another_kind_of_failure_is_logged_at_once(time: FrozenClock, throttled: ThrottledLog) -> None:
    with capture_logs() as logs:
        for kind in ("connection", "credentials", "connection", "credentials"):
            throttled.warning("queue.unavailable", kind=kind)

    assert [entry["kind"] for entry in logs] == ["connection", "credentials"]


def test_a_reset_forgets_what_was_not_logged(time: FrozenClock, throttled: ThrottledLog) -> None:
    with capture_logs() as logs:
        throttled.warning("x")
        throttled.warning("x")
        throttled.reset()
        time.tick(INTERVAL)
        throttled.warning("x")

    assert [entry["repeated"] for entry in logs] == [0, 0]


def test_a_burst_is_logged_before_the_rest_is_counted(time: FrozenClock) -> None:
    throttled = ThrottledLog(structlog.get_logger(), burst=3)
    with capture_logs() as logs:
        for _ in range(10):
            throttled.info("x", queue="q")
        time.tick(INTERVAL)
        throttled.info("x", queue="q")

    assert [(entry["repeated"], entry["log_level"]) for entry in logs] == [(0, "info")] * 3 + [(7, "info")]


def test_the_rest_of_a_burst_can_be_logged_at_debug(time: FrozenClock) -> None:
    throttled = ThrottledLog(structlog.get_logger(), burst=2, rest_at_debug=True)
    with capture_logs() as logs:
        for number in range(4):
            throttled.warning("x", number=number)

    assert [(entry["number"], entry["log_level"]) for entry in logs] == [
        (0, "warning"),
        (1, "warning"),
        (2, "debug"),
        (3, "debug"),
    ]


def test_queues_do_not_throttle_each_other(time: FrozenClock, throttled: ThrottledLog) -> None:
    with capture_logs() as logs:
        for queue in ("one", "two", "one"):
            throttled.warning("x", queue=queue)

    assert [entry["queue"] for entry in logs] == ["one", "two"]


def test_the_count_of_what_is_over_can_be_logged_without_waiting_for_the_next_line(
    time: FrozenClock,
) -> None:
    throttled = ThrottledLog(structlog.get_logger(), burst=2)
    with capture_logs() as logs:
        for _ in range(10):
            throttled.info("x", queue="q", message_id="m")
        throttled.report_counts()
        assert len(logs) == 2, "the minute is not over"

        time.tick(INTERVAL)
        for _ in range(2):
            throttled.report_counts()

    assert logs[2:] == [{"event": "x", "queue": "q", "repeated": 8, "log_level": "info"}]
