"""The way of the test message through a queue that others use as well."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from listener.core.account import QueueAttributes
from listener.core.model import Message
from listener.formats.setup_message import job_id, setup_message
from listener.rules.routing import Match, Rule
from listener.setup.round_trip import MAX_RECEIVES, round_trip, route_of_a_success
from listener.setup.steps import Status, trip_step
from tests.support.builders import a_callback, a_message, wrapped
from tests.support.cases import each_case
from tests.support.memory_queue import MemoryQueue


class SharedQueue(MemoryQueue):
    """A queue that can be sent to."""

    def __init__(self, *messages: Message, taken: bool = False) -> None:
        super().__init__(*messages)
        self.received = 0
        self.deleted: list[str] = []
        self._taken = taken  #: whether another consumer takes what is sent

    def attributes(self) -> QueueAttributes | None:
        return {}

    def create(self, attributes: QueueAttributes) -> None: ...

    def change(self, attributes: QueueAttributes) -> None: ...

    def send(self, body: str, *, delay: timedelta = timedelta(0)) -> None:
        if not self._taken:
            self.put(a_message(message_id="test", receipt_handle="test", body=body))

    def receive(self, *, limit: int, wait: timedelta, requests: int = 1) -> Sequence[Message]:
        self.received += 1
        return super().receive(limit=limit, wait=wait)

    def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
        self.deleted += [message.message_id for message in messages]
        return []


def callbacks(number: int) -> list[Message]:
    return [
        a_message(
            message_id=f"m{each}", receipt_handle=f"h{each}", body=wrapped(a_callback(JobId=f"j{each}"))
        )
        for each in range(number)
    ]


def test_the_message_is_decoded_and_deleted() -> None:
    queue = SharedQueue()
    trip = round_trip(queue, "token")

    assert trip.result is not None
    assert (trip.result.job_id, trip.others) == (job_id("token"), 0)
    assert queue.deleted == ["test"]


def test_messages_of_others_are_not_deleted() -> None:
    garbled = a_message(message_id="garbled", receipt_handle="g", body="this is no callback")
    queue = SharedQueue(*callbacks(20), garbled)
    trip = round_trip(queue, "token")

    assert trip.result is not None
    assert trip.others == 21
    assert queue.deleted == ["test"]
    assert "21 other messages" in trip_step(trip, None, "q").detail


def test_what_an_earlier_run_left_is_deleted_but_not_taken_for_the_message() -> None:
    left = a_message(message_id="left", receipt_handle="left", body=setup_message("earlier"))
    queue = SharedQueue(left, taken=True)
    trip = round_trip(queue, "token")

    assert (trip.result, trip.others, queue.deleted) == (None, 0, ["left"])


def test_a_message_that_another_consumer_took_is_given_up_and_said() -> None:
    queue = SharedQueue(taken=True)
    trip = round_trip(queue, "token")
    step = trip_step(trip, None, "q")

    assert queue.received == MAX_RECEIVES
    assert step.status is Status.NOT_RECEIVED
    assert "another consumer" in step.detail


@each_case(
    ("rules", "words"),
    [
        pytest.param([Rule(name="all", handlers=("log", "webhook"))], "'all' (log, webhook)", id="route"),
        pytest.param([Rule(name="f", match=Match(state="Fail"), handlers=("log",))], "parked", id="no-route"),
        pytest.param([Rule(name="q", match=Match(queue="q"), handlers=("log",))], "'q' (log)", id="by-queue"),
    ],
)
def test_the_route_of_a_successful_job_is_explained(rules: list[Rule], words: str) -> None:
    trip = round_trip(SharedQueue(), "token")

    assert words in trip_step(trip, route_of_a_success(rules, "q"), "q").detail
