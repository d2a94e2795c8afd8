"""Whether a delivery is as old as it seems, where something is about to end because of its age.

``ClockGuard`` knows when the clock of this machine was wrong. The rows of a replica whose clock was behind, perhaps on
another machine, only show it by their neighbours: those were written at about the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from listener.core import clock
from listener.core.errors import StoreUnavailable
from listener.core.model import ClockLag, Delivery
from listener.core.ports import AgeCheck, DeliveryTimes
from listener.runtime.clock_evidence import lags_shown
from listener.runtime.clock_guard import TOLERANCE

#: How many ids before a delivery must have been looked at, and how many after it are looked at at most: many that are
#: too old at the same time need few queries.
BEFORE, AFTER = 1000, 5000


@dataclass(frozen=True, slots=True)
class _Looked:
    """What the deliveries with these ids show."""

    first: int
    last: int
    lags: Sequence[ClockLag]

    def covers(self, delivery_id: int) -> bool:
        return (self.first <= 0 or self.first + BEFORE <= delivery_id) and delivery_id <= self.last


class DeliveryAges:
    """Safe to use from several threads."""

    def __init__(self, store: DeliveryTimes, clock_check: AgeCheck) -> None:
        self._store = store
        self._clock_check = clock_check
        self._looked: _Looked | None = None

    def are_certain(self, delivery: Delivery, *, limit: timedelta) -> bool:
        """Whether its age, compared with this limit, can decide about the delivery."""
        now, since = clock.now(), delivery.attempts_since
        if not self._clock_check.confirms(since):
            return False
        return now - since < limit or not self._was_behind(delivery)

    def _was_behind(self, delivery: Delivery) -> bool:
        """Whether the clock was behind when it was written, or that cannot be found out now."""
        looked = self._looked
        if looked is None or not looked.covers(delivery.id):
            try:
                looked = self._looked = self._look_around(delivery.id)
            except StoreUnavailable:  # logged by the store's observer
                return True
        return any(delivery.attempts_since in lag for lag in looked.lags)

    def _look_around(self, delivery_id: int) -> _Looked:
        now, first = clock.now(), delivery_id - 2 * BEFORE
        rows = self._store.delivery_times(first=first, last=delivery_id + AFTER)
        lags = lags_shown([at for _, at in rows], now=now, tolerance=TOLERANCE)
        return _Looked(first, rows[-1][0] if rows else delivery_id, lags)
