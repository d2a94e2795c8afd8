"""What may be known about the wall clock, and clocks that a test sets."""

from __future__ import annotations

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
        monkeypatch.setattr(clock, "uptime", lambda: self.uptime)

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


def let_pass(time: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let time pass for ``clock.monotonic``, which stands still afterwards."""
    later = clock.monotonic() + time.total_seconds()
    monkeypatch.setattr(clock, "monotonic", lambda: later)
