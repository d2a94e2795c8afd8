"""Helpers at a deep queue: that they come, go home, and that a system without threads to give is borne."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from itertools import islice

import pytest
from structlog.testing import capture_logs

from listener.core.model import Message, RecordSummary
from listener.intake.poller_group import PollerGroup
from listener.intake.recorder import Poller
from listener.runtime.liveness import Heartbeat
from listener.runtime.metrics import Metrics
from tests.support.builders import a_message

WAIT = timedelta(seconds=1)


class Deep:
    """A queue of so many full batches, and the intake of what it brings."""

    name = "deep"
    overflows = False

    def __init__(self, batches: int) -> None:
        self._lock = threading.Lock()
        self.batches = batches
        self.by_thread: list[str] = []
        self.helped = threading.Event()
        self.helped.set()

    def receive(self, *, limit: int, wait: timedelta) -> Sequence[Message]:
        if "helper" in threading.current_thread().name:
            self.helped.set()
        elif self.by_thread:  # whoever comes first leaves something for the one whom that calls
            assert self.helped.wait(30)
        with self._lock:
            if not self.batches:
                return ()
            self.batches -= 1
            self.by_thread.append(threading.current_thread().name)
            return [a_message()] * limit

    def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
        return ()

    def record(self, queue: str, messages: Sequence[Message]) -> RecordSummary:
        return RecordSummary(new=len(messages))

    def close(self) -> None:
        return None

    def interrupt(self) -> None:
        return None


def a_crew(queue: Deep, stop: threading.Event, *, most: int) -> PollerGroup:
    def poller() -> Poller:
        return Poller(
            queue=queue,
            intake=queue,  # type: ignore[arg-type]  # all that a poller asks of it
            stop=stop,
            meter=Metrics(),
            heartbeat=Heartbeat(WAIT),
            wait=timedelta(0),
        )

    return PollerGroup(first=poller(), helper=poller, most=most)


def test_a_deep_queue_is_emptied_by_several() -> None:
    queue, stop = Deep(200), threading.Event()
    queue.helped.clear()
    crew = a_crew(queue, stop, most=4)
    for _turn in islice(crew.first.turns(), 200):
        if crew.first.needs_help:
            crew.call_helper()
    stop.set()
    crew.run()

    assert queue.batches == 0
    assert any("helper" in name for name in queue.by_thread)
    assert len(queue.by_thread) == 200


def test_a_stopped_helper_does_not_poll() -> None:
    queue, stop = Deep(3), threading.Event()
    stop.set()
    crew = a_crew(queue, stop, most=2)
    crew.call_helper()
    crew.run()

    assert queue.batches == 3


def test_where_no_thread_can_be_had_the_first_poller_goes_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    queue, stop = Deep(3), threading.Event()
    crew = a_crew(queue, stop, most=2)
    monkeypatch.setattr(threading.Thread, "start", no_more)
    with capture_logs() as logs:
        for _turn in islice(crew.first.turns(), 4):
            crew.call_helper()

    assert crew.idle
    assert queue.batches == 0
    assert logs[0]["event"] == "helper.not_started"
