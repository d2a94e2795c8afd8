"""How often: a limit on calls per second that all threads share, and a loop's own measure."""

from __future__ import annotations

import threading
from datetime import timedelta

from listener.core import clock


class IntervalTimer:
    """Says now and then that it is time again; at once when first asked. For one thread."""

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval.total_seconds()
        self._next = 0.0

    def due(self) -> bool:
        now = clock.monotonic()
        if now < self._next:
            return False
        self._next = now + self._interval
        return True


class RateMeter:
    """How many a second, measured anew over each quarter of one. For one thread."""

    WINDOW = 0.25

    def __init__(self) -> None:
        self._since = clock.monotonic()
        self._count = 0

    def after(self, more: int) -> float | None:
        """Count these; the pace, if a window has just ended."""
        self._count += more
        elapsed = clock.monotonic() - self._since
        if elapsed < self.WINDOW:
            return None
        rate = self._count / elapsed
        self._since, self._count = clock.monotonic(), 0
        return rate


class RateLimiter:
    """Spreads calls evenly: each one waits for its turn. Safe to use from several threads."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._lock = threading.Lock()
        self._next = 0.0
        self._stopped = threading.Event()

    def wait(self) -> None:
        """Until it is this call's turn, or ``stop`` was called."""
        with self._lock:
            now = clock.monotonic()
            turn = max(self._next, now)
            self._next = turn + self._interval
        if turn > now:
            self._stopped.wait(turn - now)

    def stop(self) -> None:
        """Let everybody through: the process is ending."""
        self._stopped.set()
