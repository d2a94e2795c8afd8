"""The deliveries that this process owns, from claim to settlement, and how many it may own; and the running calls."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

from listener.core import clock
from listener.core.model import Delivery
from listener.dispatch.adaptive_capacity import AdaptiveCapacity
from listener.dispatch.fair_queue import fair_share

#: A claim is worth a transaction of its own once one part in so many of the capacity is free.
WORTHWHILE = 8


class Begun(Enum):
    """Whether a call of a handler begins."""

    YES = auto()
    NO = auto()  #: not any more, or not yet
    EXPIRED = auto()  #: another process may have claimed the delivery


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
    since: float  #: monotonic seconds
    leased: float  #: the time since boot at which its lease began, or was renewed, in seconds
    begun: bool = False  #: whether its handler was called
    hung: bool = False  #: whether that takes too long; it then uses no capacity


@dataclass(slots=True)
class HandlerCall:
    """A running call of a handler. It may outlast the ownership of its delivery."""

    delivery: Delivery
    since: float  #: monotonic seconds
    hung: bool = False


@dataclass(frozen=True, slots=True)
class AbandonedCall:
    """A call that may be running for a long time still, and is not kept track of any more."""

    delivery: Delivery
    waiting: Sequence[Delivery]  #: the attempt, if any, that waited for its end


class InFlight:
    """Counts what this process owns against its capacity. Safe to use from several threads.

    No queue can use all the capacity: some is left for the others, however deep one queue's backlog is. An attempt does
    not begin while an earlier attempt at the same delivery is running in this process, nor once its lease has expired.
    """

    def __init__(self, capacity: int, *, queues: int = 1, lease: timedelta = timedelta.max) -> None:
        self._lock = threading.Lock()  # entered as such, since a condition does that in Python, more slowly
        self._changed = threading.Condition(self._lock)
        self._owned: dict[int, InFlightDelivery] = {}  #: by the delivery's id, as the next two
        self._calls: dict[int, HandlerCall] = {}
        self._waiting: dict[int, Delivery] = {}  #: for the end of an earlier attempt's call
        self._by_queue: defaultdict[str, int] = defaultdict(int)
        self.queues = queues
        self._lease = lease.total_seconds()
        self._capacity = AdaptiveCapacity(capacity)
        self._reserved = 0
        self._hung = 0  #: how many of those that are owned
        self._closed = False

    def reserve(self, wanted: int) -> Capacity:
        """Reserve capacity for as many of these as possible; ``take`` must follow."""
        with self._lock:
            if not (self._owned or self._reserved):
                self._capacity.rest()
            free = 0 if self._closed else self._capacity.total - self._unfinished - self._reserved
            total = max(0, min(free, wanted))
            self._reserved += total
            each = fair_share(self._capacity.total, self.queues)
            capacities = {queue: max(0, each - owned) for queue, owned in self._by_queue.items()}
            return Capacity(total, capacities, each)

    @property
    def has_room(self) -> bool:
        """Whether so much capacity is free that a claim is worth a transaction."""
        with self._lock:
            free = self._capacity.total - self._unfinished - self._reserved
            return free >= max(1, self._capacity.total // WORTHWHILE)

    @property
    def is_crowded(self) -> bool:
        """Whether half of the capacity is used, or reserved."""
        with self._lock:
            return self._unfinished + self._reserved > self._capacity.total // 2

    @property
    def is_deep(self) -> bool:
        """Whether more are owned than slow handlers would get: others will be settled in a moment."""
        with self._lock:
            return self._unfinished > self._capacity.least

    def take(self, claimed: Sequence[Delivery], *, reserved: int, leased: timedelta) -> None:
        """Own these, and release what was ``reserved`` for them. ``leased``: since when they are, by the time since
        boot."""
        since, leased_at = clock.monotonic(), leased.total_seconds()
        with self._lock:
            self._reserved -= reserved
            for delivery in claimed:
                if delivery.id in self._owned:  # an earlier attempt, whose lease was lost
                    self._disown(delivery.id)
                self._owned[delivery.id] = InFlightDelivery(delivery, since, leased_at)
                self._by_queue[delivery.queue] += 1
            self._capacity.owns(self._unfinished)

    def renewed(self, deliveries: Sequence[Delivery], *, leased: timedelta) -> None:
        """The leases of these were renewed at this time since boot. Those that had expired remain so."""
        leased_at = leased.total_seconds()
        with self._lock:
            for delivery in deliveries:
                owned = self._current(delivery)
                if owned and leased_at - owned.leased < self._lease:
                    owned.leased = leased_at

    def begin(self, delivery: Delivery) -> Begun:
        """Note that its handler is called now, until ``returned``, unless it must not be called any more, or not yet.

        It is not called yet while an earlier attempt is running; ``returned`` or ``abandon_hung`` then hands it out.
        """
        with self._lock:
            owned = self._current(delivery)
            if self._closed or owned is None:
                return Begun.NO
            if delivery.id in self._calls:
                self._waiting[delivery.id] = delivery
                return Begun.NO
            if clock.uptime_seconds() - owned.leased >= self._lease:
                return Begun.EXPIRED
            owned.begun = True
            self._calls[delivery.id] = HandlerCall(delivery, clock.monotonic())
            return Begun.YES

    def returned(self, delivery: Delivery) -> Sequence[Delivery]:
        """Its handler's call has ended; returns the attempt, if any, that waited for this."""
        with self._lock:
            call = self._calls.get(delivery.id)
            if call is None or call.delivery is not delivery:
                return ()  # it was abandoned, and another attempt may be running
            return self._end_call(delivery.id)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """These are settled, or not owned by this process any more."""
        with self._lock:
            owned_since = []
            for delivery in deliveries:  # at a stop, one may be among them twice
                if owned := self._current(delivery):
                    self._disown(delivery.id)
                    owned_since.append(owned.since)
            self._capacity.released(owned_since)
            self._changed.notify_all()

    def all(self) -> Sequence[Delivery]:
        with self._lock:
            return [owned.delivery for owned in self._owned.values()]

    def unfinished(self) -> Sequence[Delivery]:
        """All but those whose handler hangs."""
        with self._lock:
            return [owned.delivery for owned in self._owned.values() if not owned.hung]

    def running(self) -> int:
        """How many deliveries have a handler that is running, without those whose handler hangs."""
        with self._lock:
            return sum(not call.hung for call in self._calls.values())

    def take_overdue(self, limit: timedelta) -> Sequence[Delivery]:
        """Those whose handler has been running for longer than this, each once: they hang, and use no capacity."""
        with self._lock:
            overdue = [call for call in self._running_longer_than(limit) if not call.hung]
            for call in overdue:
                call.hung = True
                owned = self._current(call.delivery)
                if owned:
                    owned.hung = True
                    self._hung += 1
                    self._by_queue[call.delivery.queue] -= 1
            self._changed.notify_all()
            return [call.delivery for call in overdue]

    def abandon_hung(self, limit: timedelta) -> Sequence[AbandonedCall]:
        """Own those no longer whose handler hangs, and has been running for longer than this."""
        with self._lock:
            hung = [call.delivery for call in self._running_longer_than(limit) if call.hung]
            for delivery in hung:
                if self._current(delivery):
                    self._disown(delivery.id)
            return [AbandonedCall(delivery, self._end_call(delivery.id)) for delivery in hung]

    def close(self) -> Sequence[Delivery]:
        """Let no further handler begin; returns the deliveries whose handler has not begun."""
        with self._lock:
            self._closed = True
            return [owned.delivery for owned in self._owned.values() if not owned.begun]

    def wait_until_finished(self, limit: timedelta) -> bool:
        """Whether everything was settled within the limit, apart from deliveries whose handler hangs."""
        with self._lock:
            return self._changed.wait_for(lambda: not self._unfinished, limit.total_seconds())

    @property
    def _unfinished(self) -> int:
        return len(self._owned) - self._hung

    def _running_longer_than(self, limit: timedelta) -> Sequence[HandlerCall]:
        before = clock.monotonic() - limit.total_seconds()
        return [call for call in self._calls.values() if call.since < before]

    def _end_call(self, delivery_id: int) -> Sequence[Delivery]:
        self._calls.pop(delivery_id, None)
        waiting = self._waiting.pop(delivery_id, None)
        return () if waiting is None else (waiting,)

    def _disown(self, delivery_id: int) -> None:
        owned = self._owned.pop(delivery_id)
        if owned.hung:
            self._hung -= 1
        else:
            self._by_queue[owned.delivery.queue] -= 1

    def _current(self, delivery: Delivery) -> InFlightDelivery | None:
        """None if this attempt is not owned, even if a later attempt at the same delivery is."""
        owned = self._owned.get(delivery.id)
        return owned if owned and owned.delivery.attempt == delivery.attempt else None
