"""Messages that were received too often move to the queue for dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from listener.emulator.mns.features import DeadLetterPolicy, QueueFeatures
from listener.emulator.mns.queue import Attributes, EmulatedQueue, draft
from listener.emulator.virtual_clock import VirtualClock
from tests.support.clocks import freeze_time


@pytest.fixture
def clock() -> Iterator[Any]:
    with freeze_time() as frozen:
        yield frozen


class Account:
    """Two queues: what is received twice from ``work`` goes to ``dead``."""

    def __init__(self, *, target: str = "dead", enabled: bool = True, **attributes: int) -> None:
        self.queues: dict[str, EmulatedQueue] = {}
        policy = DeadLetterPolicy(enabled=enabled, target=target, max_receive_count=2)
        self.dead = self._create("dead", QueueFeatures(), message_retention_period=600)
        self.work = self._create("work", QueueFeatures(dead_letter=policy), **attributes)

    def _create(self, name: str, features: QueueFeatures, **attributes: int) -> EmulatedQueue:
        queue = EmulatedQueue(
            name,
            attributes=Attributes(**attributes),
            features=features,
            rng=Random(1),
            lenient=False,
            queues=self.queues,
            clock=VirtualClock(),
        )
        self.queues[name] = queue
        return queue


def test_message_received_too_often_moves_with_its_history(clock: Any) -> None:
    async def scenario() -> None:
        account = Account()
        (sent,) = account.work.send([draft("x")])
        message_id, enqueued = sent.message_id, sent.enqueued_ms
        for _ in range(2):
            clock.tick(30)
            assert [message.message_id for message in account.work.take(1)] == [message_id]
        clock.tick(30)
        account.work.wake()

        (letter,) = account.dead.take(1)
        assert account.work.take(1) == []
        assert (letter.body, letter.message_id, letter.enqueued_ms) == ("x", message_id, enqueued)
        assert (letter.first_ms, letter.count) == (enqueued + 30_000, 3)
        account.dead.delete(letter.handles[0])

    asyncio.run(scenario())


def test_message_that_is_deleted_in_time_stays_out_of_it(clock: Any) -> None:
    async def scenario() -> None:
        account = Account()
        account.work.send([draft("x")])
        account.work.take(1)
        clock.tick(30)
        (again,) = account.work.take(1)
        account.work.delete(again.handles[0])
        clock.tick(30)
        account.work.wake()

        assert account.dead.peek(1) == []

    asyncio.run(scenario())


def test_poll_on_dead_letters_is_woken_by_the_timer_of_the_other_queue() -> None:
    async def scenario() -> None:
        account = Account(visibility_timeout=1)
        account.work.send([draft("x")])
        (message,) = account.work.take(1)
        message.count = 2
        (letter,) = await account.dead.receive(1, wait=20, gone=lambda: False)

        assert letter.body == "x"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "options", [{"enabled": False}, {"target": "nowhere"}], ids=["switched-off", "no-such-queue"]
)
def test_without_a_queue_for_it_a_message_stays(clock: Any, options: dict[str, Any]) -> None:
    async def scenario() -> None:
        account = Account(**options)
        account.work.send([draft("x")])
        for _ in range(5):
            assert len(account.work.take(1)) == 1
            clock.tick(30)

    asyncio.run(scenario())


def test_time_in_both_queues_counts_for_the_retention(clock: Any) -> None:
    async def scenario() -> None:
        account = Account(visibility_timeout=200)
        account.work.send([draft("x")])
        account.work.take(1)
        clock.tick(200)
        account.work.take(1)
        clock.tick(100)
        account.dead.send([draft("sent later")])
        clock.tick(100)
        account.work.wake()
        clock.tick(199)
        assert len(account.dead.peek(16)) == 2
        clock.tick(1)
        assert [message.body for message in account.dead.peek(16)] == ["sent later"]

    asyncio.run(scenario())


def test_policy_that_comes_later_moves_what_was_received_too_often_already(clock: Any) -> None:
    async def scenario() -> None:
        account = Account(enabled=False)
        account.work.send([draft("x"), draft("fresh")])
        for _ in range(2):
            account.work.take(1)
            clock.tick(30)
        account.work.peek(1)
        policy = DeadLetterPolicy(enabled=True, target="dead", max_receive_count=2)
        account.work.set_features(QueueFeatures(dead_letter=policy))

        assert [message.body for message in account.dead.peek(16)] == ["x"]
        assert [message.body for message in account.work.peek(16)] == ["fresh"]

    asyncio.run(scenario())


def test_queues_may_be_the_dead_letter_queues_of_each_other(clock: Any) -> None:
    """However many messages have had their last chance in both at the same time."""

    async def scenario() -> None:
        account = Account()
        back = DeadLetterPolicy(enabled=True, target="work", max_receive_count=2)
        account.dead.set_features(QueueFeatures(dead_letter=back))
        for queue in account.queues.values():
            queue.send(draft("x") for _ in range(500))
            for _ in range(2):
                clock.tick(31)
                assert len(queue.take(500)) == 500
        clock.tick(31)

        account.work.wake()
        account.dead.wake()

        assert account.work.counts() == account.dead.counts() == {"active": 500, "inactive": 0, "delayed": 0}

    asyncio.run(scenario())
