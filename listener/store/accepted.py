"""Accepted jobs: stored, and to be submitted by whichever daemon begins that first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, select, update

from listener.core.job_kinds import SUBMITTED_KINDS
from listener.core.model import Job, JobState, NewerKind, Tenants
from listener.store import changes, daemons
from listener.store.changes import ChangeKind
from listener.store.overdue import Load, belongs_to
from listener.store.rows import job_of, mapping, values_of_job
from listener.store.tables import jobs

IS_ACCEPTED: ColumnElement[bool] = jobs.c.state == JobState.ACCEPTED
#: How many jobs one transaction refuses at most.
REFUSED_AT_ONCE: Final = 500
#: A newer release, which shares the store during an upgrade, may submit jobs of other kinds as well.
_IS_SUBMITTED_HERE: ColumnElement[bool] = jobs.c.kind.in_(["", *(kind.name for kind in SUBMITTED_KINDS)])


def add(connection: Connection, accepted: Sequence[Job]) -> Mapping[str, Job]:
    """See ``AcceptedStore.accept_jobs``."""
    named = jobs.c.reference.in_({job.reference for job in accepted})
    found = [job_of(mapping(row)) for row in connection.execute(select(jobs).where(named))]
    if any(job.state is JobState.REFUSED for job in found):
        refused = jobs.c.state == JobState.REFUSED
        connection.execute(update(jobs).where(named, refused).values(reference=None))
    holders = {job.reference: job for job in found if job.state is not JobState.REFUSED}
    new = [job for job in accepted if holders.setdefault(job.reference, job) is job]
    if new:
        connection.execute(jobs.insert(), [values_of_job(job) for job in new])
    return holders


def count(connection: Connection) -> int:
    """See ``AcceptedStore.count_accepted``."""
    return connection.scalar(select(func.count()).select_from(jobs).where(IS_ACCEPTED)) or 0


def find(connection: Connection, *, limit: int, tenants: Tenants, after: str, load: Load) -> Sequence[Job]:
    """See ``AcceptedStore.accepted_jobs``."""
    found: list[Job] = []
    last = connection.scalar(select(jobs.c.id).where(jobs.c.token == after)) or 0 if after else 0
    while wanted := limit - len(found):
        ids = connection.scalars(
            select(jobs.c.id)
            .where(IS_ACCEPTED, _IS_SUBMITTED_HERE, jobs.c.id > last, *belongs_to(tenants))
            .order_by(jobs.c.id)
            .limit(wanted)
        ).all()
        found += load(connection, ids) if ids else ()
        if len(ids) < wanted:
            break
        last = ids[-1]  # there are more only if some of these cannot be read
    return found


def newer_kinds(connection: Connection, *, release: str, at: datetime) -> Sequence[NewerKind]:
    """See ``AcceptedStore.accepted_newer_kinds``."""
    if any(daemon.version != release for daemon in daemons.running(connection, at)):
        return ()
    waiting = (
        select(jobs.c.kind, func.count().label("count"), func.min(jobs.c.id).label("first"))
        .where(IS_ACCEPTED, ~_IS_SUBMITTED_HERE)
        .group_by(jobs.c.kind)
        .subquery()
    )
    found = select(waiting.c.kind, waiting.c.count, jobs.c.reference).join(jobs, jobs.c.id == waiting.c.first)
    return [
        NewerKind(kind=kind, jobs=count, reference=reference)
        for kind, count, reference in connection.execute(found.order_by(waiting.c.kind))
    ]


def unserved(connection: Connection, *, at: datetime, served: Collection[str]) -> Mapping[str, int]:
    """See ``AcceptedStore.unserved_jobs``."""
    submits = [daemon.tenants for daemon in daemons.running(connection, at)]
    reported = [tenants for tenants in submits if tenants is not None]
    if len(reported) < len(submits):
        return {}
    return by_tenant(connection, without={*served, *chain.from_iterable(reported)})


def by_tenant(connection: Connection, *, without: Collection[str]) -> Mapping[str, int]:
    """How many wait, by tenant, besides those of some tenants."""
    rows = connection.execute(
        select(jobs.c.tenant, func.count())
        .where(IS_ACCEPTED, *belongs_to(Tenants(without=tuple(without))))
        .group_by(jobs.c.tenant)
        .order_by(jobs.c.tenant)
    )
    return {row[0]: row[1] for row in rows}


def refuse_tenant(
    connection: Connection, tenant: str, error: str, *, accepted_before: datetime, at: datetime
) -> int:
    """See ``AcceptedStore.refuse_tenant``."""
    oldest = (
        select(jobs.c.id)
        .where(IS_ACCEPTED, jobs.c.tenant == tenant, jobs.c.created_at < accepted_before)
        .order_by(jobs.c.id)
        .limit(REFUSED_AT_ONCE)
    )
    refused = connection.scalars(
        update(jobs)
        .where(jobs.c.id.in_(oldest), IS_ACCEPTED)
        .values(state=JobState.REFUSED, error=error, finished_at=at, next_query_at=None)
        .returning(jobs.c.id)
    ).all()
    changes.add(connection, {ChangeKind.FINISHED: refused}, at=at)
    return len(refused)


def begin(connection: Connection, token: str, *, at: datetime) -> bool:
    """See ``AcceptedStore.begin_submission``."""
    begun = connection.execute(
        update(jobs)
        .where(jobs.c.token == token, IS_ACCEPTED)
        .values(state=JobState.INTENT, submitted_at=at, next_query_at=jobs.c.deadline_at)
    )
    return begun.rowcount > 0


def undo(connection: Connection, token: str, *, begun_at: datetime) -> None:
    """See ``AcceptedStore.accept_again``."""
    begun = jobs.c.submitted_at == begun_at
    connection.execute(
        update(jobs)
        .where(jobs.c.token == token, jobs.c.state == JobState.INTENT, jobs.c.job_id.is_(None), begun)
        .values(state=JobState.ACCEPTED, submitted_at=None, next_query_at=None)
    )
