"""Fetches what a job produced, or why it failed, from MPS before its handler is called: callbacks rarely contain it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import timedelta

from listener.core import clock
from listener.core.errors import MpsRejected, StoreRejected, StoreUnavailable, Unavailable, UnavailableError
from listener.core.job_kinds import JobKind
from listener.core.logger import get_logger
from listener.core.model import Delivery, Result
from listener.core.ports import AgeCheck, MediaProcessing, MpsOf, OutputStore
from listener.dispatch.delivery_ages import DeliveryAges
from listener.rules.backoff import ENRICH_BACKOFF
from listener.rules.enrichment import kind_to_ask
from listener.runtime.log_throttle import ThrottledLog

log = get_logger(__name__)

#: How many answers are cached for the other handlers of the same results.
CACHED_ANSWERS = 256
#: How long one trial call may take before the next one is allowed.
TRIAL_TIMEOUT = timedelta(seconds=25)


@dataclass(slots=True)
class CircuitBreaker:
    """Open: a query fails for one tenant, and calls of it fail at once until it is time for a trial call."""

    error: UnavailableError
    until: float  #: monotonic seconds
    failures: int = 1


@dataclass(frozen=True, slots=True)
class Fetched:
    """What MPS reported, as in ``Result``; the default is what is known if it does not tell."""

    outputs: str = ""
    output: str = ""


class NotFinalYet(Exception):
    """MPS reports that a job is still running, although a callback reported that it has ended."""


@dataclass(frozen=True, slots=True)
class _Api:
    """The query for one kind of jobs with the account of one tenant, which may lack the permission for it alone."""

    mps: MediaProcessing
    tenant: str
    kind: JobKind

    @property
    def key(self) -> tuple[str, str]:
        return self.tenant, self.kind.name


class Enricher:
    """Queries each result once; the answer is stored with the result. Safe to use from several threads."""

    def __init__(
        self,
        *,
        store: OutputStore,
        mps_of: MpsOf,
        tenant_of: Callable[[Delivery], str],
        max_wait: timedelta,
        clock_check: AgeCheck,
    ) -> None:
        self._store = store
        self._mps_of = mps_of
        self._tenant_of = tenant_of
        self._max_wait = max_wait
        self._ages = DeliveryAges(store, clock_check)
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, Future[Fetched]] = OrderedDict()  #: by the result's dedup key
        self._breakers: dict[tuple[str, str], CircuitBreaker] = {}
        self._warnings = ThrottledLog(log)

    def enrich(self, delivery: Delivery) -> Delivery:
        """The delivery with its outputs; unchanged if there is nothing to fetch, or if they were not available within
        ``max_wait``.

        Raises Unavailable, which uses up no attempt, until then: while MPS is unavailable or reports that the job is
        still running. The same while the store is unavailable, without a limit.
        """
        kind = kind_to_ask(delivery.result, delivery.job)
        tenant = self._tenant_of(delivery)
        mps = self._mps_of(tenant) if kind else None
        if mps is None or kind is None:
            return delivery
        api = _Api(mps, tenant, kind)
        try:
            found = self._single_flight(delivery, lambda: self._ask(api, delivery))
        except StoreUnavailable as error:  # logged by the store's observer
            raise _not_available_yet(error) from error
        except UnavailableError as error:
            self._warnings.warning("mps.unavailable", doing="enrich", kind=error.kind, error=str(error))
            return self._without(delivery, error)
        except NotFinalYet as error:
            return self._without(delivery, error)
        return replace(delivery, result=replace(delivery.result, outputs=found.outputs, output=found.output))

    def _single_flight(self, delivery: Delivery, ask: Callable[[], Fetched]) -> Fetched:
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

    def _ask(self, api: _Api, delivery: Delivery) -> Fetched:
        self._refuse_while_open(api)
        job_id = delivery.result.job_id
        try:
            found = _fetched(delivery.result, api.mps.query(job_id, kind=api.kind).result)
        except MpsRejected as error:
            log.warning("outputs.unknown", job_id=job_id, error=str(error))
            found = Fetched()
        except UnavailableError as error:
            self._open_breaker(api, error)
            raise
        with self._lock:
            self._breakers.pop(api.key, None)
        self._save(delivery, found)
        return found

    def _save(self, delivery: Delivery, found: Fetched) -> None:
        """Outputs that the store rejects are passed to the handlers all the same."""
        try:
            self._store.save_outputs(delivery.result, found.outputs, output=found.output)
        except StoreRejected as error:
            log.warning("outputs.not_saved", job_id=delivery.result.job_id, error=str(error))

    def _refuse_while_open(self, api: _Api) -> None:
        """Raises the error that opened the breaker. Once its time is over, one call is let through as a trial."""
        with self._lock:
            breaker = self._breakers.get(api.key)
            if breaker is None:
                return
            if clock.monotonic() < breaker.until:
                raise breaker.error.with_traceback(None)  # the traceback would grow with every raise
            breaker.until = clock.monotonic() + TRIAL_TIMEOUT.total_seconds()

    def _open_breaker(self, api: _Api, error: UnavailableError) -> None:
        with self._lock:
            before = self._breakers.get(api.key)
            failures = before.failures + 1 if before else 1
            until = clock.monotonic() + ENRICH_BACKOFF.delay(failures - 1).total_seconds()
            self._breakers[api.key] = CircuitBreaker(error, until, failures)

    def _without(self, delivery: Delivery, error: Exception) -> Delivery:
        waited = clock.now() - delivery.attempts_since  # before it is certain that the clock is right
        if waited < self._max_wait or not self._ages.are_certain(delivery, limit=self._max_wait):
            raise _not_available_yet(error) from error
        log.warning(
            "outputs.timeout", job_id=delivery.result.job_id, max_wait=str(self._max_wait), error=str(error)
        )
        return delivery


def _not_available_yet(error: Exception) -> Unavailable:
    return Unavailable(f"the outputs are not available yet: {error}")


def _fetched(result: Result, answer: Result) -> Fetched:
    """What the answer of MPS says; nothing if it contradicts the result. Raises NotFinalYet."""
    if not answer.terminal:
        raise NotFinalYet(f"MPS reports the state {answer.state!r}")
    if answer.state != result.state:
        log.warning("outputs.contradiction", job_id=result.job_id, state=result.state, mps_state=answer.state)
        return Fetched()
    return Fetched(answer.outputs or "", answer.output)
