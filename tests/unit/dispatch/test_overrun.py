"""Handlers that take longer than their timeout, and attempts that would run beside an earlier one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from listener.core import clock
from listener.core.model import JobResult, RetryAfter, Target
from listener.dispatch.attempt import HandlerBinding
from listener.dispatch.dispatcher import Dispatcher
from listener.store.sql_store import SqlStore
from listener.store.tables import EPOCH, deliveries
from tests.support.clocks import let_pass
from tests.support.dispatching import (
    LONG,
    QUICK,
    TARGET,
    a_dispatcher,
    delivery_rows,
    delivery_states,
    dispatching,
    record_results,
)
from tests.support.sqlite import new_sqlite_store
from tests.support.waiting import wait_until

SHORT = timedelta(milliseconds=20)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


class HangingOnce:
    """A handler whose first call for the first job hangs until ``go_on`` is set; notes which attempts began."""

    def __init__(self) -> None:
        self.hanging, self.go_on = threading.Event(), threading.Event()
        self.began: list[int] = []
        self.running = 0
        self.overlapped = False

    def __call__(self, result: JobResult) -> None:
        if not result.job_id.endswith("-0"):
            return
        self.began.append(result.attempt)
        self.running += 1
        self.overlapped |= self.running > 1
        if result.attempt == 1:
            self.hanging.set()
            self.go_on.wait(60)
        self.running -= 1


def until(condition: Callable[[], bool], dispatcher: Dispatcher) -> None:
    """Maintain leases until the condition holds."""

    def maintained() -> bool:
        dispatcher.maintain_leases()
        return condition()

    wait_until(maintained)


def lose_lease(store: SqlStore) -> None:
    """The first delivery is pending again, as after a stall in which its lease expired."""
    with store.database.write() as connection:
        connection.execute(update(deliveries).where(deliveries.c.id == 1).values(lease_until=EPOCH))
    now = clock.now()
    assert store.rescue_expired(
        lambda _: RetryAfter(wait=timedelta(0), reason="lost", spent=False), at=now, limit=1
    )


def test_a_handler_that_hangs_keeps_its_delivery_and_gives_its_place_to_others(store: SqlStore) -> None:
    handle = HangingOnce()
    record_results(store, 40)

    with (
        capture_logs() as logs,
        dispatching(store, handle, concurrency=1, handler_timeout=SHORT) as dispatcher,
    ):
        assert handle.hanging.wait(30)
        until(lambda: delivery_states(store) == {"done": 39, "running": 1}, dispatcher)
        before = delivery_rows(store)[0].lease_until
        dispatcher.maintain_leases()
        assert delivery_rows(store)[0].lease_until > before
        handle.go_on.set()
        wait_until(lambda: delivery_states(store) == {"done": 40})

    assert handle.began == [1]
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["handler.hung"]


def test_an_attempt_waits_until_an_earlier_one_in_this_process_has_returned(store: SqlStore) -> None:
    handle = HangingOnce()
    record_results(store, 1)

    with dispatching(store, handle, concurrency=2) as dispatcher:
        assert handle.hanging.wait(30)
        lose_lease(store)
        dispatcher.wake()
        wait_until(lambda: delivery_rows(store)[0].attempt == 2)
        record_results(store, 40)  # once a few of these are done, attempt 2 has had its turn
        dispatcher.wake()
        wait_until(lambda: delivery_states(store)["done"] == 39)
        assert handle.began == [1]
        handle.go_on.set()
        wait_until(lambda: delivery_states(store) == {"done": 40})

    assert (handle.began, handle.overlapped) == ([1, 2], False)


def test_an_attempt_that_waits_begins_when_the_earlier_one_is_abandoned(store: SqlStore) -> None:
    handle = HangingOnce()
    record_results(store, 1)

    with dispatching(
        store, handle, concurrency=1, handler_timeout=SHORT, overrun_timeout=SHORT
    ) as dispatcher:
        assert handle.hanging.wait(30)
        lose_lease(store)
        dispatcher.wake()
        wait_until(lambda: delivery_rows(store)[0].attempt == 2)
        until(lambda: delivery_states(store) == {"done": 1}, dispatcher)
        handle.go_on.set()

    assert handle.began == [1, 2]


class FailingOnce(dict[Target, HandlerBinding]):
    """Bindings whose first look-up fails, as only a bug could make it."""

    failed = False

    def get(self, target: Target, default: Any = None) -> Any:
        if not self.failed:
            self.failed = True
            raise AssertionError("a bug")
        return super().get(target, default)


def test_a_bug_keeps_no_delivery(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = HangingOnce()
    bindings = FailingOnce({TARGET: HandlerBinding(run=handle, policy=QUICK)})
    record_results(store, 1)

    with capture_logs() as logs, dispatching(store, handle, bindings=bindings) as dispatcher:
        wait_until(lambda: any(entry["event"] == "worker.crashed" for entry in logs))
        with store.database.write() as connection:
            connection.execute(update(deliveries).values(lease_until=EPOCH))
        dispatcher.maintain_leases()
        let_pass(LONG, monkeypatch)
        until(lambda: delivery_states(store) == {"done": 1}, dispatcher)

    assert (handle.began, delivery_rows(store)[0].failures) == ([2], 1)


def test_a_stop_does_not_wait_for_a_handler_that_hangs_and_its_attempt_counts(store: SqlStore) -> None:
    handle = HangingOnce()
    record_results(store, 1)
    dispatcher = a_dispatcher(store, handle, handler_timeout=SHORT)
    dispatcher.start()
    dispatcher.claim_once()
    assert handle.hanging.wait(30)

    with capture_logs() as logs:
        until(lambda: any(entry["event"] == "handler.hung" for entry in logs), dispatcher)
    unfinished = dispatcher.stop(timedelta(minutes=10))
    dispatcher.end()

    assert (unfinished, delivery_states(store)) == (0, {"running": 1}), "its lease expires"
    handle.go_on.set()
