"""Leases: when our own are renewed, when a handler counts as hung, and when other processes' deliveries are rescued."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from listener.core import clock
from listener.core.model import Delivery, Settlement
from listener.core.ports import DeliveryStore
from listener.dispatch.delivery_log import log_fields
from listener.dispatch.inflight import InFlight
from listener.dispatch.store_guard import StoreGuard
from listener.dispatch.worker_pool import WorkerPool
from listener.rules import retry
from listener.rules.retry import RetryPolicy

log = structlog.get_logger(__name__)

#: How often a lease is renewed during its own length. If it were renewed only shortly before its end, any delay would
#: lose it.
RENEWALS_PER_LEASE = 4
#: How many expired leases one round takes over at most.
RESCUE_BATCH = 256


def renewal_interval(lease: timedelta) -> timedelta:
    """How often ``LeaseKeeper.maintain`` is to be called."""
    return lease / RENEWALS_PER_LEASE


class LeaseKeeper:
    """One round is ``maintain``. For one thread."""

    def __init__(
        self,
        *,
        store: DeliveryStore,
        in_flight: InFlight,
        workers: WorkerPool,
        guard: StoreGuard,
        policy: Callable[[Delivery], RetryPolicy],
        on_rescued: Callable[[Sequence[Settlement]], None],
        lease: timedelta,
        handler_timeout: timedelta,
    ) -> None:
        self._store = store
        self._in_flight = in_flight
        self._workers = workers
        self._guard = guard
        self._policy = policy
        self._on_rescued = on_rescued
        self._lease = lease
        self._handler_timeout = handler_timeout
        #: When our leases were last renewed, in monotonic seconds and by the wall clock.
        self._renewed: tuple[float, datetime] | None = None
        self._waited = (
            False  #: whether the last round rescued nothing, because the renewal before it was late
        )

    def maintain(self) -> None:
        """Replace workers whose handlers hang, renew our own leases, and rescue deliveries whose lease has expired."""
        self._replace_hung()
        prompt = self._guard.attempt("renew leases", self._renew)
        if prompt is None:
            return  # other processes cannot renew their leases now either
        waited, self._waited = self._waited, not (prompt or self._waited)
        if prompt or waited:
            self._guard.attempt("rescue expired leases", self._rescue_expired)

    def _replace_hung(self) -> None:
        for delivery in self._in_flight.overdue(self._handler_timeout):
            log.error("handler.hung", **log_fields(delivery), timeout=str(self._handler_timeout))
            self._in_flight.release([delivery])
            self._workers.replace(delivery)

    def _renew(self) -> bool:
        """Renew our own leases; returns whether that came within half a lease of the renewal before.

        If not, this process, its clock or the store stalled in between, and other processes may have been unable to
        renew their leases or to settle; the same is possible when this process has just started. They then get one
        more round to do so.
        """
        before = self._renewed
        self._store.renew(self._in_flight.all(), until=clock.now() + self._lease)
        self._renewed = clock.monotonic(), clock.now()
        if before is None:
            return False
        gap = max(timedelta(seconds=self._renewed[0] - before[0]), self._renewed[1] - before[1])
        return gap < self._lease / 2

    def _rescue_expired(self) -> None:
        now = clock.now()
        rescued = self._store.rescue_expired(
            lambda delivery: retry.after_lost_lease(
                delivery, self._policy(delivery), now=now, jitter=random.random()
            ),
            at=now,
            limit=RESCUE_BATCH,
        )
        self._on_rescued(rescued)
