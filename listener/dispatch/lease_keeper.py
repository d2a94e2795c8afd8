"""Leases: when our own are renewed, when a handler counts as hung, and when other processes' deliveries are rescued."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from listener.core import clock
from listener.core.logger import get_logger
from listener.core.model import Delivery, Lease, Outcome, Settlement
from listener.core.ports import AgeCheck, DeliveryStore
from listener.core.pull import MAX_LEASE
from listener.dispatch.delivery_log import log_fields
from listener.dispatch.inflight import InFlight
from listener.dispatch.store_guard import StoreGuard
from listener.dispatch.worker_pool import WorkerPool
from listener.rules import retry
from listener.rules.retry import RetryPolicy

log = get_logger(__name__)

#: How often a lease is renewed during its own length. If it were renewed only shortly before its end, any delay would
#: lose it.
RENEWALS_PER_LEASE = 4
#: How many expired leases one round takes over at most.
RESCUE_BATCH = 256
#: How many lease lengths a lease may go without a renewal, where the clocks cannot tell whether it has expired. A live
#: process renews its leases eight times in that time, so there is some room for replicas with a longer lease.
WATCH_LEASES = 2
#: A clock that is set by less is only being kept right.
SMALLEST_JUMP = timedelta(seconds=1)
#: Before every lease.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def renewal_interval(lease: timedelta) -> timedelta:
    """How often ``LeaseKeeper.maintain`` is to be called."""
    return lease / RENEWALS_PER_LEASE


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTimeouts:
    """How long a call of a handler may take."""

    handler: timedelta  #: then it hangs
    overrun: timedelta  #: how long it keeps its delivery after that


@dataclass(frozen=True, slots=True)
class _Reading:
    """One moment by all clocks."""

    monotonic: float
    wall: datetime
    uptime: timedelta

    @classmethod
    def now(cls) -> _Reading:
        return cls(clock.monotonic(), clock.now(), clock.uptime())

    @property
    def elapsed(self) -> timedelta:
        """Since then, whatever the wall clock was set to."""
        return timedelta(seconds=clock.monotonic() - self.monotonic)

    def jump_since(self, before: _Reading) -> timedelta:
        """By how much the wall clock was set forward in between."""
        return self.wall - before.wall - timedelta(seconds=self.monotonic - before.monotonic)


class LeaseKeeper:
    """One round is ``maintain``. For one thread."""

    def __init__(
        self,
        *,
        store: DeliveryStore,
        in_flight: InFlight,
        workers: WorkerPool,
        guard: StoreGuard,
        owner: str,
        policy: Callable[[Delivery], RetryPolicy],
        on_rescued: Callable[[Sequence[Settlement]], None],
        clock_check: AgeCheck,
        lease: timedelta,
        timeouts: CallTimeouts,
    ) -> None:
        self._store = store
        self._in_flight = in_flight
        self._workers = workers
        self._guard = guard
        self._owner = owner
        self._policy = policy
        self._on_rescued = on_rescued
        self._clock_check = clock_check
        self._lease = lease
        self._timeouts = timeouts
        self._renewed: _Reading | None = None  #: when our leases were last renewed
        #: Leases that need watching, and since which time after boot each has not been renewed.
        self._unrenewed: dict[Lease, timedelta] = {}
        self._steps_forward = clock_check.steps_forward
        self._rescues_from: float | None = None  #: the monotonic time before which others may renew first

    def maintain(self) -> None:
        """Replace workers whose handlers hang, renew our own leases, and rescue deliveries whose lease has expired."""
        self._replace_hung()
        self._abandon_hung()
        grace = self._guard.attempt("renew leases", self._renew)
        if grace is None:
            return  # other processes cannot renew their leases now either
        if self._is_over(grace):
            if not self._clock_check.wrong:
                self._guard.attempt("rescue expired leases", self._rescue_expired)
            self._guard.attempt("rescue unrenewed leases", self._rescue_unrenewed)

    def _replace_hung(self) -> None:
        """Give their place to others. Their leases are still renewed, so that no other attempt begins beside them."""
        for delivery in self._in_flight.take_overdue(self._timeouts.handler):
            log.error("handler.hung", **log_fields(delivery), timeout=str(self._timeouts.handler))
            self._workers.replace(delivery)

    def _abandon_hung(self) -> None:
        """Let the leases of those expire that have hung for too long: the attempt then counts as failed."""
        limit = self._timeouts.handler + self._timeouts.overrun
        for call in self._in_flight.abandon_hung(limit):
            log.error("handler.abandoned", **log_fields(call.delivery), timeout=str(limit))
            self._workers.put(call.waiting)

    def _renew(self) -> timedelta:
        """Renew our own leases; returns how long other processes may have to renew theirs, or to settle, first."""
        before, renewed = self._renewed, _Reading.now()
        owned = self._in_flight.all()
        self._store.renew(owned, until=renewed.wall + self._lease)
        self._in_flight.renewed(owned, leased=renewed.uptime)
        self._renewed = renewed
        if before is None:
            return renewal_interval(self._lease)
        jump = renewed.jump_since(before)
        if abs(jump) > SMALLEST_JUMP:
            # The leases of applications, which do not renew them, last as long as they were meant to.
            self._store.shift_pulled_leases(jump, daemon=self._owner)
        return self._grace(before, renewed, jump)

    def _grace(self, before: _Reading, renewed: _Reading, jump: timedelta) -> timedelta:
        """If this renewal did not come within half a lease of the one before, this process or the store stalled in
        between, and others may have stalled with it. They then get the time of a lease, which is four renewals. (The
        same is possible, but less likely, when this process has just started: they get one renewal.) If the clock was
        set forward, their time begins anew: they gave their leases by the clock as it was.
        """
        if self._was_set_forward(jump):
            self._rescues_from = None
            return self._lease
        gap = max(before.elapsed, renewed.wall - before.wall)
        return timedelta(0) if gap < self._lease / 2 else self._lease

    def _was_set_forward(self, jump: timedelta) -> bool:
        """Whether the clock was set forward since the last renewal, if only because it had been set back after it."""
        steps, self._steps_forward = self._steps_forward, self._clock_check.steps_forward
        return jump > SMALLEST_JUMP or self._steps_forward > steps

    @property
    def now(self) -> datetime:
        """The time by the clock with which our leases were renewed: if it is set after the renewal, they must not
        seem to have expired. From any thread."""
        renewed = self._renewed
        return renewed.wall + renewed.elapsed if renewed else clock.now()

    def _is_over(self, grace: timedelta) -> bool:
        """Whether a grace is over, which begins here if none has begun; one that runs is not extended, so that leases
        expire even where every round takes long."""
        now = clock.monotonic()
        if self._rescues_from is None and grace:
            self._rescues_from = now + grace.total_seconds()
        if self._rescues_from is not None and now < self._rescues_from:
            return False
        self._rescues_from = None
        return True

    def _rescue_expired(self) -> None:
        self._on_rescued(self._store.rescue_expired(self._after_lost_lease, at=self.now, limit=RESCUE_BATCH))

    def _rescue_unrenewed(self) -> None:
        """Watch, by the time since boot, the leases whose ends say nothing: all of them while our clock is wrong, else
        those that end later than any lease, because they were written by a clock that was ahead."""
        now, uptime = self.now, clock.uptime()
        longest, wrong = WATCH_LEASES * self._lease, self._clock_check.wrong
        watched = self._store.leases(
            after=NEVER if wrong else now + longest,
            pulled_after=NEVER if wrong else now + longest + MAX_LEASE,
            limit=RESCUE_BATCH,
        )
        self._unrenewed = {lease: self._unrenewed.get(lease, uptime) for lease in watched}
        stale = [
            lease
            for lease, since in self._unrenewed.items()
            if uptime - since > (MAX_LEASE if lease.pulled else longest)
        ]
        if stale:
            self._on_rescued(self._store.rescue_unrenewed(stale, self._after_lost_lease, at=now))

    def _after_lost_lease(self, delivery: Delivery) -> Outcome:
        now = clock.now()  # before the clock is confirmed, so that it is also known to have been right here
        return retry.after_lost_lease(delivery, self._policy(delivery), now=now, jitter=random.random())
