"""How many deliveries a process may own follows from how soon they are settled."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from listener.core import clock
from listener.core.model import Delivery
from listener.dispatch.inflight import InFlight
from tests.support.builders import a_delivery

LEAST = 32


class Handled:
    """Deliveries that are claimed and released, each round after so many seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now = 0.0
        monkeypatch.setattr(clock, "monotonic", lambda: self._now)
        self._ids = itertools.count(1)
        self.in_flight = InFlight(LEAST)

    def claimed(self, wanted: int) -> Sequence[Delivery]:
        reserved = self.in_flight.reserve(wanted).total
        deliveries = [a_delivery(id=next(self._ids)) for _ in range(reserved)]
        self.in_flight.take(deliveries, reserved=reserved, leased=clock.uptime())
        return deliveries

    def rounds(self, count: int, *, wanted: int, seconds: float) -> int:
        """How many the last of these rounds could claim."""
        for _ in range(count):
            deliveries = self.claimed(wanted)
            self.tick(seconds)
            self.in_flight.release(deliveries)
        return len(deliveries)

    def tick(self, seconds: float) -> None:
        self._now += seconds


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> Handled:
    return Handled(monkeypatch)


def test_fast_handlers_get_what_several_pollers_record_at_the_same_time(handled: Handled) -> None:
    assert handled.rounds(1, wanted=512, seconds=0.02) == LEAST
    assert handled.rounds(2, wanted=512, seconds=0.02) == 512
    assert handled.rounds(9, wanted=9999, seconds=0.02) == 2048


def test_slow_handlers_leave_the_rest_to_other_processes(handled: Handled) -> None:
    assert handled.rounds(9, wanted=512, seconds=0.6) == LEAST


def test_handlers_that_become_slow_leave_the_rest_to_other_processes(handled: Handled) -> None:
    handled.rounds(9, wanted=512, seconds=0.02)

    assert handled.rounds(3, wanted=512, seconds=5) == LEAST


def test_one_pause_of_the_machine_shrinks_the_capacity_once(handled: Handled) -> None:
    handled.rounds(9, wanted=512, seconds=0.02)
    deliveries = handled.claimed(512)
    handled.tick(2)
    for start in range(0, 512, 64):
        handled.in_flight.release(deliveries[start : start + 64])

    assert handled.rounds(1, wanted=512, seconds=0.02) == 256


def test_a_queue_that_is_not_deep_proves_nothing(handled: Handled) -> None:
    handled.rounds(99, wanted=16, seconds=0.01)

    assert handled.rounds(1, wanted=512, seconds=0.01) == LEAST


def test_after_a_pause_nothing_is_known_of_the_handlers(handled: Handled) -> None:
    handled.rounds(9, wanted=512, seconds=0.02)
    handled.tick(0.5)
    assert handled.rounds(1, wanted=512, seconds=0.02) == 512
    handled.tick(2)
    assert handled.rounds(1, wanted=512, seconds=0.02) == LEAST


def test_a_claim_waits_until_an_eighth_of_the_capacity_is_free(handled: Handled) -> None:
    deliveries = handled.claimed(LEAST)
    handled.in_flight.release(deliveries[:3])
    assert not handled.in_flight.has_room

    handled.in_flight.release(deliveries[3:4])
    assert handled.in_flight.has_room
