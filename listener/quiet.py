"""Warnings about what goes on and on: said at once, then at most once a minute, with a count."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from listener import clock

EVERY = timedelta(minutes=1)


class Quieted:
    """One source of warnings. Not for sharing between threads."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._said_at: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def warning(self, event: str, **facts: Any) -> None:
        """Log it, unless the same event was logged within the last minute."""
        now = clock.monotonic()
        if now - self._said_at.get(event, -EVERY.total_seconds()) < EVERY.total_seconds():
            self._unsaid[event] = self._unsaid.get(event, 0) + 1
            return
        self._said_at[event] = now
        self._log.warning(event, **facts, repeated=self._unsaid.pop(event, 0))

    def reset(self) -> None:
        """What is warned of is over; the next one is news again, but still not more than once a minute."""
        self._unsaid.clear()
