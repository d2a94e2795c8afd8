"""Asks MPS about jobs whose callback is overdue, so that each reaches a known fate even when no callback comes.

Its answers go the way of callbacks: the same record, the same compare-and-set, the same routes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from enum import StrEnum

import structlog

from listener import clock, retry
from listener.errors import MpsRejected, UnavailableError
from listener.intake import Intake
from listener.interfaces import MediaProcessing, Pulse, Store
from listener.model import LOST, Answer, Job, Patience, Result, Source
from listener.quiet import Quieted

log = structlog.get_logger(__name__)

#: How many jobs one turn asks about, with how many calls at a time.
TURN, ABREAST = 32, 4
#: For how long a turn's jobs are this process's: the slowest turn and then some.
CLAIM = timedelta(minutes=5)
#: How long to leave MPS alone when it can't be reached, after the first failure and at most.
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=1)

MpsOf = Callable[[str], MediaProcessing | None]
"""The MPS client of a tenant; None where MPS is not configured."""


class Finding(StrEnum):
    """What asking about one job came to."""

    RECORDED = "recorded"  #: it has ended, and its result is recorded
    RUNNING = "running"  #: MPS is at it
    UNKNOWN = "unknown"  #: MPS does not know it (any more), or it can't be asked about
    LOST = "lost"  #: given up
    UNREACHED = "unreached"  #: MPS could not be asked


class Reconciler:
    """One turn is ``turn``; ``run`` only repeats it."""

    def __init__(self, *, store: Store, intake: Intake, mps_of: MpsOf, patience: Patience) -> None:
        self._store = store
        self._intake = intake
        self._mps_of = mps_of
        self._patience = patience
        self._pause = timedelta(0)
        self._warnings = Quieted(log)

    def run(self, wait: Callable[[timedelta], bool], pulse: Pulse, *, every: timedelta) -> None:
        """Until ``wait``, which sleeps, says to stop."""
        stopping = False
        while not stopping:
            pulse.beat()
            stopping = wait(self._guarded_turn(every))

    def turn(self) -> Sequence[tuple[Job, Finding]]:
        """Ask about jobs that are overdue. Raises StoreUnavailable."""
        now = clock.now()
        overdue = self._store.claim_overdue(at=now, until=now + CLAIM, limit=TURN)
        if not overdue:
            return ()
        with ThreadPoolExecutor(ABREAST, thread_name_prefix="reconcile") as pool:
            return list(zip(overdue, pool.map(self.reconcile, overdue), strict=True))

    def reconcile(self, job: Job) -> Finding:
        """Ask about one job and write down what is found. Raises StoreUnavailable."""
        try:
            answer = self._ask(job)
        except UnavailableError as error:
            self._warnings.warning("mps.unavailable", doing="query", fault=error.fault, error=str(error))
            self._store.postpone(job.token, until=clock.now() + self._step_back(), asked=False)
            return Finding.UNREACHED
        self._pause = timedelta(0)
        if answer is None:
            return self._unknown(job)
        return self._answered(job, answer)

    def _guarded_turn(self, every: timedelta) -> timedelta:
        """How long to wait until the next turn; at once while there is more to ask."""
        try:
            asked = self.turn()
        except UnavailableError as error:
            self._warnings.warning("store.unavailable", doing="reconcile", error=str(error))
            return every
        except Exception:  # a defect of ours must not end the loop
            log.exception("reconcile.crashed")
            return every
        return max(self._pause, timedelta(0) if len(asked) == TURN else every)

    def _ask(self, job: Job) -> Answer | None:
        mps = self._mps_of(job.tenant)
        if mps is None or not job.job_id or not job.function:
            return None
        try:
            return mps.query(job.job_id)
        except MpsRejected as error:
            log.info("job.unknown_to_mps", job_id=job.job_id, code=error.code)
            return None

    def _step_back(self) -> timedelta:
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        return self._pause * random.uniform(1, 2)

    def _answered(self, job: Job, answer: Answer) -> Finding:
        if not answer.result.terminal:
            self._postpone(job, clock.now())
            return Finding.RUNNING
        self._intake.record_found([answer.result])
        return Finding.RECORDED

    def _unknown(self, job: Job) -> Finding:
        now = clock.now()
        if job.deadline_at is None or now < job.deadline_at + self._patience.give_up:
            self._postpone(job, now)
            return Finding.UNKNOWN
        self._intake.record_found([lost(job, now=now)])
        return Finding.LOST

    def _postpone(self, job: Job, now: datetime) -> None:
        """Never past the moment at which it would be given up."""
        until = now + retry.question_wait(job.queries, self._patience, jitter=random.random())
        if job.deadline_at is not None and now < job.deadline_at + self._patience.give_up:
            until = min(until, job.deadline_at + self._patience.give_up)
        self._store.postpone(job.token, until=until, asked=True)


def lost(job: Job, *, now: datetime) -> Result:
    """Our own verdict on a job of which nothing was heard and nothing could be learned."""
    since = f" since {job.submitted_at.isoformat()}" if job.submitted_at else ""
    return Result(
        job_id=job.job_id,
        run_id="" if job.job_id else job.token,
        state=LOST,
        type="IProduction" if job.function else LOST,
        function=job.function,
        code=LOST,
        message=f"no callback came{since}, and MPS could not tell what became of the job by {now.isoformat()}",
        user_data=job.user_data,
        token=job.token,
        source=Source.LISTENER,
    )
