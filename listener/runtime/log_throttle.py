"""Lines about lasting conditions: logged immediately, then at most so many a minute, with a count of the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from listener.core import clock

INTERVAL = timedelta(minutes=1)


@dataclass(slots=True)
class _Interval:
    """What was logged about one thing since ``began``."""

    began: float  #: monotonic seconds
    logged: int = 0
    suppressed: int = 0


class ThrottledLog:
    """One source of such lines. May be used from several threads."""

    def __init__(self, log: Any, *, burst: int = 1, rest_at_debug: bool = False) -> None:
        """``burst``: how many lines of the same event, kind and queue are logged within a minute.

        ``rest_at_debug``: the others are not only counted, but logged at level debug as well.
        """
        self._log = log
        self._burst = burst
        self._rest_at_debug = rest_at_debug
        self._lock = threading.Lock()
        self._intervals: dict[tuple[str, object, object], _Interval] = {}

    def warning(self, event: str, **fields: Any) -> None:
        """Log it, unless that would be too many within a minute."""
        self._limited(self._log.warning, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """The same at level info."""
        self._limited(self._log.info, event, fields)

    def reset(self) -> None:
        """The condition is over; resets the counts, but the limit per minute stays."""
        with self._lock:
            for interval in self._intervals.values():
                interval.suppressed = 0

    def _limited(self, write: Callable[..., None], event: str, fields: dict[str, Any]) -> None:
        repeated = self._count((event, fields.get("kind"), fields.get("queue")))
        if repeated is not None:
            write(event, **fields, repeated=repeated)
        elif self._rest_at_debug:
            self._log.debug(event, **fields)

    def _count(self, about: tuple[str, object, object]) -> int | None:
        """How many lines the one that is to be logged now stands for, besides itself; None if it must not be."""
        with self._lock:
            now, repeated = clock.monotonic(), 0
            interval = self._intervals.get(about)
            if interval is None or now - interval.began >= INTERVAL.total_seconds():
                repeated = interval.suppressed if interval else 0
                interval = self._intervals[about] = _Interval(now)
            if interval.logged == self._burst:
                interval.suppressed += 1
                return None
            interval.logged += 1
            return repeated
