"""What the times of rows show, and what they do not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from listener.core.model import ClockLag
from listener.runtime.clock_evidence import MARGIN, PERIODS, lags_shown
from tests.support.builders import NOON

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TOLERANCE = 5 * MINUTE


def shown(*written: timedelta, now: timedelta) -> Sequence[ClockLag]:
    """Of rows that were written at these times, counted from noon."""
    return lags_shown([NOON + each for each in written], now=NOON + now, tolerance=TOLERANCE)


def ages(lags: Sequence[ClockLag], *times: timedelta) -> list[timedelta]:
    """What becomes of these times, counted from noon, when all periods are corrected, however often."""
    found = []
    for each in times:
        at: datetime = NOON + each
        for lag in [*lags, *lags]:
            at += lag.by if at in lag else timedelta(0)
        found.append(at - NOON)
    return found


@pytest.mark.parametrize(
    "after", [pytest.param((12 * SECOND,), id="rows-after-it"), pytest.param((), id="none-yet")]
)
def test_times_that_fall_and_rise_again_show_that_the_clock_was_behind(after: Sequence[timedelta]) -> None:
    meanwhile = (-2 * DAY + SECOND, -2 * DAY + 10 * SECOND)
    lags = shown(-HOUR, timedelta(0), *meanwhile, *after, now=12 * SECOND)

    assert ages(lags, -HOUR, timedelta(0), *meanwhile, *after) == [
        -HOUR,
        timedelta(0),
        3 * SECOND,  # perhaps later than it was, but not than what was written after it
        12 * SECOND,
        *after,
    ]


@pytest.mark.parametrize("idle", [MINUTE, 30 * HOUR], ids=["short", "long"])
def test_what_has_been_corrected_by_one_estimate_is_not_corrected_by_another(idle: timedelta) -> None:
    """Nothing was written for a while before the jump, and since the correction."""
    first, last = idle - 2 * DAY, idle - 2 * DAY + 10 * SECOND
    estimates = shown(timedelta(0), first, last, now=idle + 20 * SECOND)
    (later,) = shown(timedelta(0), first, last, now=idle + 9 * HOUR)
    exact = ClockLag(begin=NOON + first - HOUR, end=NOON + last + HOUR, by=2 * DAY, at_least=2 * DAY)

    true = [idle, idle + 10 * SECOND]
    for lags in ([*estimates, later], [later, *estimates], [exact, *estimates], [*estimates, exact]):
        corrected = ages(lags, first, last)
        assert all(at <= is_now <= idle + 9 * HOUR for at, is_now in zip(true, corrected, strict=True))


def test_each_of_several_steps_back_is_seen_and_transactions_may_overlap() -> None:
    """Two steps back and one forward, with rows that were written by calls that had begun before a step."""
    before, first, second = -SECOND, -3 * HOUR, -2 * DAY
    written = (
        *(timedelta(0), first, before, first + SECOND),
        *(second + 2 * SECOND, first + 2 * SECOND, second + 3 * SECOND),
        *(5 * SECOND, second + 4 * SECOND, 6 * SECOND),
    )
    lags = shown(*written, now=7 * SECOND)

    assert len(lags) == 2
    assert all(timedelta(0) <= at <= 7 * SECOND for at in ages(lags, *written) if at != before)


@pytest.mark.parametrize(
    ("written", "now"),
    [
        pytest.param((), DAY, id="no-rows"),
        pytest.param((timedelta(0), HOUR, 9 * DAY), 9 * DAY, id="pauses"),
        pytest.param((timedelta(0), -TOLERANCE, SECOND), MINUTE, id="within-the-tolerance"),
        pytest.param((timedelta(0), 31 * DAY, SECOND), MINUTE, id="ahead"),
        pytest.param((timedelta(0), HOUR, SECOND, 20 * MINUTE, 59 * MINUTE), 2 * HOUR, id="was-ahead"),
        pytest.param((31 * DAY, SECOND, 10 * DAY, 30 * DAY), 31 * DAY + HOUR, id="was-ahead-with-pauses"),
    ],
)
def test_other_times_show_nothing(written: Sequence[timedelta], now: timedelta) -> None:
    assert shown(*written, now=now) == []


def test_however_many_periods_there_were_only_the_newest_are_corrected() -> None:
    written = [at for day in range(9) for at in (day * DAY, day * DAY - 3 * HOUR)]
    lags = shown(*written, now=9 * DAY)

    assert [lag.end for lag in lags] == [NOON + at + MARGIN for at in written[1::2][-PERIODS:]]
