"""What may be known about the wall clock, and clocks that a test sets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from listener.core import clock
from tests.support.builders import NOON


@dataclass(frozen=True)
class KnownClock:
    """An AgeCheck that always gives the same answers."""

    confirmed: bool
    wrong: bool
    steps_forward: int = 0

    def confirms(self, _at: datetime) -> bool:
        return self.confirmed


RIGHT = KnownClock(confirmed=True, wrong=False)
UNKNOWN = KnownClock(confirmed=False, wrong=False)
WRONG = KnownClock(confirmed=False, wrong=True)


class Clocks:
    """Replaces the wall clock and the time since boot, which starts with an hour."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.uptime = NOON, timedelta(hours=1)
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(clock, "uptime_seconds", lambda: self.uptime.total_seconds())

    @property
    def true_time(self) -> datetime:
        """What a clock that nobody has set shows."""
        return NOON + self.uptime - timedelta(hours=1)

    def tick(self, time: timedelta) -> None:
        """Time passes, or the machine is suspended."""
        self.now += time
        self.uptime += time

    def jump(self, size: timedelta) -> None:
        """Somebody sets the wall clock."""
        self.now += size


class FrozenClock:
    """Clocks that stand still until ``tick``; ``move_to`` sets the wall clock only."""

    def __init__(self, now: datetime) -> None:
        self._now, self._monotonic = now, clock.monotonic()

    def now(self) -> datetime:
        return self._now

    def timestamp(self) -> float:
        return self._now.timestamp()

    def monotonic(self) -> float:
        return self._monotonic

    def tick(self, time: timedelta | float) -> None:
        """Time passes: so much, or so many seconds."""
        passed = time if isinstance(time, timedelta) else timedelta(seconds=time)
        self._now += passed
        self._monotonic += passed.total_seconds()

    def move_to(self, now: datetime) -> None:
        """Somebody sets the wall clock."""
        self._now = now


@contextmanager
def freeze_time(now: datetime = NOON) -> Iterator[FrozenClock]:
    """Stop the clocks that ``listener.core.clock`` reads, and no others: those of the event loop, say, go on.

    freezegun stops those of the whole process, and looks through all modules for that. It is for tests of the code that
    reads the clocks of the system.
    """
    frozen = FrozenClock(now)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("now", "timestamp", "monotonic"):
            patch.setattr(clock, name, getattr(frozen, name))
        yield frozen


def let_pass(time: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let time pass for ``clock.monotonic``, which stands still afterwards."""
    later = clock.monotonic() + time.total_seconds()
    monkeypatch.setattr(clock, "monotonic", lambda: later)


def set_uptime(uptime: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine was booted so long ago; its clock stands still from now on."""
    monkeypatch.setattr(clock, "uptime_seconds", uptime.total_seconds)
