"""As few workers as keep up are given work, and as many as are needed."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from listener.dispatch import fair_queue
from listener.dispatch.fair_queue import FairQueue, Turn
from tests.support.builders import a_delivery


def nothing() -> None:
    """A heartbeat that is not watched."""


def next_turn(queue: FairQueue, after: Turn) -> tuple[Future[Turn | None], threading.Event]:
    """What another worker gets after its turn, and whether it has begun to wait for it."""
    found: Future[Turn | None] = Future()
    waits = threading.Event()
    threading.Thread(
        target=lambda: found.set_result(queue.get(after=after, beat=waits.set)), daemon=True
    ).start()
    return found, waits


def taken(queue: FairQueue) -> Turn:
    turn = queue.get(beat=nothing)
    assert turn is not None
    return turn


def standing_by(queue: FairQueue, monkeypatch: pytest.MonkeyPatch) -> tuple[Future[Turn | None], Turn]:
    """What a worker gets that stands by for as long as it takes, and the turn of another one, which is active."""
    monkeypatch.setattr(fair_queue, "STANDBY", 60.0)
    first, second = taken(queue), taken(queue)
    found, waits = next_turn(queue, after=first)
    assert waits.wait(30)
    return found, second


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> FairQueue:
    """It holds three deliveries, and all that return from one were quick."""
    monkeypatch.setattr(fair_queue, "QUICK", 60.0)
    queue = FairQueue(16)
    queue.put([a_delivery(id=number) for number in (1, 2, 3)])
    return queue


def test_a_worker_leaves_the_next_one_to_another_that_keeps_up(
    queue: FairQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, second = standing_by(queue, monkeypatch)
    third = queue.get(after=second, beat=nothing)

    assert third is not None
    assert third.delivery.id == 3
    queue.close()
    assert found.result(30) is None


def test_a_worker_takes_the_next_one_if_the_others_do_not_keep_up(queue: FairQueue) -> None:
    first, _busy = taken(queue), taken(queue)
    found, waits = next_turn(queue, after=first)
    third = found.result(30)

    assert waits.is_set()
    assert third is not None
    assert third.delivery.id == 3


def test_a_worker_takes_the_next_one_at_once_if_it_is_the_only_one(queue: FairQueue) -> None:
    turn = taken(queue)
    for number in (2, 3):
        found, waits = next_turn(queue, after=turn)
        following = found.result(30)
        assert following is not None
        assert (following.delivery.id, waits.is_set()) == (number, False)
        turn = following


def test_a_worker_that_had_a_slow_one_takes_the_next_at_once(
    queue: FairQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_queue, "QUICK", 0.0)
    first, _busy = taken(queue), taken(queue)
    found, waits = next_turn(queue, after=first)

    assert found.result(30) is not None
    assert not waits.is_set()


def test_one_that_stands_by_takes_what_comes_once_no_other_is_active(
    queue: FairQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, second = standing_by(queue, monkeypatch)
    queue.done(second)
    third = found.result(30)

    assert third is not None
    assert third.delivery.id == 3
