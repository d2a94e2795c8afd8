"""claim → enrich → handle → settle: slow, retried, and the only place that runs user code.

A delivery's way, and where its details are:

- claim: claimer.py takes due deliveries from the store; intake brings those that it has just recorded. inflight.py
  counts them, lease_keeper.py renews their leases, and worker_pool.py gives them to threads, fairly over the queues
  (fair_queue.py).
- enrich, handle: ``Dispatcher._work``, below, in a worker's thread; attempt.py. enricher.py fetches outputs from MPS,
  job_result.py makes the document that the handler gets, listener/rules/retry.py decides what follows a failure.
- settle: settler.py writes the outcome to the store.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from listener.core import clock
from listener.core.errors import StoreUnavailable
from listener.core.model import (
    Claim,
    Dead,
    Delivery,
    Offered,
    Outcome,
    RetryAfter,
    Settlement,
    Target,
    make_settlement,
)
from listener.core.ports import AgeCheck, DeliveryStore, HeartbeatSink, Meter
from listener.dispatch.attempt import HandlerBinding, run_attempt
from listener.dispatch.claimer import Claimer
from listener.dispatch.delivery_ages import DeliveryAges
from listener.dispatch.delivery_log import log_error
from listener.dispatch.inflight import Begun, InFlight
from listener.dispatch.lease_keeper import CallTimeouts, LeaseKeeper
from listener.dispatch.settler import Settler
from listener.dispatch.store_guard import StoreGuard
from listener.dispatch.worker_pool import WorkerPool
from listener.rules import retry
from listener.rules.retry import RetryPolicy

#: Why deliveries were given back.
STOPPED: Final = "the listener stopped before the handler finished"
EXPIRED: Final = "the lease expired before the handler was called"


class Dispatcher:
    """Claims deliveries, runs their handlers, and settles them; it is the ``DeliverySink`` of intake."""

    def __init__(
        self,
        *,
        store: DeliveryStore,
        bindings: Mapping[Target, HandlerBinding],
        fallback: RetryPolicy,
        meter: Meter,
        clock_check: AgeCheck,
        owner: str,
        concurrency: int,
        queues: int = 1,
        lease: timedelta,
        timeouts: CallTimeouts,
        no_handler_timeout: timedelta,
        may_run_elsewhere: Callable[[Target], bool],
        on_offered: Callable[[Set[Target]], None] = lambda _targets: None,
        make_heartbeat: Callable[[str], HeartbeatSink],
    ) -> None:
        self._bindings, self._fallback = bindings, fallback
        self._clock_check = clock_check
        self._ages = DeliveryAges(store, clock_check)
        self._timeouts = timeouts
        self._owner = owner
        self._no_handler_timeout = no_handler_timeout
        self._may_run_elsewhere = may_run_elsewhere
        self._on_offered = on_offered
        self._cut_short = threading.Event()  #: set once the shutdown timeout is over
        guard = StoreGuard()
        self._in_flight = InFlight(_min_capacity(concurrency), queues=queues, lease=lease)
        self._workers = WorkerPool(concurrency, self._work, queues=queues, make_heartbeat=make_heartbeat)
        self._claimer = Claimer(
            store=store,
            in_flight=self._in_flight,
            workers=self._workers,
            guard=guard,
            owner=owner,
            lease=lease,
        )
        self._settler = self._make_settler(store, meter, guard=guard, heartbeat=make_heartbeat("settle"))
        self._lease_keeper = self._make_lease_keeper(store, guard, lease=lease)

    def _make_lease_keeper(self, store: DeliveryStore, guard: StoreGuard, *, lease: timedelta) -> LeaseKeeper:
        return LeaseKeeper(
            store=store,
            in_flight=self._in_flight,
            workers=self._workers,
            guard=guard,
            owner=self._owner,
            policy=self.policy,
            on_rescued=self._follow_rescued,
            clock_check=self._clock_check,
            lease=lease,
            timeouts=self._timeouts,
        )

    def _make_settler(
        self, store: DeliveryStore, meter: Meter, *, guard: StoreGuard, heartbeat: HeartbeatSink
    ) -> Settler:
        return Settler(
            store=store,
            in_flight=self._in_flight,
            meter=meter,
            guard=guard,
            on_settled=self._follow_settled,
            cut_short=self._cut_short,
            heartbeat=heartbeat,
        )

    def use(self, bindings: Mapping[Target, HandlerBinding], fallback: RetryPolicy) -> None:
        """Use these for every delivery that begins from now on; handlers that are running are not affected.

        ``fallback`` is the policy of deliveries for which there is no handler.
        """
        self._bindings, self._fallback = bindings, fallback

    def has_handler(self, target: Target) -> bool:
        """Whether this process can run deliveries to this target."""
        return target in self._bindings

    @property
    def in_flight(self) -> int:
        """How many deliveries this process has claimed and not settled yet."""
        return len(self._in_flight.all())

    def start(self) -> None:
        self._settler.start()
        self._workers.start()

    # claim

    def run_claims(self, stop: threading.Event, heartbeat: HeartbeatSink) -> None:
        """Claim until the stop event is set and ``wake`` is called once more."""
        self._claimer.run(stop, heartbeat)

    def claim_once(self) -> int:
        """Claim what is due, as far as there is capacity; returns how many. Raises StoreUnavailable."""
        return self._claimer.claim_once()

    def claim(self, wanted: int) -> Claim | None:
        """A claim for as many of these as there is capacity for; None if there is none. ``take`` must follow."""
        return self._claimer.claim(wanted)

    def take(self, claim: Claim, claimed: Sequence[Delivery]) -> None:
        """Run these, which the claim brought."""
        self._claimer.take(claim, claimed)

    def wake(self) -> None:
        """There may be something to claim."""
        self._claimer.wake()

    @property
    def falls_behind(self) -> bool:
        """Whether so much is claimed that what comes next may have to wait in the store."""
        return self._in_flight.is_crowded

    # enrich, handle, settle

    def _work(self, delivery: Delivery) -> None:
        """What a worker does with each delivery."""
        begun = self._in_flight.begin(delivery)
        if begun is not Begun.YES:
            if begun is Begun.EXPIRED:
                self._give_back([delivery], reason=EXPIRED)
            return
        try:
            self._settler.put(self._attempt(delivery))
        except Exception:  # a bug in mns-listener; the lease expires, so that the attempt counts
            self._in_flight.release([delivery])
            raise
        finally:
            if waiting := self._in_flight.returned(delivery):
                self._workers.put(waiting)

    def _attempt(self, delivery: Delivery) -> Settlement:
        started_at, started = clock.now(), clock.monotonic()
        outcome = self._handle(delivery)
        seconds = clock.monotonic() - started
        return make_settlement(delivery=delivery, outcome=outcome, started_at=started_at, seconds=seconds)

    def _handle(self, delivery: Delivery) -> Outcome:
        """Enrich the delivery, run its handler and decide the outcome."""
        binding = self._bindings.get(delivery.target)
        if binding is None:
            return self._without_handler(delivery)
        return run_attempt(delivery, binding, limit=self._timeouts.handler, failed=self._failed)

    def _without_handler(self, delivery: Delivery) -> Outcome:
        # As in policy: only a correct clock can show how long it has waited.
        now = clock.now()
        known = self._clock_check.confirms(delivery.no_handler_since or now)
        timeout = self._no_handler_timeout if known else timedelta.max
        outcome = retry.without_handler(delivery, timeout=timeout, now=now)
        if isinstance(outcome, Dead) and self._is_alive_elsewhere(delivery.target):
            waiting = replace(delivery, no_handler_since=None)
            return retry.without_handler(waiting, timeout=timedelta.max, now=now)
        return outcome

    def _is_alive_elsewhere(self, target: Target) -> bool:
        """Whether a process that has the handler runs: it may only have had no capacity so far."""
        try:
            return self._may_run_elsewhere(target)
        except StoreUnavailable:  # logged by the store's observer
            return True

    def _failed(self, delivery: Delivery, error: BaseException) -> Outcome:
        log_error(delivery, error)
        if self._cut_short.is_set():
            return self._unspent(delivery, STOPPED)
        now = clock.now()  # before the clock is confirmed, so that it is also known to have been right here
        return retry.after_failure(delivery, error, self.policy(delivery), now=now, jitter=random.random())

    def policy(self, delivery: Delivery) -> RetryPolicy:
        """How this delivery is retried."""
        binding = self._bindings.get(delivery.target)
        policy = binding.policy if binding else self._fallback
        known = self._ages.are_certain(delivery, limit=policy.max_elapsed)
        return policy if known else replace(policy, max_elapsed=timedelta.max)

    def _follow_settled(self, settlements: Sequence[Settlement]) -> None:
        self._claimer.follow(settlements)
        if offered := {each.delivery.target for each in settlements if isinstance(each.outcome, Offered)}:
            self._on_offered(offered)

    # leases

    def lease_time(self) -> datetime:
        """The time from which the ends of leases count. See ``LeaseKeeper.now``."""
        return self._lease_keeper.now

    def maintain_leases(self) -> None:
        """Renew our own leases, and so on; to be called every ``lease_keeper.renewal_interval``."""
        self._lease_keeper.maintain()

    def _follow_rescued(self, rescued: Sequence[Settlement]) -> None:
        self._settler.report(rescued)
        self._claimer.expect(rescued)

    # stop

    def stop(self, timeout: timedelta) -> int:
        """Let handlers finish within ``timeout``; returns how many did not. ``end`` must follow."""
        self._give_back(self._in_flight.close(), reason=STOPPED)
        self._workers.stop()
        self._in_flight.wait_until_finished(timeout)
        self._cut_short.set()
        return self._in_flight.running()

    def end(self) -> None:
        """Settle what is left, and give back what did not finish. Call this after the handlers were closed.

        The leases of those that hang expire, so that their attempts count.
        """
        self._give_back(self._in_flight.unfinished(), reason=STOPPED)
        self._settler.end()

    def _give_back(self, deliveries: Sequence[Delivery], *, reason: str) -> None:
        """Return these to pending, without using up an attempt; those that another process has claimed stay there."""
        for delivery in deliveries:
            self._settler.put(Settlement(delivery=delivery, outcome=self._unspent(delivery, reason)))

    def _unspent(self, delivery: Delivery, reason: str) -> RetryAfter:
        """Whatever waits for another process goes on waiting, also while processes without its handler restart."""
        return RetryAfter(
            wait=timedelta(0),
            reason=reason,
            spent=False,
            failed=False,
            no_handler_since=None if self.has_handler(delivery.target) else delivery.no_handler_since,
        )


def _min_capacity(concurrency: int) -> int:
    """Twice the workers, so that each finds its next delivery at once; with few workers, one batch in advance."""
    return max(2 * concurrency, concurrency + 16)
