"""What is known about the store without asking it, and that waiting for it is no stall."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener.core.errors import StoreFailureKind, StoreUnavailable
from listener.runtime.liveness import LivenessMonitor
from listener.runtime.metrics import Metrics
from listener.runtime.store_health import SLOW_AFTER, StoreHealth
from tests.support.clocks import FrozenClock, freeze_time

SECOND, LIMIT, CALL_LIMIT = timedelta(seconds=1), timedelta(seconds=30), timedelta(minutes=2)
FULL = StoreUnavailable("the disk is full", kind=StoreFailureKind.DISK_FULL)


@pytest.fixture
def time() -> Iterator[FrozenClock]:
    with freeze_time() as frozen:
        yield frozen


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def health(time: FrozenClock, metrics: Metrics) -> StoreHealth:
    return StoreHealth(metrics, call_limit=CALL_LIMIT)


def fail(health: StoreHealth, error: StoreUnavailable = FULL) -> None:
    health.began()
    health.ended(error)


def events(logs: list[Any]) -> list[tuple[str, Any]]:
    return [(entry["event"], entry.get("kind")) for entry in logs]


class TestState:
    def test_a_call_that_waits_for_long_makes_the_store_unavailable_until_it_ends(
        self, health: StoreHealth, time: FrozenClock
    ) -> None:
        health.began()
        assert health.state == "ok"

        time.tick(SLOW_AFTER)
        assert health.state == "the store has not answered for 5 s"

        health.ended(None)
        assert health.state == "ok"

    def test_a_failure_stays_until_something_was_written_after_it(self, health: StoreHealth) -> None:
        fail(health)
        health.began()
        health.ended(None)  # a call that had nothing to write
        assert health.state == "the disk is full"

        health.recovered(FULL)
        assert health.state == "ok"

    def test_a_write_before_the_last_failure_says_nothing(self, health: StoreHealth) -> None:
        fail(health)
        again = StoreUnavailable("still full", kind=StoreFailureKind.DISK_FULL)
        fail(health, again)

        health.recovered(FULL)
        assert health.state == "still full"


class TestReports:
    def test_failures_are_counted_and_logged_once_a_minute(
        self, health: StoreHealth, metrics: Metrics, time: FrozenClock
    ) -> None:
        with capture_logs() as logs:
            for _ in range(61):
                fail(health)
                time.tick(SECOND)
            health.recovered(FULL)

        assert events(logs) == [
            ("store.unavailable", "disk-full"),
            ("store.unavailable", "disk-full"),
            ("store.recovered", None),
        ]
        assert logs[-1]["seconds"] == 61
        counted = metrics.registry.get_sample_value(
            "mns_listener_store_failures_total", {"kind": "disk-full"}
        )
        assert counted == 61

    def test_a_store_that_stands_still_is_reported_although_no_call_fails(
        self, health: StoreHealth, time: FrozenClock
    ) -> None:
        with capture_logs() as logs:
            health.began()
            for _ in range(100):
                health.check()
                time.tick(SECOND)

        assert events(logs) == [("store.unavailable", "timeout")]

    def test_calls_that_still_wait_when_an_outage_is_over_make_no_new_one_of_it(
        self, health: StoreHealth, time: FrozenClock
    ) -> None:
        with capture_logs() as logs:
            health.began()
            time.tick(SLOW_AFTER)
            health.check()
            assert health.fault is not None
            health.recovered(health.fault)  # by another thread
            health.check()
            assert health.state == "ok"

            time.tick(SLOW_AFTER)
            assert health.state == "the store has not answered for 5 s"

        assert [event for event, _ in events(logs)] == ["store.unavailable", "store.recovered"]

    def test_a_call_of_the_outage_that_ends_in_vain_after_it_makes_no_new_one(
        self, health: StoreHealth, metrics: Metrics, time: FrozenClock
    ) -> None:
        with capture_logs() as logs:
            health.began()
            time.tick(SLOW_AFTER)
            health.check()
            assert health.fault is not None
            health.recovered(health.fault)  # by another thread
            time.tick(SECOND)
            health.ended(StoreUnavailable("locked", kind=StoreFailureKind.LOCKED))
            assert health.state == "ok"

            health.began()
            time.tick(SLOW_AFTER)
            health.ended(FULL)
            assert health.state == "the disk is full", "any other failure is news"

        assert [event for event, _ in events(logs)] == [
            "store.unavailable",
            "store.recovered",
            "store.unavailable",
        ]
        failures = {"kind": "locked"}
        assert metrics.registry.get_sample_value("mns_listener_store_failures_total", failures) == 1


class TestLiveness:
    def test_a_loop_that_waits_for_the_store_has_not_stalled_while_its_call_has_time_left(
        self, health: StoreHealth, time: FrozenClock
    ) -> None:
        liveness = LivenessMonitor()
        liveness.heartbeat("claim", limit=LIMIT).beat()
        health.began()
        time.tick(CALL_LIMIT - SECOND)
        assert liveness.stalled() == []

        time.tick(SECOND)
        assert liveness.stalled() == ["claim"]

        health.ended(FULL)
        assert liveness.stalled() == []

    def test_a_call_within_a_handler_does_not_end_the_pause_of_its_worker(
        self, health: StoreHealth, time: FrozenClock
    ) -> None:
        liveness = LivenessMonitor()
        heartbeat = liveness.heartbeat("worker-0", limit=LIMIT)
        heartbeat.beat()
        heartbeat.pause()
        fail(health)
        time.tick(LIMIT + SECOND)

        assert liveness.stalled() == []

    def test_a_loop_that_starts_a_thread_keeps_its_own_heartbeat(
        self, health: StoreHealth, time: FrozenClock
    ) -> None:
        liveness = LivenessMonitor()
        liveness.heartbeat("housekeeping", limit=LIMIT).beat()
        worker = liveness.heartbeat("worker-0", limit=LIMIT)
        worker.expect()
        health.began()
        time.tick(LIMIT + SECOND)

        assert liveness.stalled() == ["worker-0"]

    def test_a_loop_that_hangs_elsewhere_after_a_call_has_stalled(
        self, health: StoreHealth, time: FrozenClock
    ) -> None:
        liveness = LivenessMonitor()
        liveness.heartbeat("claim", limit=LIMIT).beat()
        fail(health)
        time.tick(LIMIT + SECOND)

        assert liveness.stalled() == ["claim"]
