"""What every queue promises: the adapter of MNS, over HTTP against the emulator, and the one in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

import pytest

from listener.aliyun.credentials import AccessKey, Credentials
from listener.aliyun.mns_queue import MnsQueue
from listener.core import clock
from listener.core.errors import FailureKind, QueueUnavailable
from listener.core.model import Message
from listener.core.ports import Queue
from listener.emulator import Fault, FaultKind, Options
from listener.emulator.mns.queue import draft
from listener.emulator.server import RunningEmulator, running
from tests.support.builders import a_message
from tests.support.memory_queue import MemoryQueue
from tests.support.waiting import wait_until

AT_ONCE, LONG = timedelta(0), timedelta(seconds=25)
KEY = AccessKey("testKeyId", "testKeySecret")


@dataclass(frozen=True)
class Case:
    """A queue, with what the outside world can do to it."""

    queue: Queue
    put: Callable[[str], None]
    parked: Callable[[], bool]
    break_once: Callable[[], None]


def _in_memory() -> Iterator[Case]:
    queue = MemoryQueue(parks=True)

    def put(body: str) -> None:
        queue.put(a_message(message_id=body, receipt_handle=f"handle of {body}", body=body))

    away = QueueUnavailable("away", kind=FailureKind.CONNECTION)
    yield Case(queue, put, lambda: queue.parked, lambda: queue.faults.append(away))


def _on_mns(server: RunningEmulator) -> Iterator[Case]:
    adapter = MnsQueue(endpoint=server.url, queue="q", name="mine", credentials=Credentials(lambda: KEY))

    def put(body: str) -> None:
        server.call(lambda emulator: emulator.mns.queue("q").send([draft(body)]))

    def parked() -> bool:
        return server.call(lambda emulator: len(emulator.mns.queue("q")._waiters)) > 0

    def break_once() -> None:
        fault = Fault(kind=FaultKind.ERROR, operation="*Receive*", count=1)
        server.call(lambda emulator: emulator.faults.add([fault]))

    with closing(adapter):
        yield Case(adapter, put, parked, break_once)


@pytest.fixture(params=["memory", "mns"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param == "memory":
        yield from _in_memory()
        return
    with running(Options(queues=("q",))) as server:
        yield from _on_mns(server)


def receive(case: Case, *, limit: int = 16, wait: timedelta = AT_ONCE) -> Sequence[Message]:
    return case.queue.receive(limit=limit, wait=wait)


def test_an_empty_queue_is_an_empty_sequence(case: Case) -> None:
    assert list(receive(case)) == []


def test_what_was_put_is_received_whole(case: Case) -> None:
    case.put("é <x> &")

    (message,) = receive(case)

    assert (message.body, bool(message.message_id), bool(message.receipt_handle)) == ("é <x> &", True, True)


def test_no_more_than_the_limit_is_received(case: Case) -> None:
    for number in range(3):
        case.put(str(number))

    assert len(receive(case, limit=2)) == 2


def test_a_deleted_message_is_never_redelivered(case: Case) -> None:
    for number in range(3):
        case.put(str(number))

    assert list(case.queue.delete(receive(case))) == []
    assert list(receive(case)) == []


def test_messages_that_were_not_deleted_are_returned(case: Case) -> None:
    case.put("x")
    (message,) = receive(case)
    unknown = a_message(message_id="unknown", receipt_handle="")
    case.queue.delete([message])

    assert list(case.queue.delete([unknown])) == [unknown]
    assert list(case.queue.delete([message])) == [message]


def test_more_than_a_request_can_bring_or_hold_is_received_and_deleted(case: Case) -> None:
    for number in range(50):
        case.put(str(number))
    received = case.queue.receive(limit=10, wait=AT_ONCE, requests=4)

    assert len({message.receipt_handle for message in received}) == 40
    assert list(case.queue.delete(received)) == []
    assert list(case.queue.delete(received)) == list(received)
    assert len(receive(case)) == 10


def test_a_message_that_comes_while_a_receive_waits_is_received(case: Case) -> None:
    with_one = _Receiving(case)
    case.put("x")

    assert [message.body for message in with_one.result()] == ["x"]


def test_an_interrupt_ends_a_receive_that_waits(case: Case) -> None:
    interrupted = _Receiving(case)
    case.queue.interrupt()

    assert list(interrupted.result()) == []


def test_an_abort_ends_a_receive_that_waits_and_every_later_call(case: Case) -> None:
    case.put("x")
    messages = receive(case)
    case.queue.delete(messages)
    aborted = _Receiving(case)
    case.queue.abort()

    assert list(aborted.result()) == []
    with pytest.raises(QueueUnavailable):
        case.queue.delete(messages)


def test_an_error_is_the_queues_own_and_passes(case: Case) -> None:
    case.put("x")
    case.break_once()

    with pytest.raises(QueueUnavailable):
        receive(case)
    assert len(receive(case)) == 1


def test_a_closed_queue_may_be_used_again(case: Case) -> None:
    case.queue.close()
    case.put("x")

    assert len(receive(case)) == 1


class _Receiving:
    """A receive that waits, in a thread of its own."""

    def __init__(self, case: Case) -> None:
        self._found: list[Sequence[Message]] = []
        self._started = clock.monotonic()
        self._thread = threading.Thread(
            target=lambda: self._found.append(receive(case, wait=LONG)), daemon=True
        )
        self._thread.start()
        wait_until(case.parked)

    def result(self) -> Sequence[Message]:
        self._thread.join(LONG.total_seconds())
        assert self._found, "the receive did not end"
        assert clock.monotonic() - self._started < LONG.total_seconds() - 5
        return self._found[0]
