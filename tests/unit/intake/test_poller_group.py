"""Extra pollers on a deep queue: when they start and end, and what happens where no thread can be started."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from itertools import islice

import pytest
from structlog.testing import capture_logs

from listener.core.model import Message, RecordSummary
from listener.core.ports import HeartbeatSink
from listener.intake.poller import MAX_BATCHES, Poller
from listener.intake.poller_group import PollerGroup
from listener.runtime.liveness import Heartbeat
from listener.runtime.metrics import Metrics
from tests.support.builders import a_message
from tests.support.heartbeats import CountingHeartbeat
from tests.support.logs import above_debug, events
from tests.support.waiting import wait_until

WAIT = timedelta(seconds=1)


class Deep:
    """A queue of so many full batches, and the recorder of what it brings."""

    name = "deep"
    overflows = False

    def __init__(self, batches: int) -> None:
        self._lock = threading.Lock()
        self.batches = batches
        self.by_thread: list[str] = []
        self.extra_came = threading.Event()
        self.extra_came.set()

    def receive(self, *, limit: int, wait: timedelta, requests: int = 1) -> Sequence[Message]:
        if "extra" in threading.current_thread().name:
            self.extra_came.set()
        elif len(self.by_thread) >= MAX_BATCHES:  # after its first turn; the rest is for the extra one
            assert self.extra_came.wait(30)
        with self._lock:
            batches = min(requests, self.batches)
            self.batches -= batches
            self.by_thread += [threading.current_thread().name] * batches
            return [a_message()] * limit * batches

    def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
        return ()

    def record(self, queue: str, messages: Sequence[Message]) -> RecordSummary:
        return RecordSummary(new=len(messages))

    def close(self) -> None:
        return None

    def interrupt(self) -> None:
        return None

    def abort(self) -> None:
        return None


def a_group(
    queue: Deep, stop: threading.Event, *, max_pollers: int, heartbeat: HeartbeatSink | None = None
) -> PollerGroup:
    def poller() -> Poller:
        return Poller(
            queue=queue,
            recorder=queue,  # type: ignore[arg-type]  # all that a poller asks of it
            stop=stop,
            meter=Metrics(),
            heartbeat=heartbeat or Heartbeat(WAIT),
            wait=timedelta(0),
        )

    return PollerGroup(first=poller(), make_extra=poller, max_pollers=max_pollers)


def test_a_deep_queue_is_emptied_by_several() -> None:
    queue, stop = Deep(200), threading.Event()
    queue.extra_came.clear()
    group = a_group(queue, stop, max_pollers=4)
    for _turn in islice(group.first.turns(), 200):
        if group.first.wants_more_pollers:
            group.add_poller()
    stop.set()
    group.run()

    assert queue.batches == 0
    assert any("extra" in name for name in queue.by_thread)
    assert len(queue.by_thread) == 200


def test_an_extra_poller_reports_each_turn_until_it_ends() -> None:
    queue, stop, heartbeat = Deep(3 * MAX_BATCHES), threading.Event(), CountingHeartbeat()
    group = a_group(queue, stop, max_pollers=2, heartbeat=heartbeat)
    group.add_poller()
    wait_until(lambda: heartbeat.paused)
    stop.set()
    group.run()

    assert heartbeat.beats == 10  # three full turns, each with two more steps, and one that is empty


def test_a_stopped_extra_poller_does_not_poll() -> None:
    queue, stop = Deep(3), threading.Event()
    stop.set()
    group = a_group(queue, stop, max_pollers=2)
    group.add_poller()
    group.run()

    assert queue.batches == 3


def test_where_no_thread_can_be_started_the_first_poller_goes_on_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_more(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    queue, stop = Deep(3), threading.Event()
    group = a_group(queue, stop, max_pollers=2)
    monkeypatch.setattr(threading.Thread, "start", no_more)
    with capture_logs() as logs:
        for _turn in islice(group.first.turns(), 4):
            group.add_poller()

    assert group.idle
    assert queue.batches == 0
    assert events(above_debug(logs))[0] == "poller.not_started"
