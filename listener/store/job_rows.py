"""Rows of jobs: add, bind to the id that MPS assigned, refuse, find."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, case, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from listener.core.errors import AlreadyExists, ReferenceExists
from listener.core.model import Job, JobState, Result
from listener.store import changes
from listener.store.changes import ChangeKind
from listener.store.routed_result import KnownJob
from listener.store.rows import job_of, mapping, result_of, values_of_job
from listener.store.tables import UtcTimestamp, jobs, results, results_named

_HAS_NO_ID: ColumnElement[bool] = jobs.c.job_id.is_(None)


def add(connection: Connection, job: Job) -> None:
    """See ``JobStore.add_job``."""
    if job.reference:  # whoever tries again after a rejection wants the same reference
        connection.execute(
            update(jobs)
            .where(jobs.c.reference == job.reference, jobs.c.state == JobState.REFUSED)
            .values(reference=None)
        )
    try:
        connection.execute(jobs.insert(), values_of_job(job))
    except IntegrityError as error:
        if not (conflict := _conflict(job, str(error.orig))):
            raise
        raise conflict from error
    if job.job_id:
        _adopt_results(connection, job, at=job.created_at)


def bind(connection: Connection, token: str, job_id: str, *, at: datetime) -> KnownJob | None:
    """Give a job its id unless it has one; returns the job if it got the id. A job that was declared lost stays so."""
    is_lost = jobs.c.state == JobState.LOST
    row = connection.execute(
        update(jobs)
        .where(jobs.c.token == token, jobs.c.job_id.is_(None))
        .values(
            job_id=job_id,
            state=case((is_lost, jobs.c.state), else_=JobState.SUBMITTED),
            submitted_at=at,
            finished_at=case((is_lost, jobs.c.finished_at), else_=None),
            error=case((is_lost, jobs.c.error), else_=""),
            next_query_at=case((is_lost, None), else_=jobs.c.deadline_at),
        )
        .returning(jobs)
    ).first()
    if row is None:
        return None
    bound = KnownJob(row.id, job_of(mapping(row)))
    _adopt_results(connection, bound.job, at=at)
    return bound


def refuse(connection: Connection, token: str, error: str, *, at: datetime) -> None:
    """See ``JobStore.refuse_job``."""
    refused = connection.scalars(
        update(jobs)
        .where(jobs.c.token == token, _HAS_NO_ID)
        .values(state=JobState.REFUSED, error=error, finished_at=at, next_query_at=None)
        .returning(jobs.c.id)
    )
    changes.add(connection, {ChangeKind.FINISHED: refused}, at=at)


def find(connection: Connection, name: str) -> KnownJob | None:
    """The job with this job id, reference or token."""
    named = or_(jobs.c.job_id == name, jobs.c.reference == name, jobs.c.token == name)
    row = connection.execute(select(jobs).where(named)).first()
    return KnownJob(row.id, job_of(mapping(row))) if row else None


def reference_exists(reference: str) -> ReferenceExists:
    """The error for a reference that another job has."""
    return ReferenceExists(
        f"reference {reference!r} already exists",
        field="reference",
        hint=f"choose another, or look at its job with `mns-listener jobs show {reference}`",
    )


def error_text(result: Result) -> str:
    """What a job's ``error`` says after this outcome; empty after success."""
    return "" if result.state == JobState.SUCCESS else f"{result.code}: {result.message}".strip(": ")


def _conflict(job: Job, message: str) -> AlreadyExists | None:
    """Which of the job's unique names exists already, from the database's message; None if it is something else."""
    if re.search("jobs[._]reference", message):
        return reference_exists(job.reference)
    if not re.search("jobs[._]job_id", message):
        return None
    return AlreadyExists(
        f"job {job.job_id!r} is already registered",
        hint=f"look at it with `mns-listener jobs show {job.job_id}`",
    )


def _adopt_results(connection: Connection, job: Job, *, at: datetime) -> None:
    """Link the results that came before the job was known. They need not wait any longer; an outcome among them
    that was decided about finishes the job."""
    own = select(jobs.c.id).where(jobs.c.token == job.token).scalar_subquery()
    sooner = case((results.c.wait_until.is_not(None), literal(at, UtcTimestamp)), else_=None)
    for condition in _results_of(job):
        connection.execute(
            update(results).where(condition, results.c.job.is_(None)).values(job=own, wait_until=sooner)
        )
    if (outcome := _outcome_of(connection, job)) is not None:
        finished = connection.scalars(
            update(jobs)
            .where(jobs.c.token == job.token, jobs.c.finished_at.is_(None))
            .values(state=outcome.state, error=error_text(outcome), finished_at=at, next_query_at=None)
            .returning(jobs.c.id)
        )
        changes.add(connection, {ChangeKind.FINISHED: finished}, at=at)


def _outcome_of(connection: Connection, job: Job) -> Result | None:
    """The recorded outcome of this job, or the first of the events that end it.

    One that waited is decided about again, and may then need to be verified.
    """
    decided = results.c.wait_until.is_(None)
    for condition in _results_of(job):
        rows = connection.execute(select(results).where(condition, decided).order_by(results.c.id))
        found = (result_of(mapping(row)) for row in rows)
        if outcome := next((result for result in found if result.terminal_id == job.job_id), None):
            return outcome
    return None


def _results_of(job: Job) -> Sequence[ColumnElement[bool]]:
    """Conditions that together find the results of this job."""
    named = results_named(job.job_id)
    return named if job.has_events else [and_(condition, results.c.event == "") for condition in named]
