"""Gets the outputs of a job that went well, which its callback does not carry, before the handler is called."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from listener.core import clock
from listener.core.errors import MpsRejected, StoreUnavailable, Unavailable, UnavailableError
from listener.core.model import SUCCESS, Delivery
from listener.core.ports import MediaProcessing, MpsOf, Store
from listener.rules.backoff import Backoff
from listener.runtime.log_throttle import ThrottledLog

log = structlog.get_logger(__name__)

#: QueryIProductionJob knows no other jobs.
ENRICHED_TYPE = "iproduction"
#: How many answers are remembered, for the other handlers of the same results.
REMEMBERED = 256
#: How long MPS is not asked after calls that did not reach it; and for how long one trial call may take.
BACKOFF = Backoff(timedelta(seconds=1), timedelta(seconds=30))
TRIAL = timedelta(seconds=25)


@dataclass(slots=True)
class CircuitBreaker:
    """The MPS of one tenant is away: until a moment nobody but the first waits for it in vain."""

    error: UnavailableError
    until: float  #: monotonic seconds
    failures: int = 1


class Enricher:
    """Asks once for each result; the answer is kept with it. Safe to use from several threads."""

    def __init__(
        self,
        *,
        store: Store,
        mps_of: MpsOf,
        tenant_of: Callable[[Delivery], str],
        max_wait: timedelta,
    ) -> None:
        self._store = store
        self._mps_of = mps_of
        self._tenant_of = tenant_of
        self._max_wait = max_wait
        self._lock = threading.Lock()
        self._asked: OrderedDict[str, Future[str]] = OrderedDict()  #: by the result's slot
        self._breakers: dict[str, CircuitBreaker] = {}
        self._warnings = ThrottledLog(log)

    def enrich(self, delivery: Delivery) -> Delivery:
        """The delivery with its outputs, or as it is where there is nothing to ask.

        Raises Unavailable, which spends no attempt, while MPS can't be asked, for at most ``max_wait``.
        """
        tenant = self._tenant_of(delivery)
        mps = self._mps_of(tenant) if _needs_outputs(delivery) else None
        if mps is None:
            return delivery
        try:
            outputs = self._single_flight(delivery, lambda: self._ask(mps, delivery, tenant))
        except UnavailableError as error:
            return self._without(delivery, error)
        return replace(delivery, result=replace(delivery.result, outputs=outputs))

    def _single_flight(self, delivery: Delivery, ask: Callable[[], str]) -> str:
        """The answer for this result. Its other handlers wait for the first one's question, and share it."""
        dedup_key = delivery.result.dedup_key
        with self._lock:
            known = self._asked.get(dedup_key)
            if known is None:
                mine = self._asked[dedup_key] = Future()
                while len(self._asked) > REMEMBERED:
                    self._asked.popitem(last=False)
        if known is not None:
            return known.result()
        try:
            mine.set_result(ask())
        except BaseException as error:  # whatever it is, those who wait must not wait for ever
            with self._lock:
                self._asked.pop(dedup_key, None)
            mine.set_exception(error)
        return mine.result()

    def _ask(self, mps: MediaProcessing, delivery: Delivery, tenant: str) -> str:
        self._refuse_while_away(tenant)
        try:
            outputs = mps.query(delivery.result.job_id).result.outputs or ""
        except MpsRejected as error:
            log.warning("outputs.unknown", job_id=delivery.result.job_id, error=str(error))
            outputs = ""
        except UnavailableError as error:
            self._note_outage(tenant, error)
            raise
        with self._lock:
            self._breakers.pop(tenant, None)
        self._store.save_outputs(delivery.result, outputs)
        return outputs

    def _refuse_while_away(self, tenant: str) -> None:
        """Raises the error that told so. When the pause is over one tries, and the others leave it to that one."""
        with self._lock:
            breaker = self._breakers.get(tenant)
            if breaker is None:
                return
            if clock.monotonic() < breaker.until:
                raise breaker.error.with_traceback(None)  # which would grow with every raise
            breaker.until = clock.monotonic() + TRIAL.total_seconds()

    def _note_outage(self, tenant: str, error: UnavailableError) -> None:
        with self._lock:
            before = self._breakers.get(tenant)
            failures = before.failures + 1 if before else 1
            until = clock.monotonic() + BACKOFF.delay(failures - 1).total_seconds()
            self._breakers[tenant] = CircuitBreaker(error, until, failures)

    def _without(self, delivery: Delivery, error: UnavailableError) -> Delivery:
        event = "store.unavailable" if isinstance(error, StoreUnavailable) else "mps.unavailable"
        self._warnings.warning(event, doing="enrich", kind=error.kind, error=str(error))
        if event == "store.unavailable" or clock.now() - delivery.created_at < self._max_wait:
            raise Unavailable(f"the outputs can't be had now: {error}") from error
        log.warning("outputs.timeout", job_id=delivery.result.job_id, max_wait=str(self._max_wait))
        return delivery


def _needs_outputs(delivery: Delivery) -> bool:
    result = delivery.result
    asked_for = result.state == SUCCESS and result.type.casefold() == ENRICHED_TYPE
    return asked_for and bool(result.job_id) and result.outputs is None
