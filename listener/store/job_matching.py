"""Which job a result belongs to, and which jobs it finishes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby

from sqlalchemy import Connection, bindparam, select, update

from listener.core.model import TERMINAL_STATES, Job, JobState, Result
from listener.store import job_rows
from listener.store.compiled import ByValues
from listener.store.routed_result import KnownJob, RoutedResult, make_known_job
from listener.store.rows import JOB_FIELDS, job_of, mapping, stored_job
from listener.store.selects import SelectByValues
from listener.store.tables import UtcTimestamp, jobs

# Statements of every batch, built once.
_JOBS_BY_ID = SelectByValues(
    jobs.c.job_id, lambda found: select(jobs.c.id, *(jobs.c[name] for name in JOB_FIELDS)).where(found)
)
_FINISH = ByValues(
    jobs.c.id,
    lambda found: (
        update(jobs)
        .where(found, jobs.c.finished_at.is_(None))
        .values(
            state=bindparam("to"),
            error=bindparam("text"),
            finished_at=bindparam("now", type_=UtcTimestamp),
            next_query_at=None,
        )
    ),
)


def find_jobs(connection: Connection, found: Sequence[Result], *, at: datetime) -> dict[str, KnownJob]:
    """The jobs that these results are about: by job id, or by token for lost intents.

    A token brings the id of a job whose submitter never learned it. A token that comes with the job id of another job
    is somebody's copy of the user data and is ignored.
    """
    wanted = {name for result in found for name in _ids(result)}
    known = _with_ids(connection, wanted)
    known |= _lost_intents(connection, found)
    tokens: dict[str, str] = {}
    for result in found:
        if result.token and result.job_id and result.job_id not in known:
            tokens.setdefault(result.token, result.job_id)
    missed = set[str]()
    for token, job_id in sorted(tokens.items()):
        if job_id in known:  # two tokens may claim one job id; the first one has it then
            continue
        if entry := job_rows.bind(connection, token, job_id, at=at):
            known[job_id] = entry
        else:
            missed.add(job_id)
    if missed:  # another transaction may have given the job its id since we looked
        known |= _with_ids(connection, missed)
    return known


def job_for(result: Result, known: Mapping[str, KnownJob]) -> KnownJob | None:
    """The job of this result, among those that ``find_jobs`` returned."""
    if result.lost_intent:
        return known.get(result.lost_intent)
    for name in _ids(result):
        if entry := known.get(name):
            return None if result.event and not entry.job.has_events else entry
    return None


def peek(connection: Connection, result: Result) -> tuple[KnownJob | None, str]:
    """The job that ``find_jobs`` and ``job_for`` would find for this result, and by what. Writes nothing."""
    known = _with_ids(connection, set(_ids(result)))
    if result.token and result.job_id and result.job_id not in known:
        unbound = jobs.c.token == result.token, jobs.c.job_id.is_(None)
        if row := connection.execute(select(jobs).where(*unbound)).first():
            job = job_of(mapping(row))
            state = job.state if job.state == JobState.LOST else JobState.SUBMITTED
            return KnownJob(row.id, replace(job, job_id=result.job_id, state=state)), "token"
    if (entry := job_for(result, known)) is None:
        return None, ""
    own = {result.job_id: "job id", result.run_id: "run id"}
    return entry, own.get(entry.job.job_id, "id of an activity")


def ended_activities(result: Result, known: Mapping[str, KnownJob]) -> Sequence[tuple[KnownJob, str]]:
    """The known jobs among a workflow's activities that have ended, with their states."""
    return [
        (known[job_id], state)
        for job_id, state in zip(result.activity_job_ids, result.activity_states, strict=False)
        if job_id in known and state in TERMINAL_STATES
    ]


def finish_jobs(connection: Connection, routed: Sequence[RoutedResult], *, at: datetime) -> Sequence[int]:
    """Finish the jobs whose outcomes these results are; jobs that are finished already stay as they are.

    Returns the row ids of those that were unfinished when they were read; another process may have finished one since.

    Jobs about which only MPS is believed are due for a query instead.
    """
    if asked := {
        known.id for entry in routed for known, _ in entry.activities if _is_asked(entry, known.job)
    }:
        connection.execute(
            update(jobs)
            .where(jobs.c.id.in_(sorted(asked)), jobs.c.finished_at.is_(None))
            .values(next_query_at=at)
        )
    ended = [found for entry in routed for found in _finished_by(entry)]
    finished = {known.id: (state, text) for known, state, text in ended}
    by_end = sorted(finished, key=lambda row_id: (finished[row_id], row_id))
    for (state, text), row_ids in groupby(by_end, key=finished.__getitem__):
        _FINISH.run(connection, list(row_ids), to=state, text=text, now=at)
    return sorted({known.id for known, _, _ in ended if known.job.finished_at is None})


def _with_ids(connection: Connection, wanted: Collection[str]) -> dict[str, KnownJob]:
    """The jobs with these ids."""
    rows = _JOBS_BY_ID.run(connection, sorted(wanted))
    found = [make_known_job(row_id, stored_job(columns)) for row_id, *columns in rows]
    return {entry.job.job_id: entry for entry in found}


def _ids(result: Result) -> Sequence[str]:
    """The ids by which the job may be registered: its own, or those of the workflow and of its activities."""
    if result.job_id and not result.run_id and not result.activity_job_ids:  # as nearly always
        return (result.job_id,)
    return [name for name in (result.job_id, result.run_id, *result.activity_job_ids) if name]


def _lost_intents(connection: Connection, found: Sequence[Result]) -> dict[str, KnownJob]:
    """Intents that are declared lost, by their tokens; locked, so that none gets its id at the same time."""
    tokens = {result.lost_intent for result in found if result.lost_intent}
    if not tokens:
        return {}
    rows = connection.execute(
        select(jobs).where(jobs.c.token.in_(tokens), jobs.c.job_id.is_(None)).with_for_update()
    )
    return {row.token: KnownJob(row.id, job_of(mapping(row))) for row in rows}


def _finished_by(entry: RoutedResult) -> Iterator[tuple[KnownJob, str, str]]:
    """The jobs that end with this result: job, state, error text."""
    result = entry.result
    if entry.unverified:
        return
    for known, state in entry.activities:
        if _is_asked(entry, known.job):
            continue
        text = "" if state == JobState.SUCCESS else f"reported by workflow {result.run_id}"
        yield known, state, text
    if entry.known and entry.ends and entry.ends == (entry.known.job.job_id or entry.known.job.token):
        yield entry.known, result.state, job_rows.error_text(result)


def _is_asked(entry: RoutedResult, job: Job) -> bool:
    """Whether MPS is asked about an activity of a workflow, instead of believing the workflow's report."""
    return job.queryable and job.tenant in entry.decision.tenants_asked
