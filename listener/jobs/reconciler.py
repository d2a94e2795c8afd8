"""Queries MPS for jobs whose callback is overdue, so that each reaches a terminal state even without a callback.

The answers are processed like callbacks: same recording, same compare-and-set, same routes.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from listener.core import clock
from listener.core.errors import FailureKind, MpsRejected, StoreUnavailable, UnavailableError
from listener.core.logger import get_logger
from listener.core.model import LOST, Answer, Job, JobState, Result, Source, Tenants
from listener.core.ports import ALL_TENANTS, ClockCheck, HeartbeatSink, MpsOf, OverdueStore
from listener.intake.recorder import Recorder
from listener.jobs.concurrent_calls import call_concurrently
from listener.jobs.turns import MAX_FAILURES
from listener.rules.backoff import MPS_BACKOFF, Backoff
from listener.runtime.log_throttle import ThrottledLog

log = get_logger(__name__)

#: The number of jobs per turn, and of concurrent queries.
JOBS_PER_TURN, CONCURRENCY = 32, 4
#: How long the jobs of a turn are reserved for this process: longer than the slowest turn.
CLAIM_DURATION = timedelta(minutes=5)
#: When to look again at a job that would be Lost if the clock were confirmed.
UNCONFIRMED_INTERVAL = timedelta(minutes=1)
#: When a job of a kind that only a newer release knows is due again, for a process of that release.
NEWER_KIND_INTERVAL = timedelta(minutes=1)


class ReconcileOutcome(StrEnum):
    """The outcome of reconciling one job."""

    RECORDED = "recorded"  #: the job has ended, and its result is recorded
    RUNNING = "running"  #: the job is still running
    UNKNOWN = "unknown"  #: MPS does not know the job (any more), or it cannot be queried
    LOST = "lost"  #: timed out without an answer; recorded as Lost
    COMPLETED = "completed"  #: the job had already ended; no query was made
    UNAVAILABLE = "unavailable"  #: MPS was unavailable
    NEWER_KIND = "newer kind"  #: only a newer release knows how MPS can be asked about it


class Reconciler:
    """``turn`` is one turn of the loop, ``run`` repeats it. One per tenant, so that tenants do not block each other."""

    def __init__(
        self,
        *,
        store: OverdueStore,
        recorder: Recorder,
        mps_of: MpsOf,
        backoff: Backoff,
        timeout: timedelta,
        clock_check: ClockCheck,
        tenants: Tenants = ALL_TENANTS,
        stop: threading.Event | None = None,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._mps_of = mps_of
        self._backoff = backoff
        self._timeout = timeout
        self._clock_check = clock_check
        self._tenants = tenants
        self._stop = stop or threading.Event()
        self._failures = Counter[str]()  #: consecutive failed calls, by the name of the kind
        self._failed_turns = Counter[str]()  #: consecutive turns in which all calls failed, by the same
        self._warnings = ThrottledLog(log)
        self._newer_kinds = set[str]()  #: those that were logged

    def run(self, heartbeat: HeartbeatSink, *, interval: timedelta) -> None:
        """Repeat ``turn`` until the stop event is set."""
        while not self._stop.is_set():
            heartbeat.beat()
            self._stop.wait(self._guarded_turn(interval).total_seconds())

    def turn(self) -> Sequence[tuple[Job, ReconcileOutcome]]:
        """Query overdue jobs; none while the clock is wrong. Raises StoreUnavailable."""
        if self._clock_check.wrong:
            return ()
        now = clock.now()
        overdue = self._store.claim_overdue(
            at=now, until=now + CLAIM_DURATION, limit=JOBS_PER_TURN, tenants=self._tenants
        )
        self._failures.clear()
        asked = call_concurrently(list(batches(overdue)), self._reconcile, concurrency=CONCURRENCY)
        found = [pair for _, pairs in asked for pair in pairs]
        self._pace(found)
        return found

    def ask(self, job: Job) -> ReconcileOutcome:
        """Query one job and record the answer, whether it is overdue or not. Raises StoreUnavailable."""
        if job.finished_at is not None:
            return ReconcileOutcome.COMPLETED
        if job.state is JobState.ACCEPTED:  # it is still to be submitted, however long it waits for that
            return ReconcileOutcome.UNKNOWN
        ((_, outcome),) = self._ask([job])
        return outcome

    def _reconcile(self, batch: Sequence[Job]) -> Sequence[tuple[Job, ReconcileOutcome]]:
        """Query jobs of one tenant and kind, record the answers, and schedule the next queries where there have to be
        some."""
        found = self._ask(batch)
        for job, outcome in found:
            self._schedule(job, outcome)
        return found

    def _ask(self, batch: Sequence[Job]) -> Sequence[tuple[Job, ReconcileOutcome]]:
        if batch[0].has_newer_kind:
            self._log_newer_kind(batch[0])
            return [(job, ReconcileOutcome.NEWER_KIND) for job in batch]
        kind = batch[0].kind_name
        if self._failures[kind] >= MAX_FAILURES or self._stop.is_set():
            return [(job, ReconcileOutcome.UNAVAILABLE) for job in batch]
        try:
            answers: Mapping[str, Answer] = self._query(batch)
        except MpsRejected as error:
            if len(batch) > 1:
                return self._ask_each(batch)
            log.info("job.unknown_to_mps", job_id=batch[0].job_id, code=error.code)
            answers = {}
        except UnavailableError as error:
            if len(batch) > 1 and error.kind is FailureKind.PROTOCOL:
                return self._ask_each(batch)
            self._failures[kind] += 1
            self._warnings.warning("mps.unavailable", doing="query", kind=error.kind, error=str(error))
            return [(job, ReconcileOutcome.UNAVAILABLE) for job in batch]
        self._failures[kind] = 0
        return [(job, self._recorded(job, answers.get(job.job_id))) for job in batch]

    def _log_newer_kind(self, job: Job) -> None:
        """Once for each kind."""
        if job.kind in self._newer_kinds:
            return
        self._newer_kinds.add(job.kind)
        hint = "a process of a newer release registered it; such jobs are left to processes of that release"
        log.warning("job.newer_kind", job_id=job.job_id, job_kind=job.kind, hint=hint)

    def _ask_each(self, batch: Sequence[Job]) -> Sequence[tuple[Job, ReconcileOutcome]]:
        """Query each job alone: MPS does not say which id it does not accept, or one of its answers is garbled."""
        return [pair for job in batch for pair in self._ask([job])]

    def _recorded(self, job: Job, answer: Answer | None) -> ReconcileOutcome:
        if answer is None:
            return self._unknown(job)
        if not answer.result.terminal:
            return ReconcileOutcome.RUNNING
        summary = self._recorder.record_found([answer.result])
        return self._unknown(job) if summary.quarantined else ReconcileOutcome.RECORDED

    def _guarded_turn(self, interval: timedelta) -> timedelta:
        """Run a turn; returns the delay until the next one, which is zero while more jobs are due."""
        try:
            asked = self.turn()
        except StoreUnavailable:  # logged by the store's observer
            return interval
        except Exception:  # a bug must not end the loop
            log.exception("reconcile.crashed")
            return interval
        return max(self._pause_of_loop(asked), timedelta(0) if len(asked) == JOBS_PER_TURN else interval)

    def _pace(self, found: Sequence[tuple[Job, ReconcileOutcome]]) -> None:
        """Increase the delays of kinds of which all calls fail; reset them once a call succeeds."""
        reached = {job.kind_name for job, outcome in found if outcome is not ReconcileOutcome.UNAVAILABLE}
        for kind in {job.kind_name for job, _ in found}:
            self._failed_turns[kind] = 0 if kind in reached else self._failed_turns[kind] + 1

    def _pause_of_loop(self, found: Sequence[tuple[Job, ReconcileOutcome]]) -> timedelta:
        """No pause if MPS could be asked about jobs of at least one kind."""
        turns = min((self._failed_turns[job.kind_name] for job, _ in found), default=0)
        return MPS_BACKOFF.delay(turns - 1) if turns else timedelta(0)

    def _query(self, batch: Sequence[Job]) -> Mapping[str, Answer]:
        """The answers of MPS by job id; jobs that it does not know, or cannot be asked about, are missing.

        Raises MpsRejected if it does not accept one of the ids.
        """
        job_ids = [job.job_id for job in batch if job.job_id]
        mps, kind = self._mps_of(batch[0].tenant), batch[0].queried_kind
        if mps is None or kind is None or not job_ids:
            return {}
        answers = mps.query_all(job_ids, kind=kind)
        for job_id in set(job_ids) - answers.keys():
            log.info("job.unknown_to_mps", job_id=job_id, code="")
        return answers

    def _unknown(self, job: Job) -> ReconcileOutcome:
        now = clock.now()
        if not self._is_timed_out(job, now):
            return ReconcileOutcome.UNKNOWN
        if not self._clock_check.confirmed:
            # Lost cannot be undone, and a job is only too old if the clock is right.
            self._warnings.warning(
                "clock.unconfirmed",
                doing="declare jobs Lost",
                hint="the clock is only trusted when it agrees with that of a queue; verify that MNS can be reached",
            )
            return ReconcileOutcome.UNKNOWN
        self._recorder.record_found([lost(job, now=now)])
        return ReconcileOutcome.LOST

    def _schedule(self, job: Job, outcome: ReconcileOutcome) -> None:
        now = clock.now()
        match outcome:
            case ReconcileOutcome.UNAVAILABLE:  # this never makes a job Lost
                self._store.postpone(job, until=now + self._pause(job), asked=False)
            case ReconcileOutcome.NEWER_KIND:  # nor does this
                self._store.postpone(job, until=now + NEWER_KIND_INTERVAL, asked=False)
            case ReconcileOutcome.UNKNOWN if self._is_timed_out(job, now):  # but the clock is not confirmed
                self._store.postpone(job, until=now + UNCONFIRMED_INTERVAL, asked=False)
            case ReconcileOutcome.UNKNOWN | ReconcileOutcome.RUNNING:
                self._postpone(job, now)

    def _pause(self, job: Job) -> timedelta:
        """The pause after a call that failed."""
        if self._stop.is_set():
            return timedelta(0)
        return MPS_BACKOFF.delay(self._failed_turns[job.kind_name]) * random.uniform(1, 2)

    def _postpone(self, job: Job, now: datetime) -> None:
        """Postpone, but not beyond the time at which the job becomes Lost."""
        until = now + self._backoff.delay(job.queries, jitter=random.random())
        if job.overdue_since is not None and not self._is_timed_out(job, now):
            until = min(until, job.overdue_since + self._timeout)
        self._store.postpone(job, until=until, asked=True)

    def _is_timed_out(self, job: Job, now: datetime) -> bool:
        return job.overdue_since is not None and now >= job.overdue_since + self._timeout


def batches(jobs: Iterable[Job]) -> Iterator[Sequence[Job]]:
    """The jobs in groups of which each can be asked about by one query."""
    groups: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        key = (job.tenant, job.kind if job.has_newer_kind else job.kind_name)
        group = groups.setdefault(key, [])
        group.append(job)
        if len(group) == (job.queried_kind.ids_per_query if job.queried_kind else 1):
            yield groups.pop(key)
    yield from groups.values()


def tenant_shards(names: Iterable[str]) -> dict[str, Tenants]:
    """The jobs of each tenant, by name. The default tenant "" includes jobs of tenants that were removed."""
    known = tuple(names)
    return {"": Tenants(without=known)} | {name: Tenants(only=(name,)) for name in known}


def lost(job: Job, *, now: datetime) -> Result:
    """Our own result for a job of which no callback came and about which MPS could not tell anything.

    An intent, which never got an id, is identified by its token (``Result.lost_intent``).
    """
    kind = job.queried_kind
    since = f" since {job.submitted_at.isoformat()}" if job.submitted_at else ""
    return Result(
        job_id=job.job_id,
        state=LOST,
        type=kind.name if kind else LOST,
        function=job.function,
        code=LOST,
        message=f"no callback received{since}, and MPS could not report the job status by {now.isoformat()}",
        user_data=job.user_data,
        token=job.token,
        source=Source.LISTENER,
    )
