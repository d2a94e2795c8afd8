"""Which clock is believed, and when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import product

import pytest
from structlog.testing import capture_logs

from listener.core import clock
from listener.runtime.clock_guard import FIRST_DATE_TIMEOUT, SETTLING_TIME, TOLERANCE, ClockGuard
from listener.runtime.metrics import Metrics
from tests.support.clocks import Clocks

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def a_guard() -> ClockGuard:
    """One that has looked at the times of rows, and found none."""
    guard = ClockGuard()
    guard.learn(())
    return guard


def what_is_known(guard: ClockGuard) -> tuple[bool, bool]:
    return guard.confirmed, guard.wrong


def test_a_clock_is_confirmed_by_a_service_and_stays_so(clocks: Clocks) -> None:
    guard = a_guard()
    assert what_is_known(guard) == (False, False)
    guard.confirm(clocks.true_time + TOLERANCE)
    assert what_is_known(guard) == (True, False)
    clocks.tick(1000 * DAY)
    assert what_is_known(guard) == (True, False)


def test_no_clock_is_confirmed_before_the_times_of_rows_are_known(clocks: Clocks) -> None:
    guard = ClockGuard()
    guard.confirm(clocks.true_time)
    assert (guard.knows_past, guard.confirmed, guard.confirms(clocks.now)) == (False, False, False)
    guard.learn([[clocks.now]])
    assert (guard.knows_past, guard.confirmed, guard.confirms(clocks.now)) == (True, True, True)


def test_without_a_date_in_any_reply_a_clock_cannot_be_confirmed(clocks: Clocks) -> None:
    guard = a_guard()
    clocks.jump(DAY)
    assert not guard.cannot_be_confirmed
    clocks.tick(FIRST_DATE_TIMEOUT + SECOND)
    assert (guard.cannot_be_confirmed, guard.confirmed) == (True, False)
    guard.confirm(clocks.true_time)
    assert not guard.cannot_be_confirmed


@pytest.mark.parametrize("ahead", [timedelta(0), 31 * DAY], ids=["right", "ahead"])
def test_a_process_that_starts_after_the_correction_learns_from_rows_how_far_the_clock_was_behind(
    clocks: Clocks, ahead: timedelta
) -> None:
    """Once the clock is right, since it is compared with what it has shown."""
    written = clocks.now - 2 * DAY
    clocks.jump(ahead)
    guard = ClockGuard()
    guard.confirm(clocks.true_time)
    guard.learn([[], [clocks.true_time - SECOND, written, clocks.true_time]])
    clocks.jump(-ahead)

    assert not guard.confirmed
    (lag,) = guard.lags_to_correct()
    assert (lag.by, written in lag) == (2 * DAY, True)
    for _ in range(2):
        correct_all(guard)
        clocks.tick(SETTLING_TIME)
    assert (guard.confirmed, guard.confirms(written)) == (True, False)


@pytest.mark.parametrize("size", [4 * DAY, 31 * DAY])
def test_a_clock_that_jumped_is_wrong_until_it_jumps_back(clocks: Clocks, size: timedelta) -> None:
    guard = a_guard()
    guard.confirm(clocks.true_time)
    clocks.jump(size)
    assert what_is_known(guard) == (False, True)
    clocks.tick(16 * SECOND)
    guard.confirm(clocks.true_time)
    assert what_is_known(guard) == (False, True)
    clocks.jump(-size)
    assert what_is_known(guard) == (True, False)


def test_a_clock_that_was_wrong_at_the_start_is_right_once_it_is_corrected(clocks: Clocks) -> None:
    clocks.jump(31 * DAY)
    guard = a_guard()
    assert what_is_known(guard) == (False, False)
    guard.confirm(clocks.true_time)
    assert what_is_known(guard) == (False, True)
    clocks.jump(-31 * DAY)
    assert what_is_known(guard) == (True, False)


def test_each_jump_is_reported_once_with_its_size(clocks: Clocks) -> None:
    metrics = Metrics()
    guard = ClockGuard(on_jump=metrics.clock_jumped)
    with capture_logs() as logs:
        for size in (timedelta(0), 4 * DAY, timedelta(0), -3 * DAY, 2 * SECOND):
            clocks.jump(size)
            clocks.tick(SECOND)
            guard.watch()

    assert [(entry["event"], entry["seconds"]) for entry in logs] == [
        ("clock.jumped", 4 * 86400),
        ("clock.jumped", -3 * 86400),
    ]
    assert guard.steps_back == 1
    for direction in ("forward", "back"):
        line = f'mns_listener_clock_jumps_total{{direction="{direction}"}} 1.0'
        assert line in metrics.exposition().decode()


def test_a_suspended_machine_is_no_jump(clocks: Clocks) -> None:
    guard = a_guard()
    guard.confirm(clocks.true_time)
    clocks.tick(3 * DAY)
    with capture_logs() as logs:
        guard.watch()

    assert (logs, guard.confirmed) == ([], True)


def correct_all(guard: ClockGuard) -> int:
    """What housekeeping does, without a store; returns for how many periods."""
    lags = guard.lags_to_correct()
    for lag in lags:
        guard.corrected(lag)
    return len(lags)


def test_after_a_clock_was_behind_it_is_confirmed_once_the_rows_have_been_corrected_twice(
    clocks: Clocks,
) -> None:
    guard = a_guard()
    guard.confirm(clocks.true_time)
    clocks.jump(-2 * DAY)
    assert what_is_known(guard) == (False, True)
    written = clocks.now
    clocks.tick(7 * SECOND)
    assert correct_all(guard) == 0
    clocks.jump(2 * DAY)

    (lag,) = guard.lags_to_correct() if not guard.confirmed else ()
    assert (written in lag, written + lag.by in lag, lag.by) == (True, False, 2 * DAY)
    assert (correct_all(guard), correct_all(guard), what_is_known(guard)) == (1, 0, (False, False))
    clocks.tick(SETTLING_TIME)
    assert (correct_all(guard), correct_all(guard), what_is_known(guard)) == (1, 0, (True, False))
    # A handler may still have a delivery that was claimed meanwhile.
    assert (guard.confirms(written), guard.confirms(clocks.now)) == (False, True)


def test_the_second_correction_counts_only_if_it_began_after_the_first(clocks: Clocks) -> None:
    guard = a_guard()
    clocks.jump(-2 * DAY)
    guard.confirm(clocks.true_time)
    clocks.jump(2 * DAY)
    guard.watch()
    (lag,) = guard.lags_to_correct()
    clocks.tick(2 * SETTLING_TIME)  # the store took long
    guard.corrected(lag)

    assert not guard.confirmed
    assert correct_all(guard) == 1
    assert guard.confirmed


@pytest.mark.parametrize("told", [True, False], ids=["service-reached", "service-not-reached"])
def test_a_process_that_was_started_with_a_clock_that_was_behind_knows_it_later(
    clocks: Clocks, told: bool
) -> None:
    clocks.jump(-2 * DAY)
    before = clocks.now - timedelta(minutes=30)  # by a process before this one
    guard = a_guard()
    if told:
        guard.confirm(clocks.true_time)
    clocks.tick(SECOND)
    clocks.jump(2 * DAY)
    guard.watch()
    assert len(guard.lags_to_correct()) == told
    guard.confirm(clocks.true_time)

    assert not guard.confirmed
    assert [before in lag for lag in guard.lags_to_correct()] == [True]


def test_each_of_several_steps_back_is_corrected_by_what_was_missing(clocks: Clocks) -> None:
    guard = a_guard()
    guard.confirm(clocks.true_time)
    for size in (-2 * DAY, -DAY, 3 * DAY):
        clocks.jump(size)
        guard.watch()

    assert [lag.by for lag in guard.lags_to_correct()] == [2 * DAY, 3 * DAY]


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param((31 * DAY, -31 * DAY), id="ahead"),
        pytest.param((-TOLERANCE, TOLERANCE), id="within-the-tolerance"),
    ],
)
def test_a_clock_that_was_not_far_behind_leaves_nothing_to_correct(
    clocks: Clocks, sizes: tuple[timedelta, ...]
) -> None:
    guard = a_guard()
    guard.confirm(clocks.true_time)
    for size in sizes:
        clocks.jump(size)
        guard.watch()

    assert (guard.lags_to_correct(), guard.confirmed) == ([], True)


def test_a_machine_that_was_paused_without_its_uptime_was_not_behind_before(clocks: Clocks) -> None:
    guard = a_guard()
    guard.confirm(clocks.true_time)
    clocks.jump(DAY)  # the time since boot has not gone on
    guard.watch()
    guard.confirm(clocks.now)

    assert (guard.lags_to_correct(), guard.confirmed) == ([], True)


@pytest.mark.parametrize("watched", list(product([True, False], repeat=5)), ids=str)
def test_whenever_the_jumps_are_noticed_nothing_is_as_old_as_it_seems(
    clocks: Clocks, watched: tuple[bool, ...]
) -> None:
    """A batch is received and written while the clock is behind, and its handler fails after that."""
    guard = a_guard()
    guard.confirm(clocks.true_time)
    written = clocks.now
    steps: list[Callable[[], None]] = [
        lambda: clocks.jump(-2 * DAY),
        lambda: guard.confirm(clocks.true_time),  # the reply of the service with the batch
        lambda: clocks.tick(7 * SECOND),
        lambda: clocks.jump(2 * DAY),
        lambda: clocks.tick(2 * SETTLING_TIME),
    ]
    for step, is_watched in zip(steps, watched, strict=True):
        step()
        if is_watched:
            guard.watch()
            correct_all(guard)
        written = min(written, clocks.now)
        assert not guard.confirms(written) or clocks.now - written < DAY


def test_a_process_that_is_stopped_while_it_reads_the_clocks_sees_no_jump(
    clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = a_guard()
    guard.confirm(clocks.true_time)
    stops = iter([timedelta(hours=1)])

    def now() -> datetime:
        shown = clocks.now
        clocks.tick(next(stops, timedelta(0)))
        return shown

    monkeypatch.setattr(clock, "now", now)
    with capture_logs() as logs:
        guard.watch()

    assert (logs, guard.confirmed, clocks.uptime) == ([], True, timedelta(hours=2))


def test_a_wrong_clock_is_reported_once_a_minute(clocks: Clocks) -> None:
    clocks.jump(timedelta(hours=-3))
    guard = a_guard()
    guard.confirm(clocks.true_time)
    with capture_logs() as logs:
        for _ in range(10):
            guard.watch()

    assert [(entry["event"], entry["seconds"]) for entry in logs] == [("clock.wrong", -10800)]
