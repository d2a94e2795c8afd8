"""Which clock is believed, and when."""

from __future__ import annotations

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from listener.runtime.clock_guard import TOLERANCE, ClockGuard
from listener.runtime.metrics import Metrics
from tests.support.clocks import Clocks

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def what_is_known(guard: ClockGuard) -> tuple[bool, bool]:
    return guard.confirmed, guard.wrong


def test_a_clock_is_confirmed_by_a_service_and_stays_so(clocks: Clocks) -> None:
    guard = ClockGuard()
    assert what_is_known(guard) == (False, False)
    guard.confirm(clocks.true_time + TOLERANCE)
    assert what_is_known(guard) == (True, False)
    clocks.tick(1000 * DAY)
    assert what_is_known(guard) == (True, False)


@pytest.mark.parametrize("size", [4 * DAY, 31 * DAY, -timedelta(hours=3)])
def test_a_clock_that_jumped_is_wrong_until_it_jumps_back(clocks: Clocks, size: timedelta) -> None:
    guard = ClockGuard()
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
    guard = ClockGuard()
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
    guard = ClockGuard()
    guard.confirm(clocks.true_time)
    clocks.tick(3 * DAY)
    with capture_logs() as logs:
        guard.watch()

    assert (logs, guard.confirmed) == ([], True)


def test_a_wrong_clock_is_reported_once_a_minute(clocks: Clocks) -> None:
    clocks.jump(timedelta(hours=-3))
    guard = ClockGuard()
    guard.confirm(clocks.true_time)
    with capture_logs() as logs:
        for _ in range(10):
            guard.watch()

    assert [(entry["event"], entry["seconds"]) for entry in logs] == [("clock.wrong", -10800)]
