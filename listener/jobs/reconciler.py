"""Asks MPS about jobs whose callback is overdue, so that each reaches a known fate even when no callback comes.

Its answers go the way of callbacks: the same record, the same compare-and-set, the same routes.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import structlog

from listener.core import clock
from listener.core.errors import MpsRejected, UnavailableError
from listener.core.model import LOST, Answer, Job, Result, Source, Tenants
from listener.core.ports import ALL_TENANTS, HeartbeatSink, MpsOf, OverdueStore
from listener.intake.recorder import Recorder
from listener.rules.backoff import Backoff
from listener.runtime.log_throttle import ThrottledLog

log = structlog.get_logger(__name__)

#: How many jobs one turn asks about, with how many calls at a time.
TURN, CONCURRENCY = 32, 4
#: For how long a turn's jobs are this process's: the slowest turn and then some.
CLAIM = timedelta(minutes=5)
#: After so many calls in a row that did not reach MPS, it counts as away, and the turn's other jobs wait.
AWAY = 4
#: How long to leave MPS alone after turns in which no call reached it.
AWAY_BACKOFF = Backoff(timedelta(seconds=1), timedelta(minutes=1))


class ReconcileOutcome(StrEnum):
    """What asking about one job came to."""

    RECORDED = "recorded"  #: it has ended, and its result is recorded
    RUNNING = "running"  #: MPS is at it
    UNKNOWN = "unknown"  #: MPS does not know it (any more), or it can't be asked about
    LOST = "lost"  #: given up
    COMPLETED = "completed"  #: it had ended before; nobody was asked
    UNAVAILABLE = "unavailable"  #: MPS could not be asked


class Reconciler:
    """One turn is ``turn``; ``run`` only repeats it. One for each tenant, so that none waits for another's MPS."""

    def __init__(
        self,
        *,
        store: OverdueStore,
        recorder: Recorder,
        mps_of: MpsOf,
        backoff: Backoff,
        timeout: timedelta,
        tenants: Tenants = ALL_TENANTS,
        stop: threading.Event | None = None,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._mps_of = mps_of
        self._backoff = backoff
        self._timeout = timeout
        self._tenants = tenants
        self._stop = stop or threading.Event()
        self._failures = 0  #: calls in a row that did not reach MPS
        self._turns_away = 0  #: turns in a row in which none did
        self._warnings = ThrottledLog(log)

    def run(self, heartbeat: HeartbeatSink, *, interval: timedelta) -> None:
        """Until the stop event is set."""
        while not self._stop.is_set():
            heartbeat.beat()
            self._stop.wait(self._guarded_turn(interval).total_seconds())

    def turn(self) -> Sequence[tuple[Job, ReconcileOutcome]]:
        """Ask about jobs that are overdue. Raises StoreUnavailable."""
        now = clock.now()
        overdue = self._store.claim_overdue(at=now, until=now + CLAIM, limit=TURN, tenants=self._tenants)
        self._failures = 0
        found = _ask_concurrently(overdue, self.reconcile)
        self._pace([outcome for _, outcome in found])
        return found

    def reconcile(self, job: Job) -> ReconcileOutcome:
        """Ask about one job and write down what is found. Raises StoreUnavailable."""
        if job.finished_at is not None:
            return ReconcileOutcome.COMPLETED
        if self._failures >= AWAY or self._stop.is_set():
            return self._unavailable(job)
        try:
            answer = self._ask(job)
        except UnavailableError as error:
            self._failures += 1
            self._warnings.warning("mps.unavailable", doing="query", kind=error.kind, error=str(error))
            return self._unavailable(job)
        self._failures = 0
        if answer is None:
            return self._unknown(job)
        return self._answered(job, answer)

    def _guarded_turn(self, interval: timedelta) -> timedelta:
        """How long to wait until the next turn; at once while there is more to ask."""
        try:
            asked = self.turn()
        except UnavailableError as error:
            self._warnings.warning("store.unavailable", doing="reconcile", error=str(error))
            return interval
        except Exception:  # a defect of ours must not end the loop
            log.exception("reconcile.crashed")
            return interval
        pause = AWAY_BACKOFF.delay(self._turns_away - 1) if self._turns_away else timedelta(0)
        return max(pause, timedelta(0) if len(asked) == TURN else interval)

    def _pace(self, found: Sequence[ReconcileOutcome]) -> None:
        """Longer pauses while no call reaches MPS; none once one does."""
        reached = [outcome for outcome in found if outcome is not ReconcileOutcome.UNAVAILABLE]
        if reached:
            self._turns_away = 0
        elif found:
            self._turns_away += 1

    def _ask(self, job: Job) -> Answer | None:
        mps = self._mps_of(job.tenant)
        if mps is None or not job.job_id or not job.function:
            return None
        try:
            return mps.query(job.job_id)
        except MpsRejected as error:
            log.info("job.unknown_to_mps", job_id=job.job_id, code=error.code)
            return None

    def _unavailable(self, job: Job) -> ReconcileOutcome:
        """Not asked, and never taken for lost because of that."""
        wait = (
            timedelta(0)
            if self._stop.is_set()
            else AWAY_BACKOFF.delay(self._turns_away) * random.uniform(1, 2)
        )
        self._store.postpone(job, until=clock.now() + wait, asked=False)
        return ReconcileOutcome.UNAVAILABLE

    def _answered(self, job: Job, answer: Answer) -> ReconcileOutcome:
        if not answer.result.terminal:
            self._postpone(job, clock.now())
            return ReconcileOutcome.RUNNING
        self._recorder.record_found([answer.result])
        return ReconcileOutcome.RECORDED

    def _unknown(self, job: Job) -> ReconcileOutcome:
        now = clock.now()
        if job.deadline_at is None or now < job.deadline_at + self._timeout:
            self._postpone(job, now)
            return ReconcileOutcome.UNKNOWN
        self._recorder.record_found([lost(job, now=now)])
        return ReconcileOutcome.LOST

    def _postpone(self, job: Job, now: datetime) -> None:
        """Never past the moment at which it would be given up."""
        until = now + self._backoff.delay(job.queries, jitter=random.random())
        if job.deadline_at is not None and now < job.deadline_at + self._timeout:
            until = min(until, job.deadline_at + self._timeout)
        self._store.postpone(job, until=until, asked=True)


def tenant_shards(names: Iterable[str]) -> dict[str, Tenants]:
    """A share of the jobs for each tenant, by name. The nameless one's holds those of tenants that are gone, too."""
    known = tuple(names)
    return {"": Tenants(without=known)} | {name: Tenants(only=(name,)) for name in known}


def lost(job: Job, *, now: datetime) -> Result:
    """Our own result for a job of which no callback came and about which MPS could not tell anything.

    An intent, which never got an id, is identified by its token (``Result.lost_intent``).
    """
    since = f" since {job.submitted_at.isoformat()}" if job.submitted_at else ""
    return Result(
        job_id=job.job_id,
        state=LOST,
        type="IProduction" if job.function else LOST,
        function=job.function,
        code=LOST,
        message=f"no callback came{since}, and MPS could not tell what became of the job by {now.isoformat()}",
        user_data=job.user_data,
        token=job.token,
        source=Source.LISTENER,
    )


def _ask_concurrently(
    jobs: Sequence[Job], ask: Callable[[Job], ReconcileOutcome]
) -> Sequence[tuple[Job, ReconcileOutcome]]:
    """Ask about all of them, CONCURRENCY at a time; raises what asking raised.

    In daemon threads, since those of a ThreadPoolExecutor would hold up the end of the process.
    """
    left = iter(jobs)  # shared: a list's iterator hands out each job once
    found: list[tuple[Job, ReconcileOutcome]] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            for job in left:
                found.append((job, ask(job)))
                if errors:
                    break
        except Exception as error:  # raised below, where the threads were started
            errors.append(error)

    threads = [threading.Thread(target=work, name="ask", daemon=True) for _ in jobs[:CONCURRENCY]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found
