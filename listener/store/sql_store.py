"""The store on SQLite or PostgreSQL, through SQLAlchemy Core."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from listener.core.errors import UsageError
from listener.core.model import (
    Claim,
    DecodedMessage,
    Delivery,
    Job,
    JobState,
    Outcome,
    RecordSummary,
    Result,
    Settlement,
    Tenants,
)
from listener.core.ports import ALL_TENANTS, Decide
from listener.store import claims, ingest, schema
from listener.store.database import Database
from listener.store.group_commit import GroupCommit
from listener.store.rows import job_of, mapping, values_of_job
from listener.store.tables import jobs, results


class SqlStore:
    """Keeps the promises of ``listener.core.ports.Store``."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._together = GroupCommit(database)

    @classmethod
    def open(cls, url: str) -> SqlStore:
        """Open, and bring the schema up to date. Raises SettingsError or StoreUnavailable."""
        database = Database(url)
        try:
            schema.upgrade(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        self.database.close()

    # jobs

    def add_job(self, job: Job) -> None:
        with self.database.write() as connection:
            if job.reference:  # whoever tries again after a refusal wants the same name
                connection.execute(
                    update(jobs)
                    .where(jobs.c.reference == job.reference, jobs.c.state == JobState.REFUSED)
                    .values(reference=None)
                )
            try:
                connection.execute(jobs.insert(), values_of_job(job))
            except IntegrityError as error:
                name = job.reference if re.search("jobs[._]reference", str(error.orig)) else job.job_id
                raise UsageError(
                    f"{name!r} is taken by another job; choose another, "
                    f"or look at it with `mns-listener jobs show {name}`"
                ) from error
            if job.job_id:
                ingest.adopt(connection, job.token, job.job_id, at=job.created_at)

    def bind_job(self, token: str, job_id: str, at: datetime) -> None:
        with self.database.write() as connection:
            ingest.bind_job(connection, token, job_id, at=at)

    def refuse_job(self, token: str, error: str, at: datetime) -> None:
        with self.database.write() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.token == token, jobs.c.job_id.is_(None))
                .values(state=JobState.REFUSED, error=error, finished_at=at, next_query_at=None)
            )

    def find_job(self, name: str) -> Job | None:
        with self.database.read() as connection:
            named = or_(jobs.c.job_id == name, jobs.c.reference == name, jobs.c.token == name)
            row = connection.execute(select(jobs).where(named)).first()
        return job_of(mapping(row)) if row else None

    # reconciliation

    def claim_overdue(
        self, *, at: datetime, until: datetime, limit: int, tenants: Tenants = ALL_TENANTS
    ) -> Sequence[Job]:
        with self.database.write() as connection:
            overdue = (
                select(jobs.c.id)
                .where(jobs.c.next_query_at.is_not(None), jobs.c.next_query_at <= at, *_of(tenants))
                .order_by(jobs.c.next_query_at)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            ids = list(connection.scalars(overdue))
            if not ids:
                return ()
            connection.execute(update(jobs).where(jobs.c.id.in_(ids)).values(next_query_at=until))
            rows = claims.by_id(connection, jobs, ids)
        return [job_of(rows[row_id]) for row_id in ids]

    def postpone(self, job: Job, *, until: datetime, asked: bool) -> None:
        same_id = jobs.c.job_id == job.job_id if job.job_id else jobs.c.job_id.is_(None)
        with self.database.write() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.token == job.token, jobs.c.finished_at.is_(None), same_id)
                .values(next_query_at=until, queries=jobs.c.queries + int(asked))
            )

    def save_outputs(self, result: Result, outputs: str) -> None:
        with self.database.write() as connection:
            connection.execute(
                update(results).where(results.c.dedup_key == result.dedup_key).values(outputs=outputs)
            )

    # intake

    def record(
        self, batch: Sequence[DecodedMessage], decide: Decide, *, at: datetime, claim: Claim | None = None
    ) -> RecordSummary:
        return self._together.run(
            lambda connection: ingest.record(connection, batch, decide, at=at, claim=claim)
        )

    def decide_waiting(self, decide: Decide, *, at: datetime, limit: int) -> RecordSummary:
        return self._together.run(
            lambda connection: ingest.decide_waiting(connection, decide, at=at, limit=limit)
        )

    # dispatch

    def claim(self, claim: Claim, *, at: datetime) -> Sequence[Delivery]:
        return self._together.run(lambda connection: claims.claim(connection, claim, at=at))

    def renew(self, running: Sequence[Delivery], *, until: datetime) -> None:
        self._together.run(lambda connection: claims.renew(connection, running, until=until))

    def rescue_expired(
        self, outcome: Callable[[Delivery], Outcome], *, at: datetime, limit: int
    ) -> Sequence[Settlement]:
        return self._together.run(
            lambda connection: claims.rescue_expired(connection, outcome, at=at, limit=limit)
        )

    def settle(self, settlements: Sequence[Settlement], *, at: datetime) -> Sequence[Settlement]:
        return self._together.run(lambda connection: claims.settle(connection, settlements, at=at))

    def next_due(self) -> datetime | None:
        with self.database.read() as connection:
            return claims.soonest(connection)

    def outstanding(self) -> int:
        waiting = select(func.count()).select_from(results).where(results.c.wait_until.is_not(None))
        with self.database.read() as connection:
            return claims.count_open(connection) + (connection.scalar(waiting) or 0)


def _of(tenants: Tenants) -> list[ColumnElement[bool]]:
    """Conditions on the tenant, where there are any."""
    conditions: list[ColumnElement[bool]] = []
    if tenants.only:
        conditions.append(jobs.c.tenant.in_(tenants.only))
    if tenants.without:
        conditions.append(jobs.c.tenant.not_in(tenants.without))
    return conditions
