"""claim → enrich → handle → settle: slow, retried, and the only place that runs user code."""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from listener.core import clock
from listener.core.errors import StoreUnavailable, Unavailable
from listener.core.model import (
    Claim,
    Dead,
    Delivery,
    Done,
    JobResult,
    Outcome,
    RetryAt,
    Settlement,
    Target,
)
from listener.core.outputs import Outputs
from listener.core.ports import HeartbeatSink, Meter, Store
from listener.dispatch.inflight import InFlight, WorkerPool
from listener.formats import job_outputs, user_data
from listener.rules import retry
from listener.rules.retry import RetryPolicy
from listener.runtime.log_throttle import ThrottledLog
from listener.runtime.rate_limit import RateMeter

log = structlog.get_logger(__name__)

Value = TypeVar("Value")

#: How long a delivery for which this process has no handler waits for a process that has.
NO_HANDLER_WAIT = timedelta(seconds=30)
#: How long to wait for news when nothing is due: other processes write to the store, too.
LONGEST_SLEEP = timedelta(seconds=1)
#: How long to wait when the store is away.
STORE_PAUSE = timedelta(seconds=1)
#: How many deliveries one transaction takes at most.
LARGEST_CLAIM = 256
#: For how long ahead deliveries are held, going by the present pace, and how many at most.
HELD_AHEAD, MOST_HELD = timedelta(seconds=0.3), 2048
#: How many settlements one transaction takes.
SETTLE_BATCH = 256


@dataclass(frozen=True, slots=True)
class HandlerBinding:
    """A handler with its retry policy. ``run`` is called from worker threads, raises what the handler raises."""

    run: Callable[[JobResult], None]
    policy: RetryPolicy
    enrich: Callable[[Delivery], Delivery] | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    settlement: Settlement
    seconds: float  #: how long the handler took


