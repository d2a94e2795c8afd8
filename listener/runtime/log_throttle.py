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
    write: Callable[..., None]  #: at the level of its lines
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

    def report_counts(self) -> None:
        """Log the counts of minutes that are over, unless a line with such a count was logged since."""
        with self._lock:
            over = [
                (about, interval.write, interval.suppressed)
                for about, interval in self._intervals.items()
                if interval.suppressed and self._is_over(interval)
            ]
            for about, _, _ in over:
                del self._intervals[about]
        for (event, kind, queue), write, suppressed in over:
            facts = {name: fact for name, fact in (("kind", kind), ("queue", queue)) if fact is not None}
            write(event, **facts, repeated=suppressed)

    def _limited(self, write: Callable[..., None], event: str, fields: dict[str, Any]) -> None:
        repeated = self._count((event, fields.get("kind"), fields.get("queue")), write)
        if repeated is not None:
            write(event, **fields, repeated=repeated)
        elif self._rest_at_debug:
            self._log.debug(event, **fields)

    def _count(self, about: tuple[str, object, object], write: Callable[..., None]) -> int | None:
        """How many lines the one that is to be logged now stands for, besides itself; None if it must not be."""
        with self._lock:
            repeated = 0
            interval = self._intervals.get(about)
            if interval is None or self._is_over(interval):
                repeated = interval.suppressed if interval else 0
                interval = self._intervals[about] = _Interval(clock.monotonic(), write)
            if interval.logged == self._burst:
                interval.suppressed += 1
                return None
            interval.logged += 1
            return repeated

    def _is_over(self, interval: _Interval) -> bool:
        return clock.monotonic() - interval.began >= INTERVAL.total_seconds()
