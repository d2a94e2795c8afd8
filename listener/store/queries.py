"""What people ask the store: listings in pages, one thing whole, and what they do about dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, or_, select, update

from listener.core.model import Delivery, DeliveryState, Job, JobState, Quarantined, Result, ResultStatus
from listener.core.ports import Decide
from listener.store import ingest
from listener.store.claims import IS_DEAD, load
from listener.store.database import Database
from listener.store.postgres import notify
from listener.store.rows import job_of, mapping, quarantined_of, result_of
from listener.store.tables import deliveries, jobs, quarantine, results, results_named


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResult:
    """A result as it is in the store."""

    id: int
    result: Result
    queue: str
    status: ResultStatus
    received_at: datetime
    copies: int
    contradictions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHistory:
    """Everything the store knows about one job."""

    job: Job | None
    results: Sequence[StoredResult]
    deliveries: Sequence[Delivery]


class Queries:
    """Reads, and the few writes that people ask for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def jobs(self, *, state: str = "", before: int = 0, limit: int = 50) -> Sequence[tuple[int, Job]]:
        """Newest first, with row ids; ``before`` takes the last id of the page before. ``state`` in any case."""
        page = _page(select(jobs), jobs, before, limit)
        if state:
            known = {each.casefold(): each for each in JobState}
            page = page.where(jobs.c.state == known.get(state.casefold(), state))
        with self._database.read() as connection:
            return [(row.id, job_of(mapping(row))) for row in connection.execute(page)]

    def history(self, name: str) -> JobHistory | None:
        """By job id, run id, reference or token; None if nothing is known."""
        with self._database.read() as connection:
            job = connection.execute(
                select(jobs).where(or_(jobs.c.job_id == name, jobs.c.reference == name, jobs.c.token == name))
            ).first()
            stored = _stored_results(connection, _is_about(job, name))
            if job is None and not stored:
                return None
            found = _deliveries_of(connection, [entry.id for entry in stored])
        return JobHistory(job=job_of(mapping(job)) if job else None, results=stored, deliveries=found)

    def results(
        self, *, status: ResultStatus | None = None, before: int = 0, limit: int = 50
    ) -> Sequence[StoredResult]:
        """Newest first."""
        page = _page(select(results), results, before, limit)
        if status:
            page = page.where(results.c.status == status)
        with self._database.read() as connection:
            return [_stored_result(row) for row in connection.execute(page)]

    def dead(self, *, route: str = "", before: int = 0, limit: int = 50) -> Sequence[Delivery]:
        """Dead letters, newest first."""
        page = _page(select(deliveries.c.id), deliveries, before, limit).where(IS_DEAD)
        if route:
            page = page.where(deliveries.c.route == route)
        with self._database.read() as connection:
            return load(connection, list(connection.scalars(page)))

    def dead_letter(self, delivery_id: int) -> Delivery | None:
        with self._database.read() as connection:
            found = load(connection, [delivery_id])
        return found[0] if found and found[0].state is DeliveryState.DEAD else None

    def replay(self, ids: Sequence[int], decide: Decide, *, at: datetime) -> Sequence[int]:
        """Make dead letters pending again, with all their attempts; returns those that were dead letters.

        One that never had a route, because its job was unknown, is routed by today's rules.
        """
        with self._database.write() as connection:
            replayed = _revive(connection, ids, at=at)
            routed = _reroute(connection, [row for row in ids if row not in replayed], decide, at=at)
        return [row for row in ids if row in replayed or row in routed]

    def drop(self, ids: Sequence[int], *, at: datetime) -> Sequence[int]:
        """Put dead letters away; returns those that were dead letters."""
        with self._database.write() as connection:
            dropped = connection.scalars(
                update(deliveries)
                .where(deliveries.c.id.in_(ids), deliveries.c.state == DeliveryState.DEAD)
                .values(state=DeliveryState.DROPPED, settled_at=at)
                .returning(deliveries.c.id)
            )
            return sorted(dropped)

    def route_parked(self, decide: Decide, *, at: datetime, batch: int = 500) -> tuple[int, int]:
        """Try today's rules on all parked results, a batch in a transaction.

        Returns how many were looked at and how many deliveries came of it.
        """
        looked = written = last = 0
        while True:
            with self._database.write() as connection:
                rows = _parked(connection, after=last, limit=batch)
                if not rows:
                    return looked, written
                written += ingest.route_again(connection, rows, decide, at=at).deliveries
            looked, last = looked + len(rows), rows[-1]["id"]

    def quarantined(self, *, before: int = 0, limit: int = 50) -> Sequence[Quarantined]:
        """Newest first."""
        with self._database.read() as connection:
            page = _page(select(quarantine), quarantine, before, limit)
            return [quarantined_of(mapping(row)) for row in connection.execute(page)]

    def dead_letters(self) -> int:
        """How many there are, without looking at anything else."""
        with self._database.read() as connection:
            return connection.scalar(select(func.count()).select_from(deliveries).where(IS_DEAD)) or 0

    def counts(self) -> dict[str, dict[str, int]]:
        """How many rows there are of each kind and state. Reads all there is: for people, not for every second."""
        with self._database.read() as connection:
            return {
                "jobs": _by(connection, jobs.c.state),
                "results": _by(connection, results.c.status),
                "deliveries": _by(connection, deliveries.c.state),
                "quarantine": {"messages": connection.scalar(select(func.count(quarantine.c.id))) or 0},
                "copies": {
                    "duplicates": connection.scalar(select(func.coalesce(func.sum(results.c.copies - 1), 0)))
                    or 0
                },
            }


