"""FIFO queues: order and lock of each group, with the clock in the test's hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.emulator import Emulator
from listener.emulator.mns.features import QueueFeatures
from listener.emulator.mns.fifo_queue import FifoQueue
from listener.emulator.mns.queue import Attributes, StoredMessage, draft
from listener.emulator.server import RunningEmulator
from listener.emulator.virtual_clock import VirtualClock
from tests.support.clocks import freeze_time
from tests.support.emulator_clients import BareMns, elements, records


@pytest.fixture
def clock() -> Iterator[Any]:
    with freeze_time() as frozen:
        yield frozen


def a_queue(**attributes: int) -> FifoQueue:
    features = QueueFeatures(fifo=True)
    return FifoQueue(
        "q",
        attributes=Attributes(**attributes),
        features=features,
        rng=Random(1),
        lenient=False,
        clock=VirtualClock(),
    )


def send(queue: FifoQueue, *texts: str, **changes: Any) -> None:
    """Send texts; the first letter of each is its group."""
    queue.send([replace(draft(text), group=text[0], **changes) for text in texts])


def bodies(messages: list[StoredMessage]) -> list[str]:
    return [message.body for message in messages]


def test_group_in_flight_hands_out_no_other_message(clock: Any) -> None:
    queue = a_queue()
    send(queue, "a1", "a2", "b1", "a3")

    assert bodies(queue.take(1)) == ["a1"]
    assert bodies(queue.take(16)) == ["b1"]
    assert queue.take(16) == []


def test_nothing_is_kept_of_groups_whose_messages_have_expired(clock: Any) -> None:
    queue = a_queue(message_retention_period=60)
    queue.send(replace(draft("text"), group=f"old-{number}") for number in range(500))
    clock.tick(60)
    send(queue, "a1", "b1")
    queue.counts()

    assert len(queue._turns) < 100
    assert len(queue._offered) < 100
    assert bodies(queue.take(16)) == ["a1", "b1"]


def test_one_receive_takes_several_of_a_group_in_order(clock: Any) -> None:
    queue = a_queue()
    send(queue, "a1", "b1", "a2", "b2", "a3")

    assert bodies(queue.take(4)) == ["a1", "a2", "a3", "b1"]
    assert queue.take(16) == []


def test_deleting_the_message_in_flight_unlocks_its_group(clock: Any) -> None:
    queue = a_queue()
    send(queue, "a1", "a2")
    (first,) = queue.take(1)
    queue.delete(first.handles[0])

    assert bodies(queue.take(16)) == ["a2"]


def test_message_that_was_not_deleted_is_received_again_before_those_behind_it(clock: Any) -> None:
    queue = a_queue(visibility_timeout=30)
    send(queue, "a1", "a2", "a3")
    queue.take(2)
    clock.tick(30)

    assert bodies(queue.take(16)) == ["a1", "a2", "a3"]


def test_group_stays_locked_until_all_its_messages_are_back(clock: Any) -> None:
    queue = a_queue(visibility_timeout=30)
    send(queue, "a1", "a2")
    _, second = queue.take(2)
    queue.change_visibility(second.handles[0], 60)
    clock.tick(30)

    assert queue.take(16) == []
    clock.tick(30)
    assert bodies(queue.take(16)) == ["a1", "a2"]


def test_neither_priority_nor_a_delay_changes_the_order(clock: Any) -> None:
    queue = a_queue()
    send(queue, "a1", priority=16)
    send(queue, "a2", delay_seconds=60)
    send(queue, "a3", priority=1)

    assert bodies(queue.peek(16)) == ["a1"]
    clock.tick(60)
    assert bodies(queue.peek(16)) == bodies(queue.take(16)) == ["a1", "a2", "a3"]


@given(st.lists(st.tuples(st.sampled_from(["send", "take", "drop", "wait"]), st.integers(1, 3)), max_size=40))
def test_whatever_happens_a_group_is_deleted_in_the_order_of_sending(
    steps: list[tuple[str, int]],
) -> None:
    with freeze_time() as clock:
        queue = a_queue(visibility_timeout=30)
        sent = taken = 0
        held: list[StoredMessage] = []
        deleted: dict[str, list[int]] = {"a": [], "b": []}
        for step, number in steps:
            if step == "send":
                send(queue, *(f"{'ab'[(sent + count) % 2]}{sent + count}" for count in range(number)))
                sent += number
            elif step == "take":
                batch = queue.take(number)
                assert {message.group for message in batch} & {message.group for message in held} == set()
                held += batch
                taken += len(batch)
            elif step == "drop" and held:
                body = held[0].body
                queue.delete(held.pop(0).handles[0])
                deleted[body[0]].append(int(body[1:]))
            elif step == "wait":
                clock.tick(30)
                held.clear()
        assert all(numbers == sorted(numbers) for numbers in deleted.values())
        clock.tick(30)
        assert len(queue.take(1000)) == sent - sum(map(len, deleted.values()))


def test_message_without_a_group_is_refused(server: RunningEmulator, bare: BareMns) -> None:
    server.call(create_fifo)
    refused = bare.send("ordered", "x")
    entries = "".join(
        f"<Message><MessageBody>x</MessageBody>{extra}</Message>"
        for extra in ("", "<MessageGroupId>a</MessageGroupId>")
    )
    partly = bare.request("POST", "/queues/ordered/messages", f"<Messages>{entries}</Messages>")

    assert (refused.status_code, elements(refused)["Code"]) == (400, "FifoMissingMessageGroupId")
    assert (partly.status_code, records(partly)[0]["ErrorCode"]) == (500, "FifoMissingMessageGroupId")
    assert records(bare.receive("ordered", "?numOfMessages=16"))[0]["MessageGroupId"] == "a"


def create_fifo(emulator: Emulator) -> None:
    emulator.mns.create("ordered", features=QueueFeatures(fifo=True))
