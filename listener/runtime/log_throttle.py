"""Warnings about what goes on and on: said at once, then at most once a minute, with a count."""

from __future__ import annotations

import math
import threading
from datetime import timedelta
from typing import Any

from listener.core import clock

EVERY = timedelta(minutes=1)


class ThrottledLog:
    """One source of warnings. Safe to share between threads."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._said_at: dict[tuple[str, object], float] = {}
        self._unsaid: dict[tuple[str, object], int] = {}

    def warning(self, event: str, **facts: Any) -> None:
        """Log it, unless the same event of the same kind was logged within the last minute."""
        about = (event, facts.get("kind"))
        with self._lock:
            now = clock.monotonic()
            if now - self._said_at.get(about, -math.inf) < EVERY.total_seconds():
                self._unsaid[about] = self._unsaid.get(about, 0) + 1
                return
            self._said_at[about] = now
            repeated = self._unsaid.pop(about, 0)
        self._log.warning(event, **facts, repeated=repeated)

    def reset(self) -> None:
        """What is warned of is over; the next one is news again, but still not more than once a minute."""
        with self._lock:
            self._unsaid.clear()
