"""Workers report that they make progress, except while a handler runs, and outlive an internal error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from listener.core.model import Delivery
from listener.dispatch import fair_queue
from listener.dispatch.worker_pool import WorkerPool
from listener.runtime.liveness import LivenessMonitor
from tests.support.builders import a_delivery
from tests.support.heartbeats import CountingHeartbeat
from tests.support.waiting import wait_until


@contextmanager
def one_worker(work: Callable[[Delivery], None], liveness: LivenessMonitor) -> Iterator[WorkerPool]:
    """Its heartbeat counts as stalled whenever the worker is expected to report."""
    pool = WorkerPool(
        1, work, make_heartbeat=lambda name: liveness.heartbeat(name, limit=timedelta(microseconds=-1))
    )
    pool.start()
    try:
        yield pool
    finally:
        pool.stop()


def test_an_idle_worker_reports_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "IDLE_BEAT", timedelta(milliseconds=1))
    heartbeat = CountingHeartbeat()
    pool = WorkerPool(1, lambda _delivery: None, make_heartbeat=lambda _name: heartbeat)
    pool.start()

    wait_until(lambda: heartbeat.beats > 5)
    pool.stop()


def test_a_worker_is_not_stalled_while_a_handler_runs() -> None:
    began, go_on, liveness = threading.Event(), threading.Event(), LivenessMonitor()

    def handle(_delivery: Delivery) -> None:
        began.set()
        go_on.wait(30)

    with one_worker(handle, liveness) as pool:
        assert liveness.stalled() == ["worker-0"]
        pool.put([a_delivery()])
        assert began.wait(30)
        assert liveness.stalled() == []
        go_on.set()
        wait_until(lambda: liveness.stalled() == ["worker-0"])
    wait_until(lambda: liveness.stalled() == [])


def test_a_worker_goes_on_after_an_internal_error() -> None:
    handled: list[int] = []

    def handle(delivery: Delivery) -> None:
        handled.append(delivery.id)
        if delivery.id == 1:
            raise ZeroDivisionError

    with capture_logs() as logs, one_worker(handle, LivenessMonitor()) as pool:
        pool.put([a_delivery(id=1), a_delivery(id=2)])
        wait_until(lambda: handled == [1, 2])

    assert [entry["event"] for entry in logs] == ["worker.crashed"]


# That the thread ends with an exception is what is tested.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_ended_is_stalled() -> None:
    ended, liveness = threading.Event(), LivenessMonitor()

    def exits(_delivery: Delivery) -> None:
        ended.set()
        raise SystemExit

    with one_worker(exits, liveness) as pool:
        pool.put([a_delivery()])
        assert ended.wait(30)
        wait_until(lambda: not any(thread.name == "worker-0" for thread in threading.enumerate()))
        assert liveness.stalled() == ["worker-0"]
