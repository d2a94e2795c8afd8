"""The store on SQLite or PostgreSQL, through SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice, zip_longest
from typing import Any

from sqlalchemy import Connection, bindparam, func, literal, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from listener.errors import UsageError
from listener.interfaces import Decide
from listener.model import (
    Again,
    Arrival,
    Claim,
    Dead,
    Delivery,
    DeliveryState,
    Done,
    Fate,
    Job,
    JobState,
    Recorded,
    Result,
    Settlement,
)
from listener.store import recording, schema
from listener.store.engine import Database
from listener.store.rows import delivery_of, job_of, mapping, result_of, values_of_job
from listener.store.tables import deliveries, jobs, results

PENDING, RUNNING = DeliveryState.PENDING, DeliveryState.RUNNING


class SqlStore:
    """Keeps the promises of ``listener.interfaces.Store``."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def open(cls, url: str) -> SqlStore:
        """Open, and bring the schema up to date. Raises SettingsError or StoreUnavailable."""
        database = Database(url)
        schema.upgrade(database)
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
                raise UsageError(
                    f"reference {job.reference!r} is taken by another job; choose another, "
                    f"or look at it with `mns-listener jobs show {job.reference}`"
                ) from error

    def bind_job(self, token: str, job_id: str, at: datetime) -> None:
        with self.database.write() as connection:
            if recording.bind_job(connection, token, job_id, at=at):
                connection.execute(  # whatever came early need not wait out its grace
                    update(results)
                    .where(results.c.job_id == job_id, results.c.wait_until.is_not(None))
                    .values(wait_until=at)
                )

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

    def claim_overdue(self, *, at: datetime, until: datetime, limit: int) -> Sequence[Job]:
        with self.database.write() as connection:
            overdue = (
                select(jobs.c.id)
                .where(jobs.c.next_query_at.is_not(None), jobs.c.next_query_at <= at)
                .order_by(jobs.c.next_query_at)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            ids = list(connection.scalars(overdue))
            if not ids:
                return ()
            connection.execute(update(jobs).where(jobs.c.id.in_(ids)).values(next_query_at=until))
            rows = _by_id(connection, jobs, ids)
        return [job_of(rows[row_id]) for row_id in ids]

    def postpone(self, token: str, *, until: datetime, asked: bool) -> None:
        with self.database.write() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.token == token, jobs.c.finished_at.is_(None))
                .values(next_query_at=until, queries=jobs.c.queries + int(asked))
            )

    def save_outputs(self, result: Result, outputs: str) -> None:
        with self.database.write() as connection:
            connection.execute(update(results).where(results.c.slot == result.slot).values(outputs=outputs))

    # intake

    def record(
        self, arrivals: Sequence[Arrival], decide: Decide, *, at: datetime, claim: Claim | None = None
    ) -> Recorded:
        with self.database.write() as connection:
            return recording.record(connection, arrivals, decide, at=at, claim=claim)

    def decide_waiting(self, decide: Decide, *, at: datetime, limit: int) -> Recorded:
        with self.database.write() as connection:
            return recording.decide_waiting(connection, decide, at=at, limit=limit)

    # dispatch

    def claim(self, claim: Claim, *, at: datetime) -> Sequence[Delivery]:
        with self.database.write() as connection:
            ids = _due(connection, claim, at=at)
            if not ids:
                return ()
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id.in_(ids))
                .values(
                    state=RUNNING,
                    owner=claim.owner,
                    lease_until=claim.until,
                    attempt=deliveries.c.attempt + 1,
                    next_at=None,
                )
            )
            return load(connection, ids)

    def renew(self, running: Sequence[Delivery], *, until: datetime) -> None:
        attempts = [(delivery.id, delivery.attempt) for delivery in running]
        owners = {delivery.owner for delivery in running}
        with self.database.write() as connection:
            connection.execute(
                update(deliveries)
                .where(
                    tuple_(deliveries.c.id, deliveries.c.attempt).in_(attempts),
                    deliveries.c.owner.in_(owners),
                    deliveries.c.state == RUNNING,
                )
                .values(lease_until=until)
            )

    def end_leases(
        self, fate: Callable[[Delivery], Fate], *, at: datetime, limit: int
    ) -> Sequence[Settlement]:
        with self.database.write() as connection:
            ended = (
                select(deliveries.c.id)
                .where(deliveries.c.state == RUNNING, deliveries.c.lease_until < at)
                .order_by(deliveries.c.lease_until)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            ids = list(connection.scalars(ended))
            settlements = [
                Settlement(delivery=delivery, fate=fate(delivery)) for delivery in load(connection, ids)
            ]
            _settle(connection, settlements, at=at)
            return settlements

    def settle(self, settlements: Sequence[Settlement], *, at: datetime) -> Sequence[Settlement]:
        with self.database.write() as connection:
            settled = _settle(connection, settlements, at=at)
            return () if settled == len(settlements) else _late(connection, settlements)

    def next_due(self) -> datetime | None:
        with self.database.read() as connection:
            soonest = [_soonest(connection, queue) for queue in _pending_queues(connection)]
        return min((at for at in soonest if at is not None), default=None)

    def outstanding(self) -> int:
        open_deliveries = (
            select(func.count())
            .select_from(deliveries)
            .where(deliveries.c.state.in_([_literal(PENDING), _literal(RUNNING)]))
        )
        waiting = select(func.count()).select_from(results).where(results.c.wait_until.is_not(None))
        with self.database.read() as connection:
            return (connection.scalar(open_deliveries) or 0) + (connection.scalar(waiting) or 0)


def load(connection: Connection, ids: Sequence[int]) -> list[Delivery]:
    """Whole deliveries, in the order of ``ids``."""
    if not ids:
        return []
    rows = _by_id(connection, deliveries, ids)
    found = _by_id(connection, results, {row["result"] for row in rows.values()})
    known = _by_id(connection, jobs, {row["job"] for row in found.values() if row["job"]})
    return [_delivery(rows[row_id], found, known) for row_id in ids if row_id in rows]


def _delivery(row: Any, found: dict[int, Any], known: dict[int, Any]) -> Delivery:
    result = found[row["result"]]
    job = known.get(result["job"])
    return delivery_of(row, result_of(result), job_of(job) if job else None)


def _by_id(connection: Connection, table: Any, ids: Iterable[int]) -> dict[int, Any]:
    wanted = sorted(ids)
    if not wanted:
        return {}
    return {row.id: mapping(row) for row in connection.execute(select(table).where(table.c.id.in_(wanted)))}


def _due(connection: Connection, claim: Claim, *, at: datetime) -> list[int]:
    """Ids of pending deliveries, of each queue in turn."""
    found = [
        _due_of(connection, queue, min(claim.limit, claim.room_for(queue)), at=at)
        for queue in _pending_queues(connection)
    ]
    turns = (row_id for turn in zip_longest(*found) for row_id in turn if row_id is not None)
    return list(islice(turns, claim.limit))


def _due_of(connection: Connection, queue: str, limit: int, *, at: datetime) -> list[int]:
    due = (
        select(deliveries.c.id)
        .where(
            deliveries.c.state == _literal(PENDING), deliveries.c.queue == queue, deliveries.c.next_at <= at
        )
        .order_by(deliveries.c.next_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(connection.scalars(due))


def _soonest(connection: Connection, queue: str) -> datetime | None:
    pending = deliveries.c.state == _literal(PENDING)
    soonest: datetime | None = connection.scalar(
        select(func.min(deliveries.c.next_at)).where(pending, deliveries.c.queue == queue)
    )
    return soonest


def _pending_queues(connection: Connection) -> list[str]:
    """The queues that have pending deliveries: hops over the index, so that its length does not matter."""
    pending = deliveries.c.state == _literal(PENDING)
    first = select(func.min(deliveries.c.queue).label("queue")).where(pending)
    hops = first.cte("hops", recursive=True)
    following = (
        select(func.min(deliveries.c.queue))
        .where(pending, deliveries.c.queue > hops.c.queue)
        .scalar_subquery()
    )
    hops = hops.union_all(select(following).where(hops.c.queue.is_not(None)))
    return [queue for queue in connection.scalars(select(hops.c.queue)) if queue is not None]


def _literal(value: str) -> Any:
    """Written into the statement, since a partial index is only used where the planner can see the value."""
    return literal(str(value), literal_execute=True)


def _settle(connection: Connection, settlements: Sequence[Settlement], *, at: datetime) -> int:
    """Write the fates of attempts that are still the current ones; returns how many were."""
    return sum(
        _settle_alike(
            connection, kind, [entry for entry in settlements if isinstance(entry.fate, kind)], at=at
        )
        for kind in (Done, Again, Dead)
    )


def _settle_alike(
    connection: Connection, kind: type[Fate], settlements: Sequence[Settlement], *, at: datetime
) -> int:
    if not settlements:
        return 0
    # A handler that returned after its lease had ended has done its work all the same, as long as nobody
    # began another attempt: then there is nothing to repeat, and nothing to replay.
    is_open = deliveries.c.state == RUNNING
    if kind is Done:
        is_open = is_open | (deliveries.c.state == PENDING) | (deliveries.c.state == DeliveryState.DEAD)
    statement = (
        update(deliveries)
        .where(
            deliveries.c.id == bindparam("row_id"),
            deliveries.c.attempt == bindparam("of_attempt"),
            is_open,
        )
        .values(**_columns(kind, at))
    )
    parameters = [
        {"row_id": entry.delivery.id, "of_attempt": entry.delivery.attempt, **_parameters(entry.fate)}
        for entry in settlements
    ]
    return connection.execute(statement, parameters).rowcount


def _columns(kind: type[Fate], at: datetime) -> dict[str, Any]:
    columns: dict[str, Any] = {"owner": None, "lease_until": None, "next_at": None, "settled_at": at}
    if kind is Done:
        return {**columns, "state": DeliveryState.DONE, "last_error": None}
    columns["failures"] = deliveries.c.failures + bindparam("spent")
    columns["last_error"] = bindparam("reason")
    if kind is Dead:
        return {**columns, "state": DeliveryState.DEAD}
    return {**columns, "state": PENDING, "next_at": bindparam("again_at"), "settled_at": None}


def _parameters(fate: Fate) -> dict[str, Any]:
    match fate:
        case Done():
            return {}
        case Again():
            return {"spent": int(fate.spent), "reason": fate.reason, "again_at": fate.at}
        case Dead():
            return {"spent": 1, "reason": fate.reason}


def _late(connection: Connection, settlements: Sequence[Settlement]) -> Sequence[Settlement]:
    rows = _by_id(connection, deliveries, {entry.delivery.id for entry in settlements})
    return [entry for entry in settlements if not _took_effect(entry, rows.get(entry.delivery.id))]


def _took_effect(entry: Settlement, row: Any) -> bool:
    if row is None or row["attempt"] != entry.delivery.attempt:
        return False
    become = {Done: DeliveryState.DONE, Again: PENDING, Dead: DeliveryState.DEAD}
    return bool(row["state"] == become[type(entry.fate)])