class Dispatcher:
    """Takes deliveries from the store, runs their handlers, and writes down what became of them."""

    def __init__(
        self,
        *,
        store: Store,
        bindings: Mapping[Target, HandlerBinding],
        fallback: RetryPolicy,
        meter: Meter,
        owner: str,
        concurrency: int,
        queues: int = 1,
        lease: timedelta,
        handler_timeout: timedelta,
    ) -> None:
        self._store = store
        self._bindings = bindings
        self._fallback = fallback
        self._meter = meter
        self._owner = owner
        self._lease = lease
        self._handler_timeout = handler_timeout
        # Twice the workers, so that each finds its next delivery at once; a batch at least.
        self._least_capacity = max(2 * concurrency, concurrency + 16)
        self._in_flight = InFlight(self._least_capacity, queues=queues)
        self._rate = RateMeter()
        self._workers = WorkerPool(concurrency, self._work, queues=queues)
        self._finished: queue.SimpleQueue[Execution | None] = queue.SimpleQueue()
        self._settler = threading.Thread(target=self._run_settler, name="settler", daemon=True)
        self._several = queues > 1
        self._woken = threading.Event()
        self._next_due: datetime | None = None
        self._more = True  #: whether there may be more to claim than was taken
        #: When our leases were renewed last, in monotonic seconds and by the wall clock.
        self._renewed: tuple[float, datetime] | None = None
        self._excused = False  #: whether the last round left it at that, because of a standstill before it
        self._cut_short = threading.Event()
        self._warnings = ThrottledLog(log)

    def use(self, bindings: Mapping[Target, HandlerBinding], fallback: RetryPolicy) -> None:
        """Run these from the next delivery on; what runs already is not disturbed."""
        self._bindings, self._fallback = bindings, fallback

    def start(self) -> None:
        self._settler.start()
        self._workers.start()

    # claim

    def claim(self, wanted: int) -> Claim | None:
        """A claim for as much of this as there is room for; hand over what it brought with ``take``."""
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
        """Run these, which the claim brought."""
        self._in_flight.take(claimed, reserved=claim.limit)
        self._workers.put(claimed)

    def wake(self) -> None:
        """There may be something to claim."""
        self._more = True
        self._woken.set()

    def claim_once(self) -> int:
        """Claim what is due, as far as there is room; returns how many came. Raises StoreUnavailable."""
        claim = self.claim(LARGEST_CLAIM)
        if claim is None:
            return 0
        claimed: Sequence[Delivery] = ()
        self._more = False
        try:
            claimed = self._store.claim(claim, at=clock.now())
        finally:
            self.take(claim, claimed)
        # Less than the whole room may also mean that one queue has its share.
        self._more = self._more or len(claimed) == claim.limit or (bool(claimed) and self._several)
        return len(claimed)

    def run_claims(self, stop: threading.Event, heartbeat: HeartbeatSink) -> None:
        """Claim until the stop event is set, and then be woken once more."""
        while not stop.is_set():
            heartbeat.beat()
            self._woken.clear()
            if not self._guarded("claim", self.claim_once) or not self._more:
                self._woken.wait(self._nap().total_seconds())

    def _nap(self) -> timedelta:
        """How long nothing will be due, as far as this process knows."""
        due, now = self._next_due, clock.now()
        if due is None or due - now > LONGEST_SLEEP:
            return LONGEST_SLEEP
        self._next_due = None
        return max(due - now, timedelta(0))

    def _expect(self, settlements: Sequence[Settlement]) -> None:
        """Remember when the soonest of those that are to run again is due."""
        again = [
            settlement.outcome.at for settlement in settlements if isinstance(settlement.outcome, RetryAt)
        ]
        known = self._next_due
        if again:
            self._next_due = min(again) if known is None else min(known, *again)
            self.wake()

    # handle

    def _work(self, delivery: Delivery) -> None:
        if not self._in_flight.begin(delivery):
            return
        started = clock.monotonic()
        outcome = self._handle(delivery)
        seconds = clock.monotonic() - started
        self._finished.put(Execution(Settlement(delivery=delivery, outcome=outcome), seconds))

    def _handle(self, delivery: Delivery) -> Outcome:
        """Run the handler and say what becomes of the delivery."""
        binding = self._bindings.get(delivery.target)
        try:
            if binding is None:
                raise Unavailable(_no_handler(delivery.target), after=NO_HANDLER_WAIT)
            binding.run(job_result(binding.enrich(delivery) if binding.enrich else delivery))
        # Handlers are strangers' code: not even their SystemExit may end the worker.
        except BaseException as error:
            return self._failed(delivery, error)
        return Done()

    def _failed(self, delivery: Delivery, error: BaseException) -> Outcome:
        if self._cut_short.is_set():
            return _stopped(clock.now())
        return retry.after_failure(
            delivery, error, self._policy(delivery), now=clock.now(), jitter=random.random()
        )

    def _policy(self, delivery: Delivery) -> RetryPolicy:
        binding = self._bindings.get(delivery.target)
        return binding.policy if binding else self._fallback

    # settle

    def _run_settler(self) -> None:
        going = True
        while going:
            batch, going = self._next_finished()
            if batch:
                self._settle(batch)

    def _next_finished(self) -> tuple[list[Execution], bool]:
        """Wait for an outcome, then take all that there are; and whether to go on after these."""
        batch: list[Execution] = []
        while len(batch) < SETTLE_BATCH and (not batch or not self._finished.empty()):
            execution = self._finished.get()
            if execution is None:
                return batch, False
            batch.append(execution)
        return batch, True

    def _settle(self, batch: Sequence[Execution]) -> None:
        """Until it works: the handlers have done their part, and only the store does not know yet."""
        settlements = [execution.settlement for execution in batch]
        while (late := self._guarded("settle", lambda: self._write(settlements))) is None:
            if self._cut_short.wait(STORE_PAUSE.total_seconds()):
                log.error("settlements.lost", count=len(batch), hint="their leases end, and they run again")
                return
        self._in_flight.release([settlement.delivery for settlement in settlements])
        self._guarded("follow settlements", lambda: self._follow(batch, late))

    def _follow(self, batch: Sequence[Execution], late: set[int]) -> None:
        """What else is to be done about outcomes, now that they are written down."""
        self._adjust_capacity(len(batch))
        if self._more:
            self.wake()
        self._expect([execution.settlement for execution in batch])
        verbose = log.is_enabled_for(logging.DEBUG)
        for execution in batch:
            self._tell(execution, late=id(execution.settlement) in late, verbose=verbose)

    def _adjust_capacity(self, settled: int) -> None:
        """Own as much as will be done in a moment, so that quick handlers never wait for a claim, and slow ones leave
        the rest to other processes."""
        if (rate := self._rate.after(settled)) is not None:
            capacity = int(rate * HELD_AHEAD.total_seconds())
            self._in_flight.resize(max(self._least_capacity, min(capacity, MOST_HELD)))

    def _write(self, settlements: Sequence[Settlement]) -> set[int]:
        """The ids (of the objects) of those that came too late."""
        return {id(settlement) for settlement in self._store.settle(settlements, at=clock.now())}

    def _tell(self, execution: Execution, *, late: bool, verbose: bool = True) -> None:
        settlement = execution.settlement
        self._meter.settled(settlement, seconds=execution.seconds, late=late)
        if verbose or not isinstance(settlement.outcome, Done):
            _log_settlement(settlement, late=late)

    # leases

    def maintain_leases(self) -> None:
        """Keep our own leases, give up handlers that hang, and take back what nobody keeps any more."""
        for delivery in self._in_flight.overdue(self._handler_timeout):
            log.error("handler.hung", **log_fields(delivery), timeout=str(self._handler_timeout))
            self._in_flight.release([delivery])
            self._workers.replace(delivery)
        prompt = self._guarded("renew", self._renew)
        if prompt is None:
            return  # others can't renew theirs now either
        excused, self._excused = self._excused, not (prompt or self._excused)
        if prompt or excused:
            self._guarded("end leases", self._rescue_expired)

    def _renew(self) -> bool:
        """Renew our own leases; returns whether that was as prompt as it should be.

        If this process, its clock or the store stood still before that, others may not have been able to renew
        their leases, or to settle; nor is anything known about that when a process is new. Then they get one more
        round to do so.
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
        ended = self._store.rescue_expired(
            lambda delivery: retry.after_lost_lease(
                delivery, self._policy(delivery), now=now, jitter=random.random()
            ),
            at=now,
            limit=SETTLE_BATCH,
        )
        for settlement in ended:
            self._tell(Execution(settlement, 0.0), late=False)
        self._expect(ended)

    # stop

    def stop(self, grace: timedelta) -> int:
        """Let handlers finish within the grace; returns how many did not. ``end`` must follow."""
        self._give_back(self._in_flight.close())
        self._workers.stop()
        self._in_flight.wait_until_empty(grace)
        self._cut_short.set()
        return len(self._in_flight.all())

    def end(self) -> None:
        """Write what is still to be written, and give back what did not finish. Handlers are closed by now."""
        left = self._in_flight.all()
        self._give_back(left)
        self._finished.put(None)
        self._settler.join()

    def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._finished.put(Execution(Settlement(delivery=delivery, outcome=_stopped(clock.now())), 0.0))

    def _guarded(self, doing: str, ask: Callable[[], Value]) -> Value | None:
        """The store's answer; None when it is away, or when a defect of ours must not end the loop."""
        try:
            return ask()
        except StoreUnavailable as error:
            self._warnings.warning("store.unavailable", doing=doing, error=str(error))
        except Exception:  # a defect of ours must not end the loop
            log.exception("dispatch.crashed", doing=doing)
        return None


