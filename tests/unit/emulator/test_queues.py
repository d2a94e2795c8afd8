"""Visibility, delay, retention and priority, with the clock in the test's hand."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.core import clock as wall_clock
from listener.emulator import Emulator, Options
from listener.emulator.messages import Request
from listener.emulator.mns import queue as queue_module
from listener.emulator.mns.queue import (
    Attributes,
    Draft,
    EmulatedQueue,
    HandleRejected,
    StoredMessage,
    body_md5,
    draft,
)
from listener.emulator.virtual_clock import VirtualClock
from tests.support.clocks import freeze_time


@pytest.fixture
def clock() -> Iterator[Any]:
    with freeze_time() as frozen:
        yield frozen


def a_queue(*, lenient: bool = False, **attributes: int) -> EmulatedQueue:
    return EmulatedQueue(
        "q", attributes=Attributes(**attributes), rng=Random(1), lenient=lenient, clock=VirtualClock()
    )


def a_request(path: str) -> Request:
    """Not signed: that it is refused shows only later."""
    return Request(method="GET", path=path, target=path, raw_query="", headers={}, body=b"")


def send(queue: EmulatedQueue, *texts: str, delay: int | None = None) -> None:
    queue.send([draft(text, delay_seconds=delay) for text in texts])


def bodies(queue: EmulatedQueue, limit: int = 16) -> list[str]:
    return [message.body for message in queue.take(limit)]


def test_received_message_is_hidden_for_the_visibility_timeout(clock: Any) -> None:
    queue = a_queue(visibility_timeout=30)
    send(queue, "a")
    (received,) = queue.take(1)

    assert received.visible_ms == received.first_ms + 30_000
    clock.tick(29.9)
    assert queue.take(1) == []
    clock.tick(0.2)
    assert queue.take(1) == [received]
    assert received.count == 2


def test_first_receive_time_is_kept(clock: Any) -> None:
    queue = a_queue(visibility_timeout=1)
    send(queue, "a")
    clock.tick(5)
    (received,) = queue.take(1)
    first = received.first_ms
    clock.tick(5)
    queue.take(1)

    assert received.first_ms == first == received.enqueued_ms + 5000


def test_handle_dies_when_its_time_is_over(clock: Any) -> None:
    queue = a_queue(visibility_timeout=30)
    send(queue, "a")
    handle = queue.take(1)[0].handles[0]
    clock.tick(30)

    with pytest.raises(HandleRejected, match="MessageNotExist"):
        queue.delete(handle)


def test_new_receive_kills_the_earlier_handle(clock: Any) -> None:
    queue = a_queue(visibility_timeout=30)
    send(queue, "a")
    first = queue.take(1)[0].handles[0]
    clock.tick(31)
    second = queue.take(1)[0].handles[0]

    with pytest.raises(HandleRejected):
        queue.delete(first)
    queue.delete(second)
    assert queue.counts() == {"active": 0, "inactive": 0, "delayed": 0}


def test_visibility_change_counts_from_the_call(clock: Any) -> None:
    queue = a_queue(visibility_timeout=30)
    send(queue, "a")
    handle = queue.take(1)[0].handles[0]
    clock.tick(10)
    queue.change_visibility(handle, 60)
    clock.tick(59)
    assert bodies(queue) == []
    clock.tick(2)
    assert bodies(queue) == ["a"]


def test_delayed_message_shows_up_when_its_time_has_come(clock: Any) -> None:
    queue = a_queue(delay_seconds=10)
    send(queue, "queue's delay")
    send(queue, "own delay", delay=20)
    send(queue, "at once", delay=0)

    assert bodies(queue) == ["at once"]
    clock.tick(11)
    assert bodies(queue) == ["queue's delay"]
    clock.tick(10)
    assert bodies(queue) == ["own delay"]


def test_handle_of_a_delayed_message_takes_it_back(clock: Any) -> None:
    queue = a_queue()
    (stored,) = queue.send([draft("a", delay_seconds=10)])
    queue.delete(stored.handles[0])
    clock.tick(11)

    assert bodies(queue) == []


def test_messages_die_at_the_end_of_retention_received_or_not(clock: Any) -> None:
    queue = a_queue(message_retention_period=60, visibility_timeout=30)
    send(queue, "received")
    queue.take(1)
    send(queue, "waiting")
    clock.tick(61)

    assert bodies(queue) == []
    assert sum(queue.counts().values()) == 0


def test_lower_number_is_served_first_and_the_older_of_equals(clock: Any) -> None:
    queue = a_queue()
    queue.send(
        [Draft(body=f"{priority}{name}", md5="", priority=priority) for name in "ab" for priority in (8, 1)]
    )

    assert bodies(queue) == ["1a", "1b", "8a", "8b"]


def test_counts_distinguish_active_inactive_and_delayed(clock: Any) -> None:
    queue = a_queue()
    send(queue, "a", "b", "c")
    send(queue, "d", delay=10)
    queue.take(1)

    assert queue.counts() == {"active": 2, "inactive": 1, "delayed": 1}


def test_peek_changes_nothing(clock: Any) -> None:
    queue = a_queue()
    send(queue, "a", "b")

    assert [message.body for message in queue.peek(16)] == ["a", "b"]
    assert [(message.body, message.count) for message in queue.take(16)] == [("a", 1), ("b", 1)]


def test_lenient_queue_keeps_the_old_handle_only_until_the_next_receive(clock: Any) -> None:
    queue = a_queue(lenient=True, visibility_timeout=30)
    send(queue, "a")
    old = queue.take(1)[0].handles[0]
    queue.change_visibility(old, 30)
    clock.tick(31)
    queue.take(1)

    with pytest.raises(HandleRejected):
        queue.delete(old)


def test_small_message_takes_little_memory() -> None:
    queue = a_queue()
    tracemalloc.start()
    try:
        for number in range(200):
            send(queue, *(f"{number:03}-{each:02}" for each in range(10)))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held / 2_000 <= 480


def messages_in_memory() -> int:
    return sum(isinstance(each, StoredMessage) for each in gc.get_referrers(StoredMessage))


def test_what_was_deleted_takes_no_memory_behind_an_old_message_or_one_that_nobody_receives() -> None:
    others = messages_in_memory()  # of tests before this one
    queue = a_queue(message_retention_period=60)
    send(queue, "old", delay=600)
    queue.send([Draft(body="last", md5=body_md5("last"), priority=16)])
    for _ in range(300):
        send(queue, "another")
        (received,) = queue.take(1)
        queue.delete(received.handles[0])

    assert messages_in_memory() - others < 100
    assert [message.body for message in queue.peek(16)] == ["last"]


@pytest.mark.parametrize("path", ["/queues/q", "/queues"])
@pytest.mark.parametrize("delay", [0, 60], ids=["expire", "appear"])
def test_many_messages_whose_time_has_come_leave_others_their_turn(
    monkeypatch: pytest.MonkeyPatch, path: str, delay: int
) -> None:
    monkeypatch.setattr(queue_module, "SLICE", 10)
    left: list[int] = []

    async def scenario() -> EmulatedQueue:
        emulator = Emulator(Options(queues=("q",)))
        queue = emulator.mns.queues["q"]
        send(queue, *["text"] * 50, delay=delay)
        await emulator.clock.advance(60 if delay else queue.attributes.message_retention_period)
        answer = asyncio.ensure_future(emulator.answer(a_request(path)))
        while not answer.done():
            left.append(len(queue._hidden if delay else queue._messages))
            await asyncio.sleep(0)
        return queue

    queue = asyncio.run(scenario())

    assert left == [50, 40, 30, 20, 10]
    assert queue.counts()["active"] == (50 if delay else 0)


def test_long_poll_beside_many_messages_whose_time_has_come_gets_one_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_module, "SLICE", 10)

    async def scenario() -> list[StoredMessage]:
        queue = a_queue(message_retention_period=60)
        send(queue, *["old"] * 50)
        queue.take(50)
        poll = asyncio.ensure_future(queue.receive(16, wait=30, gone=lambda: False))
        await asyncio.sleep(0)
        with freeze_time(wall_clock.now() + timedelta(seconds=60)):
            send(queue, "new")
            return await poll

    assert [message.body for message in asyncio.run(scenario())] == ["new"]


def test_every_waiting_poll_gets_its_message(clock: Any) -> None:
    async def scenario() -> list[str]:
        queue = a_queue()
        polls = [asyncio.create_task(queue.receive(1, wait=30, gone=lambda: False)) for _ in range(5)]
        await asyncio.sleep(0)
        send(queue, *"abcde")
        return sorted(message.body for taken in await asyncio.gather(*polls) for message in taken)

    assert asyncio.run(scenario()) == list("abcde")


def test_empty_long_poll_ends_with_its_time() -> None:
    taken = asyncio.run(a_queue().receive(1, wait=0.01, gone=lambda: False))

    assert taken == []


@given(st.lists(st.sampled_from(["send", "take", "delete", "tick", "hide", "delay"]), max_size=60))
def test_no_message_is_lost_or_doubled(steps: list[str]) -> None:
    """Whatever happens in whatever order: what was sent and not deleted is there, and in one place only."""
    with freeze_time() as clock:
        queue = a_queue(visibility_timeout=5)
        held: dict[str, str] = {}
        sent = deleted = 0
        for step in steps:
            if step in {"send", "delay"}:
                send(queue, str(sent), delay=3 if step == "delay" else None)
                sent += 1
            elif step == "tick":
                clock.tick(2)
            elif step == "take":
                held |= {message.handles[0]: message.body for message in queue.take(2)}
            elif held:
                deleted += _use(queue, held.popitem()[0], delete=step == "delete")
        clock.tick(10)
        assert len(set(bodies(queue, limit=1000))) == sum(queue.counts().values()) == sent - deleted


def _use(queue: EmulatedQueue, handle: str, *, delete: bool) -> int:
    try:
        if not delete:
            queue.change_visibility(handle, 3)
            return 0
        queue.delete(handle)
    except HandleRejected:
        return 0
    return 1
