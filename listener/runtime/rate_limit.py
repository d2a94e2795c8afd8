"""Timers and rates: a rate limit shared by threads, and an interval timer for loops."""

from __future__ import annotations

import threading
from datetime import timedelta

from listener.core import clock


class IntervalTimer:
    """Reports once per interval that it is due; immediately on first use. For one thread."""

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval.total_seconds()
        self._next = 0.0

    def due(self) -> bool:
        now = clock.monotonic()
        if now < self._next:
            return False
        self._next = now + self._interval
        return True


class RateLimiter:
    """Spaces calls evenly: each one waits for its slot. May be used from several threads."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._lock = threading.Lock()
        self._next = 0.0
        self._stopped = threading.Event()

    def wait(self) -> None:
        """Wait for the slot of this call, or until ``stop`` is called."""
        with self._lock:
            now = clock.monotonic()
            turn = max(self._next, now)
            self._next = turn + self._interval
        if turn > now:
            self._stopped.wait(turn - now)

    def stop(self) -> None:
        """Release all waiting calls, since the process is shutting down."""
        self._stopped.set()
