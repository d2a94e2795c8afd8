"""The deliveries that this process owns, from claim to settlement, and how many it may own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from listener.core import clock
from listener.core.model import Delivery
from listener.dispatch.fair_queue import fair_share


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many deliveries may be claimed."""

    total: int  #: from all queues together
    by_queue: Mapping[str, int]  #: from each queue of which deliveries are in flight
    each: int  #: from each other queue


@dataclass(slots=True)
class InFlightDelivery:
    """A delivery that this process owns."""

    delivery: Delivery
    since: float | None = None  #: monotonic seconds at which its handler was called; None before that


class InFlight:
    """Counts what this process owns against its capacity. Safe to use from several threads.

    No queue can use all the capacity: some is left for the others, however deep one queue's backlog is.
    """

    def __init__(self, capacity: int, *, queues: int = 1) -> None:
        self._changed = threading.Condition()
        self._owned: dict[int, InFlightDelivery] = {}
        self._by_queue: Counter[str] = Counter()
        self.queues = queues
        self._min_capacity = self._capacity = capacity
        self._capacity_each = fair_share(capacity, queues)
        self._reserved = 0
        self._closed = False

    def resize(self, capacity: int) -> None:
        """Own at most this many from now on, but never fewer than the initial capacity."""
        with self._changed:
            self._capacity = max(self._min_capacity, capacity)
            self._capacity_each = fair_share(self._capacity, self.queues)

    def reserve(self, wanted: int) -> Capacity:
        """Reserve capacity for as many of these as possible; ``take`` must follow."""
        with self._changed:
            free = 0 if self._closed else self._capacity - len(self._owned) - self._reserved
            total = max(0, min(free, wanted))
            self._reserved += total
            capacities = {
                queue: max(0, self._capacity_each - owned) for queue, owned in self._by_queue.items()
            }
            return Capacity(total, capacities, self._capacity_each)

    def take(self, claimed: Sequence[Delivery], *, reserved: int) -> None:
        """Own these, and release what was ``reserved`` for them."""
        with self._changed:
            self._reserved -= reserved
            self._owned.update((delivery.id, InFlightDelivery(delivery)) for delivery in claimed)
            self._by_queue.update(delivery.queue for delivery in claimed)

    def begin(self, delivery: Delivery) -> bool:
        """Note that its handler is called now; False if it must not be called any more."""
        with self._changed:
            owned = self._current(delivery)
            if self._closed or owned is None:
                return False
            owned.since = clock.monotonic()
            return True

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """These are settled, or not owned by this process any more."""
        with self._changed:
            for delivery in deliveries:
                if self._current(delivery):
                    del self._owned[delivery.id]
                    self._by_queue[delivery.queue] -= 1
            self._changed.notify_all()

    def all(self) -> Sequence[Delivery]:
        with self._changed:
            return [owned.delivery for owned in self._owned.values()]

    def overdue(self, limit: timedelta) -> Sequence[Delivery]:
        """Those whose handler has been running for longer than this."""
        with self._changed:
            before = clock.monotonic() - limit.total_seconds()
            return [
                owned.delivery
                for owned in self._owned.values()
                if owned.since is not None and owned.since < before
            ]

    def close(self) -> Sequence[Delivery]:
        """Let no further handler begin; returns the deliveries whose handler has not begun."""
        with self._changed:
            self._closed = True
            return [owned.delivery for owned in self._owned.values() if owned.since is None]

    def wait_until_empty(self, limit: timedelta) -> bool:
        """Whether everything was settled within the limit."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._owned, limit.total_seconds())

    def _current(self, delivery: Delivery) -> InFlightDelivery | None:
        """None if this attempt is not owned, even if a later attempt at the same delivery is."""
        owned = self._owned.get(delivery.id)
        return owned if owned and owned.delivery.attempt == delivery.attempt else None
