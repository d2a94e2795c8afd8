"""What is shown of the store is read apart from what shows it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from listener.core import clock
from listener.core.errors import StoreFailureKind, StoreUnavailable
from listener.daemon.statistics_loop import INTERVAL, StatisticsLoop
from listener.runtime.liveness import LivenessMonitor
from listener.store.statistics import Activity, Totals
from tests.support.builders import NOON
from tests.support.clocks import let_pass


def a_loop(read: Callable[[datetime], Totals]) -> StatisticsLoop:
    return StatisticsLoop(read, stop=threading.Event())


def test_totals_are_those_that_were_read_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOON)
    loop = a_loop(lambda at: Totals(at=at, dead=2))
    let_pass(timedelta(seconds=7), monkeypatch)
    assert not loop.totals
    assert loop.age >= timedelta(seconds=7)

    loop.turn()
    let_pass(timedelta(seconds=3), monkeypatch)
    assert loop.totals == Totals(at=NOON, dead=2)
    assert loop.age == timedelta(seconds=3)


@pytest.mark.parametrize(
    "error", [StoreUnavailable("away", kind=StoreFailureKind.LOCKED), ValueError("a bug")]
)
def test_what_cannot_be_read_leaves_the_last_totals_with_their_age(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def read(at: datetime) -> Totals:
        if loop.totals:
            raise error
        return Totals(at=at, parked=1)

    monkeypatch.setattr(clock, "now", lambda: NOON)
    loop = a_loop(read)
    loop.turn()
    let_pass(timedelta(minutes=5), monkeypatch)
    with capture_logs() as logs:
        loop.turn()

    assert loop.totals == Totals(at=NOON, parked=1)
    assert loop.age >= timedelta(minutes=5)
    assert [line["event"] for line in logs] == (
        ["statistics.crashed"] if isinstance(error, ValueError) else []
    )


def test_the_totals_of_the_last_hour_are_kept_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(NOON + number * INTERVAL for number in range(400))
    monkeypatch.setattr(clock, "now", lambda: next(times))
    loop = a_loop(lambda at: Totals(at=at))
    for _ in range(400):
        loop.turn()

    assert [loop.history[0].at, loop.history[-1].at] == [NOON + 40 * INTERVAL, NOON + 399 * INTERVAL]


def test_between_two_readings_no_heartbeat_is_expected() -> None:
    stop = threading.Event()
    heartbeat = LivenessMonitor().heartbeat("statistics", limit=timedelta(0))
    stalled: list[bool] = []

    def read(at: datetime) -> Totals:
        stop.set()
        stalled.append(heartbeat.stalled)
        return Totals(at=at)

    StatisticsLoop(read, stop=stop).run(heartbeat)

    assert [*stalled, heartbeat.stalled] == [True, False], "within a reading, and after it"


def test_the_activity_is_read_in_every_turn_only_while_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[datetime] = []

    def read_activity(at: datetime) -> Activity:
        read.append(at)
        return Activity(at=at, since=at, minutes=(), outcomes_since=at, ended_by={}, times=())

    loop = StatisticsLoop(lambda at: Totals(at=at), stop=threading.Event(), read_activity=read_activity)

    def turns(number: int) -> int:
        before = len(read)
        for _ in range(number):
            let_pass(INTERVAL, monkeypatch)
            loop.turn()
        return len(read) - before

    assert turns(12) == 2
    assert loop.activity()
    assert turns(5) == 5
    assert turns(12) <= 3