def job_result(delivery: Delivery) -> JobResult:
    """What the handler gets."""
    result, job = delivery.result, delivery.job
    text = job.user_data if job and result.user_data is None else result.user_data
    return JobResult(
        key=delivery.key,
        attempt=delivery.attempt,
        route=delivery.target.route,
        job_id=result.job_id,
        type=result.type,
        function=result.function or (job.function if job else ""),
        state=result.state,
        code=result.code,
        message=result.message,
        details=result.details,
        user_data=text,
        data=user_data.parse(text).fields,
        reference=job.reference if job else "",
        run_id=result.run_id,
        pipeline=result.pipeline or (job.pipeline if job else ""),
        queue=delivery.queue,
        input=job.input if job else "",
        output=job.output if job else "",
        source=result.source,
        outputs=_outputs(delivery),
        raw=result.raw,
    )


def _outputs(delivery: Delivery) -> Outputs | None:
    result, job = delivery.result, delivery.job
    if result.outputs is None:
        return None
    return job_outputs.read(result.function, result.outputs, output=job.output if job else "")


def log_fields(delivery: Delivery) -> dict[str, object]:
    """What logs say of a delivery."""
    return {
        "job_id": delivery.result.key,
        "state": delivery.result.state,
        "route": delivery.target.route,
        "handler": delivery.target.handler,
        "attempt": delivery.attempt,
    }


def _log_settlement(settlement: Settlement, *, late: bool) -> None:
    if isinstance(settlement.outcome, Done):
        delivery = settlement.delivery
        log.debug("delivery.settled", outcome="done", late=late, key=delivery.key, attempt=delivery.attempt)
        return
    told = log_fields(settlement.delivery) | {"late": late}
    match settlement.outcome:
        case RetryAt(at=at, reason=reason, spent=spent):
            log.info(
                "delivery.settled", outcome="again", at=at.isoformat(), reason=reason, spent=spent, **told
            )
        case Dead(reason=reason):
            log.warning("delivery.settled", outcome="dead", reason=reason, **told)


def _no_handler(target: Target) -> str:
    return f"this process has no route {target.route!r} with a handler {target.handler!r} in its settings"


def _stopped(now: datetime) -> RetryAt:
    return RetryAt(at=now, reason="the listener stopped before the handler was done", spent=False)
