"""Claims due deliveries from the store: how many at a time, how many in advance, and when to look again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

from listener.core import clock
from listener.core.model import Claim, Delivery, RetryAfter, Settlement
from listener.core.ports import DeliveryStore, HeartbeatSink
from listener.dispatch.inflight import InFlight
from listener.dispatch.store_guard import StoreGuard
from listener.dispatch.worker_pool import WorkerPool

#: How many deliveries one transaction claims at most.
CLAIM_BATCH = 256
#: How often to look into the store when nothing is known to be due: other processes write to it, too.
IDLE_INTERVAL = timedelta(seconds=1)


class Claimer:
    """Moves deliveries from the store, and from intake, to the workers, as far as there is capacity.

    ``claim``, ``take`` and ``wake`` may be called from any thread.
    """

    def __init__(
        self,
        *,
        store: DeliveryStore,
        in_flight: InFlight,
        workers: WorkerPool,
        guard: StoreGuard,
        owner: str,
        lease: timedelta,
    ) -> None:
        self._store = store
        self._in_flight = in_flight
        self._workers = workers
        self._guard = guard
        self._owner = owner
        self._lease = lease
        self._woken = threading.Event()
        self._next_due: datetime | None = None
        self._more = True  #: whether the store may hold more that is due than was claimed

    def claim(self, wanted: int) -> Claim | None:
        """A claim for as many of these as there is capacity for; None if there is none. ``take`` must follow."""
        capacity = self._in_flight.reserve(wanted)
        if not capacity.total:
            return None
        return Claim(
            owner=self._owner,
            until=clock.now() + self._lease,
            limit=capacity.total,
            capacities=capacity.by_queue,
            capacity=capacity.each,
        )

    def take(self, claim: Claim, claimed: Sequence[Delivery]) -> None:
        """Hand what the claim brought to the workers, and release the capacity that it did not use."""
        self._in_flight.take(claimed, reserved=claim.limit, leased=claim.made)
        self._workers.put(claimed)

    def wake(self) -> None:
        """Look into the store now: there may be something to claim."""
        self._more = True
        self._woken.set()

    def claim_once(self) -> int:
        """Claim what is due, as far as there is capacity; returns how many. Raises StoreUnavailable."""
        claim = self.claim(CLAIM_BATCH) if self._in_flight.has_room else None
        if claim is None:
            self._more = True  # see ``follow``
            return 0
        claimed: Sequence[Delivery] = ()
        self._more = False
        try:
            claimed = self._store.claim(claim, at=clock.now())
        finally:
            self.take(claim, claimed)
        # A claim that is not full may also mean that one queue has used up its share of the capacity.
        self._more = (
            self._more or len(claimed) == claim.limit or (bool(claimed) and self._in_flight.queues > 1)
        )
        return len(claimed)

    def run(self, stop: threading.Event, heartbeat: HeartbeatSink) -> None:
        """Claim until the stop event is set and ``wake`` is called once more."""
        while not stop.is_set():
            heartbeat.beat()
            self._woken.clear()
            if not self._guard.attempt("claim", self.claim_once) or not self._more:
                self._woken.wait(self._time_until_due().total_seconds())

    def follow(self, settlements: Sequence[Settlement]) -> None:
        """These were settled: there is capacity for others, and some of these may be due again."""
        if self._more:
            self.wake()
        self.expect(settlements)

    def expect(self, settlements: Sequence[Settlement]) -> None:
        """Note when the first of those that are to be retried here is due."""
        outcomes = [settlement.outcome for settlement in settlements]
        # Those that wait for another process must not be claimed at once when they are due, or it would never get them.
        waits = [
            outcome.wait
            for outcome in outcomes
            if isinstance(outcome, RetryAfter) and outcome.no_handler_since is None
        ]
        known = self._next_due
        if waits:
            due = clock.now() + min(waits)
            self._next_due = due if known is None else min(known, due)
            self.wake()

    def _time_until_due(self) -> timedelta:
        """How long nothing will be due, as far as this process knows; at most ``IDLE_INTERVAL``."""
        due, now = self._next_due, clock.now()
        if due is None or due - now > IDLE_INTERVAL:
            return IDLE_INTERVAL
        self._next_due = None
        return max(due - now, timedelta(0))
