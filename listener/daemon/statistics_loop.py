"""Reads what is open in the store every few seconds, so that metrics can be shown while the store hangs."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from listener.core import clock
from listener.core.errors import StoreUnavailable
from listener.core.logger import get_logger
from listener.core.ports import HeartbeatSink
from listener.store.statistics import Activity, Totals

log = get_logger(__name__)

INTERVAL: Final = timedelta(seconds=10)
#: How long the totals are kept, for the pages.
KEPT: Final = timedelta(hours=1)
#: How often the activity is read while it is not looked at. It takes longer than the totals.
UNWATCHED_INTERVAL: Final = timedelta(minutes=1)
#: For how long after a look it is read as often as the totals.
WATCHED_FOR: Final = timedelta(minutes=1)


class StatisticsLoop:
    """Any thread may ask for what was read last; only its own loop waits for the store."""

    def __init__(
        self,
        read: Callable[[datetime], Totals],
        *,
        stop: threading.Event,
        read_activity: Callable[[datetime], Activity] | None = None,
    ) -> None:
        """``read_activity``: only if something shows it."""
        self._read = read
        self._stop = stop
        self._read_activity = read_activity
        self._activity: Activity | None = None
        self._activity_read_at = self._looked_at = -math.inf
        self._read_at = clock.monotonic()
        self.totals: Totals | None = None  #: None until they are read for the first time
        #: Of the last hour, as far as this process has read them; oldest first.
        self.history: Sequence[Totals] = ()

    @property
    def age(self) -> timedelta:
        """How long ago the totals were read, or the process started."""
        return timedelta(seconds=clock.monotonic() - self._read_at)

    def activity(self) -> Activity | None:
        """That of the last hour, as it was read last; None until then."""
        self._looked_at = clock.monotonic()
        return self._activity

    def run(self, heartbeat: HeartbeatSink) -> None:
        while not self._stop.is_set():
            heartbeat.beat()
            self.turn()
            heartbeat.pause()
            self._stop.wait(INTERVAL.total_seconds())

    def turn(self) -> None:
        """Read once; what cannot be read stays as it was. Never raises."""
        try:
            self.totals = self._read(clock.now())
            self.history = (*self.history[1 - KEPT // INTERVAL :], self.totals)
            self._read_at = clock.monotonic()
            if self._read_activity and self._activity_is_due():
                self._activity = self._read_activity(clock.now())
                self._activity_read_at = clock.monotonic()
        except StoreUnavailable:
            pass  # logged by the store's observer
        except Exception:  # a bug in mns-listener must not end the loop
            log.exception("statistics.crashed")

    def _activity_is_due(self) -> bool:
        now = clock.monotonic()
        watched = now - self._looked_at < WATCHED_FOR.total_seconds()
        return watched or now - self._activity_read_at >= UNWATCHED_INTERVAL.total_seconds()
