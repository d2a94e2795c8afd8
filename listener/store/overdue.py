"""Jobs whose callback is overdue: claim them for a query, and schedule the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select, update

from listener.core.model import Job, Tenants
from listener.store.rows import job_of
from listener.store.selects import rows_in_order
from listener.store.tables import jobs
from listener.store.unreadable import each_of

Load = Callable[[Connection, Sequence[int]], Sequence[Job]]
"""How jobs are read: ``load``, or ``load_each``."""


def claim(
    connection: Connection, *, at: datetime, until: datetime, limit: int, tenants: Tenants, load: Load
) -> Sequence[Job]:
    """See ``OverdueStore.claim_overdue``."""
    overdue = (
        select(jobs.c.id)
        .where(jobs.c.next_query_at.is_not(None), jobs.c.next_query_at <= at, *belongs_to(tenants))
        .order_by(jobs.c.next_query_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.scalars(overdue))
    if not ids:
        return ()
    connection.execute(update(jobs).where(jobs.c.id.in_(ids)).values(next_query_at=until))
    return load(connection, ids)


def load(connection: Connection, ids: Sequence[int]) -> Sequence[Job]:
    """Jobs by the ids of their rows, in this order."""
    return [job_of(row) for row in rows_in_order(connection, jobs, ids)]


def load_each(connection: Connection, ids: Sequence[int]) -> Sequence[Job]:
    """The same without those that cannot be read; they are due again like the others."""
    found = each_of(connection, jobs, ids, lambda row_id: load(connection, [row_id]))
    return [job for one in found for job in one]


def postpone(connection: Connection, job: Job, *, until: datetime, asked: bool) -> None:
    """See ``OverdueStore.postpone``."""
    same_id = jobs.c.job_id == job.job_id if job.job_id else jobs.c.job_id.is_(None)
    connection.execute(
        update(jobs)
        .where(jobs.c.token == job.token, jobs.c.finished_at.is_(None), same_id)
        .values(next_query_at=until, queries=jobs.c.queries + int(asked))
    )


def belongs_to(tenants: Tenants) -> list[ColumnElement[bool]]:
    """Conditions on the tenant, if there are any."""
    conditions: list[ColumnElement[bool]] = []
    if tenants.only:
        conditions.append(jobs.c.tenant.in_(tenants.only))
    if tenants.without:
        conditions.append(jobs.c.tenant.not_in(tenants.without))
    return conditions