def _is_about(job: Any, name: str) -> Any:
    """The results of a job, or of the job or workflow that goes by this name."""
    named = (job.job_id or job.token) if job else name
    return or_(*results_named(named), results.c.job == (job.id if job else 0))


def _page(listing: Select[Any], table: Any, before: int, limit: int) -> Select[Any]:
    ordered = listing.order_by(table.c.id.desc()).limit(limit)
    return ordered.where(table.c.id < before) if before else ordered


def _parked(connection: Connection, *, after: int, limit: int) -> list[RowMapping]:
    """Oldest first."""
    parked = select(results).where(results.c.status == ResultStatus.PARKED, results.c.id > after)
    oldest = parked.order_by(results.c.id).limit(limit).with_for_update()
    return [mapping(row) for row in connection.execute(oldest)]


def _by(connection: Connection, column: Any) -> dict[str, int]:
    counted = connection.execute(select(column, func.count()).group_by(column))
    return {row[0]: row[1] for row in counted}


def _stored_results(connection: Connection, condition: Any) -> list[StoredResult]:
    return [
        _stored_result(row)
        for row in connection.execute(select(results).where(condition).order_by(results.c.id))
    ]


def _stored_result(row: Any) -> StoredResult:
    return StoredResult(
        id=row.id,
        result=result_of(mapping(row)),
        queue=row.queue,
        status=ResultStatus(row.status),
        received_at=row.received_at,
        copies=row.copies,
        contradictions=row.contradictions,
    )


def _deliveries_of(connection: Connection, result_ids: Sequence[int]) -> list[Delivery]:
    ids = select(deliveries.c.id).where(deliveries.c.result.in_(result_ids)).order_by(deliveries.c.id)
    return load(connection, list(connection.scalars(ids)))


def _revive(connection: Connection, ids: Sequence[int], *, at: datetime) -> set[int]:
    revived = connection.scalars(
        update(deliveries)
        .where(deliveries.c.id.in_(ids), deliveries.c.state == DeliveryState.DEAD, deliveries.c.handler != "")
        # Its age counts from now, or a delivery that died of old age could never be replayed.
        .values(state=DeliveryState.PENDING, failures=0, next_at=at, settled_at=None, created_at=at)
        .returning(deliveries.c.id)
    )
    notify(connection)
    return set(revived)


def _reroute(connection: Connection, ids: Sequence[int], decide: Decide, *, at: datetime) -> set[int]:
    dead = {
        row.result: row.id
        for row in connection.execute(
            select(deliveries.c.result, deliveries.c.id)
            .where(deliveries.c.id.in_(ids), deliveries.c.state == DeliveryState.DEAD)
            .order_by(deliveries.c.id)
            .with_for_update()
        )
    }
    rows = [mapping(row) for row in connection.execute(select(results).where(results.c.id.in_(sorted(dead))))]
    if rows:
        ingest.route_again(connection, rows, decide, at=at)
        connection.execute(
            update(deliveries)
            .where(deliveries.c.id.in_(sorted(dead.values())))
            .values(state=DeliveryState.DROPPED, settled_at=at)
        )
    return set(dead.values())
