"""Fetches the outputs of a successful job from MPS before its handler is called: the callback does not contain them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import timedelta

from listener.core import clock
from listener.core.errors import MpsRejected, StoreRejected, StoreUnavailable, Unavailable, UnavailableError
from listener.core.logger import get_logger
from listener.core.model import SUCCESS, Delivery, Result
from listener.core.ports import MediaProcessing, MpsOf, OutputStore
from listener.rules.backoff import ENRICH_BACKOFF
from listener.runtime.log_throttle import ThrottledLog

log = get_logger(__name__)

#: The only type of job that QueryIProductionJob can be asked about.
ENRICHED_TYPE = "iproduction"
#: How many answers are cached for the other handlers of the same results.
CACHED_ANSWERS = 256
#: How long one trial call may take before the next one is allowed.
TRIAL_TIMEOUT = timedelta(seconds=25)


@dataclass(slots=True)
class CircuitBreaker:
    """Open: the MPS of one tenant is unavailable, and calls fail at once until it is time for a trial call."""

    error: UnavailableError
    until: float  #: monotonic seconds
    failures: int = 1


class NotFinalYet(Exception):
    """MPS reports that a job is still running, although a callback reported that it has ended."""


class Enricher:
    """Queries each result once; the answer is stored with the result. Safe to use from several threads."""

    def __init__(
        self,
        *,
        store: OutputStore,
        mps_of: MpsOf,
        tenant_of: Callable[[Delivery], str],
        max_wait: timedelta,
    ) -> None:
        self._store = store
        self._mps_of = mps_of
        self._tenant_of = tenant_of
        self._max_wait = max_wait
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, Future[str]] = OrderedDict()  #: by the result's dedup key
        self._breakers: dict[str, CircuitBreaker] = {}
        self._warnings = ThrottledLog(log)

    def enrich(self, delivery: Delivery) -> Delivery:
        """The delivery with its outputs; unchanged if there is nothing to fetch, or if they were not available within
        ``max_wait``.

        Raises Unavailable, which uses up no attempt, until then: while MPS is unavailable or reports that the job is
        still running. The same while the store is unavailable, without a limit.
        """
        tenant = self._tenant_of(delivery)
        mps = self._mps_of(tenant) if _needs_outputs(delivery) else None
        if mps is None:
            return delivery
        try:
            outputs = self._single_flight(delivery, lambda: self._ask(mps, delivery, tenant))
        except StoreUnavailable as error:  # logged by the store's observer
            raise _not_available_yet(error) from error
        except UnavailableError as error:
            self._warnings.warning("mps.unavailable", doing="enrich", kind=error.kind, error=str(error))
            return self._without(delivery, error)
        except NotFinalYet as error:
            return self._without(delivery, error)
        return replace(delivery, result=replace(delivery.result, outputs=outputs))

    def _single_flight(self, delivery: Delivery, ask: Callable[[], str]) -> str:
        """The answer for this result: the first of its handlers to ask queries MPS, the others wait and share that."""
        dedup_key = delivery.result.dedup_key
        with self._lock:
            known = self._answers.get(dedup_key)
            if known is None:
                mine = self._answers[dedup_key] = Future()
                while len(self._answers) > CACHED_ANSWERS:
                    self._answers.popitem(last=False)
        if known is not None:
            return known.result()
        try:
            mine.set_result(ask())
        except BaseException as error:  # whatever it is, the other handlers must not be left waiting
            with self._lock:
                self._answers.pop(dedup_key, None)
            mine.set_exception(error)
        return mine.result()

    def _ask(self, mps: MediaProcessing, delivery: Delivery, tenant: str) -> str:
        self._refuse_while_open(tenant)
        try:
            outputs = _outputs_of(delivery.result, mps.query(delivery.result.job_id).result)
        except MpsRejected as error:
            log.warning("outputs.unknown", job_id=delivery.result.job_id, error=str(error))
            outputs = ""
        except UnavailableError as error:
            self._open_breaker(tenant, error)
            raise
        with self._lock:
            self._breakers.pop(tenant, None)
        self._save(delivery, outputs)
        return outputs

    def _save(self, delivery: Delivery, outputs: str) -> None:
        """Outputs that the store rejects are passed to the handlers all the same."""
        try:
            self._store.save_outputs(delivery.result, outputs)
        except StoreRejected as error:
            log.warning("outputs.not_saved", job_id=delivery.result.job_id, error=str(error))

    def _refuse_while_open(self, tenant: str) -> None:
        """Raises the error that opened the breaker. Once its time is over, one call is let through as a trial."""
        with self._lock:
            breaker = self._breakers.get(tenant)
            if breaker is None:
                return
            if clock.monotonic() < breaker.until:
                raise breaker.error.with_traceback(None)  # the traceback would grow with every raise
            breaker.until = clock.monotonic() + TRIAL_TIMEOUT.total_seconds()

    def _open_breaker(self, tenant: str, error: UnavailableError) -> None:
        with self._lock:
            before = self._breakers.get(tenant)
            failures = before.failures + 1 if before else 1
            until = clock.monotonic() + ENRICH_BACKOFF.delay(failures - 1).total_seconds()
            self._breakers[tenant] = CircuitBreaker(error, until, failures)

    def _without(self, delivery: Delivery, error: Exception) -> Delivery:
        if clock.now() - delivery.created_at < self._max_wait:
            raise _not_available_yet(error) from error
        log.warning(
            "outputs.timeout", job_id=delivery.result.job_id, max_wait=str(self._max_wait), error=str(error)
        )
        return delivery


def _not_available_yet(error: Exception) -> Unavailable:
    return Unavailable(f"the outputs are not available yet: {error}")


def _outputs_of(result: Result, answer: Result) -> str:
    """The outputs in the answer of MPS; none if it contradicts the result. Raises NotFinalYet."""
    if not answer.terminal:
        raise NotFinalYet(f"MPS reports the state {answer.state!r}")
    if answer.state != result.state:
        log.warning("outputs.contradiction", job_id=result.job_id, state=result.state, mps_state=answer.state)
        return ""
    return answer.outputs or ""


def _needs_outputs(delivery: Delivery) -> bool:
    result = delivery.result
    asked_for = result.state == SUCCESS and result.type.casefold() == ENRICHED_TYPE
    return asked_for and bool(result.job_id) and result.outputs is None
