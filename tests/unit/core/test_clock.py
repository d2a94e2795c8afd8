"""The functions that everything reads the time through: they read the clocks of the system."""

from __future__ import annotations

from datetime import timedelta

from freezegun import freeze_time

from listener.core import clock
from tests.support import clocks
from tests.support.builders import NOON

HOUR = timedelta(hours=1)


def test_the_wall_clock_is_that_of_the_system_in_utc() -> None:
    with freeze_time(NOON) as system:
        assert (clock.now(), clock.timestamp()) == (NOON, NOON.timestamp())
        assert clock.now().utcoffset() == timedelta(0)
        system.tick(HOUR)
        assert (clock.now(), clock.timestamp()) == (NOON + HOUR, (NOON + HOUR).timestamp())


def test_the_monotonic_clock_is_that_of_the_system_in_seconds() -> None:
    with freeze_time(NOON) as system:
        before = clock.monotonic()
        system.tick(HOUR)
        assert clock.monotonic() - before == HOUR.total_seconds()


def test_the_frozen_clock_of_tests_shows_what_a_frozen_system_would() -> None:
    with freeze_time(NOON) as system, clocks.freeze_time(NOON) as frozen:
        before = clock.monotonic()
        for each in (system, frozen):
            each.tick(HOUR)
        assert (clock.now(), clock.timestamp()) == (NOON + HOUR, (NOON + HOUR).timestamp())
        assert clock.monotonic() - before == HOUR.total_seconds()
        frozen.move_to(NOON)
        assert (clock.now(), clock.monotonic() - before) == (NOON, HOUR.total_seconds())
