"""Warnings about lasting conditions: logged immediately, then at most once a minute with a count."""

from __future__ import annotations

import math
import threading
from datetime import timedelta
from typing import Any

from listener.core import clock

INTERVAL = timedelta(minutes=1)


class ThrottledLog:
    """One source of warnings. May be used from several threads."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._logged_at: dict[tuple[str, object], float] = {}
        self._suppressed: dict[tuple[str, object], int] = {}

    def warning(self, event: str, **fields: Any) -> None:
        """Log it, unless the same event of the same kind was logged within the last minute."""
        about = (event, fields.get("kind"))
        with self._lock:
            now = clock.monotonic()
            if now - self._logged_at.get(about, -math.inf) < INTERVAL.total_seconds():
                self._suppressed[about] = self._suppressed.get(about, 0) + 1
                return
            self._logged_at[about] = now
            repeated = self._suppressed.pop(about, 0)
        self._log.warning(event, **fields, repeated=repeated)

    def reset(self) -> None:
        """The condition is over; resets the count, but the limit of one warning per minute stays."""
        with self._lock:
            self._suppressed.clear()
