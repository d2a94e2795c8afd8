"""Deliveries between claim and settlement: who has which, until when, and what became of it.

Statements are built once: building them takes SQLAlchemy longer than it takes SQLite to carry them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice, zip_longest
from typing import Any

from sqlalchemy import Connection, bindparam, func, literal, select, tuple_, update

from listener.core.model import Claim, Dead, Delivery, DeliveryState, Done, Outcome, RetryAt, Settlement
from listener.store.compiled import ByValues, Select, Update
from listener.store.postgres import notify
from listener.store.rows import delivery_of, job_of, result_of
from listener.store.tables import Instant, deliveries, jobs, results

PENDING, RUNNING = DeliveryState.PENDING, DeliveryState.RUNNING


def _literal(value: str) -> Any:
    """Written into the statement, since a partial index is only used where the planner can see the value."""
    return literal(str(value), literal_execute=True)


IS_PENDING = deliveries.c.state == _literal(PENDING)
_IS_RUNNING = deliveries.c.state == _literal(RUNNING)
IS_DEAD = deliveries.c.state == _literal(DeliveryState.DEAD)
_OF_QUEUE = deliveries.c.queue == bindparam("of_queue")


def _hops() -> Any:
    """The queues that have pending deliveries: hops over the index, so that its length does not matter."""
    hops = select(func.min(deliveries.c.queue).label("queue")).where(IS_PENDING).cte("hops", recursive=True)
    following = (
        select(func.min(deliveries.c.queue))
        .where(IS_PENDING, deliveries.c.queue > hops.c.queue)
        .scalar_subquery()
    )
    hops = hops.union_all(select(following).where(hops.c.queue.is_not(None)))
    return select(hops.c.queue)


_PENDING_QUEUES = _hops()
_SOONEST = select(func.min(deliveries.c.next_at)).where(IS_PENDING, _OF_QUEUE)
_DUE = (
    select(deliveries.c.id)
    .where(IS_PENDING, _OF_QUEUE, deliveries.c.next_at <= bindparam("now"))
    .order_by(deliveries.c.next_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_CLAIM = (
    update(deliveries)
    .where(deliveries.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        state=RUNNING,
        owner=bindparam("new_owner"),
        lease_until=bindparam("until"),
        attempt=deliveries.c.attempt + 1,
        next_at=None,
    )
)
_RENEW = (
    update(deliveries)
    .where(
        tuple_(deliveries.c.id, deliveries.c.attempt).in_(bindparam("attempts", expanding=True)),
        deliveries.c.owner.in_(bindparam("owners", expanding=True)),
        deliveries.c.state == RUNNING,
    )
    .values(lease_until=bindparam("until"))
)
_ENDED = (
    select(deliveries.c.id)
    .where(_IS_RUNNING, deliveries.c.lease_until < bindparam("now"))
    .order_by(deliveries.c.lease_until)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_BY_ID = {table: Select(table.c.id) for table in (deliveries, results, jobs)}


def _settlement(attempts: Any, kind: type[Outcome]) -> Any:
    is_open = deliveries.c.state == RUNNING
    if kind is Done:
        # A handler that returned after its lease had ended has done its work all the same, as long as nobody
        # began another attempt: then there is nothing to repeat, and nothing to replay.
        is_open = is_open | (deliveries.c.state == PENDING) | (deliveries.c.state == DeliveryState.DEAD)
    current = attempts & (deliveries.c.attempt == bindparam("of_attempt"))
    return update(deliveries).where(current, is_open).values(**_columns(kind))


def _columns(kind: type[Outcome]) -> dict[str, Any]:
    settled_at = bindparam("now", type_=Instant)
    columns: dict[str, Any] = {"owner": None, "lease_until": None, "next_at": None, "settled_at": settled_at}
    if kind is Done:
        return {**columns, "state": DeliveryState.DONE, "last_error": None}
    columns["failures"] = deliveries.c.failures + bindparam("spent")
    columns["last_error"] = bindparam("reason")
    if kind is Dead:
        return {**columns, "state": DeliveryState.DEAD}
    return {**columns, "state": PENDING, "next_at": bindparam("again_at", type_=Instant), "settled_at": None}


_SETTLE_DONE = ByValues(lambda marks: _settlement(deliveries.c.id.in_(marks), Done))
_SETTLE: dict[type[Outcome], Update] = {
    kind: Update(_settlement(deliveries.c.id == bindparam("row_id"), kind)) for kind in (RetryAt, Dead)
}
_BECOME: dict[type[Outcome], DeliveryState] = {
    Done: DeliveryState.DONE,
    RetryAt: DeliveryState.PENDING,
    Dead: DeliveryState.DEAD,
}


def claim(connection: Connection, wanted: Claim, *, at: datetime) -> Sequence[Delivery]:
    """See ``Store.claim``."""
    ids = _due(connection, wanted, at=at)
    if not ids:
        return ()
    connection.execute(_CLAIM, {"ids": ids, "new_owner": wanted.owner, "until": wanted.until})
    return load(connection, ids)


def renew(connection: Connection, running: Sequence[Delivery], *, until: datetime) -> None:
    """See ``Store.renew``."""
    if not running:
        return
    attempts = [(delivery.id, delivery.attempt) for delivery in running]
    owners = sorted({delivery.owner for delivery in running})
    connection.execute(_RENEW, {"attempts": attempts, "owners": owners, "until": until})


def rescue_expired(
    connection: Connection, outcome: Callable[[Delivery], Outcome], *, at: datetime, limit: int
) -> Sequence[Settlement]:
    """See ``Store.rescue_expired``."""
    ids = list(connection.scalars(_ENDED, {"now": at, "most": limit}))
    ended = [Settlement(delivery=delivery, outcome=outcome(delivery)) for delivery in load(connection, ids)]
    _write(connection, ended, at=at)
    return ended


def settle(
    connection: Connection, settlements: Sequence[Settlement], *, at: datetime
) -> Sequence[Settlement]:
    """See ``Store.settle``."""
    written = _write(connection, settlements, at=at)
    return () if written == len(settlements) else _late(connection, settlements)


def soonest(connection: Connection) -> datetime | None:
    """When the earliest pending delivery is due."""
    queues = _pending_queues(connection)
    return min((connection.scalar(_SOONEST, {"of_queue": queue}) for queue in queues), default=None)


def load(connection: Connection, ids: Sequence[int]) -> list[Delivery]:
    """Whole deliveries, in the order of ``ids``."""
    if not ids:
        return []
    rows = by_id(connection, deliveries, ids)
    found = by_id(connection, results, {row["result"] for row in rows.values()})
    known = by_id(connection, jobs, {row["job"] for row in found.values() if row["job"]})
    return [_delivery(rows[row_id], found, known) for row_id in ids if row_id in rows]


def by_id(connection: Connection, table: Any, ids: Iterable[int]) -> dict[int, Any]:
    """Rows by their ids."""
    return {row["id"]: row for row in _BY_ID[table].run(connection, ids)}


def count_open(connection: Connection) -> int:
    """How many deliveries are pending or running."""
    return sum(
        connection.scalar(select(func.count()).select_from(deliveries).where(is_open)) or 0
        for is_open in (IS_PENDING, _IS_RUNNING)
    )


def _delivery(row: Any, found: dict[int, Any], known: dict[int, Any]) -> Delivery:
    result = found[row["result"]]
    job = known.get(result["job"])
    return delivery_of(row, result_of(result), job_of(job) if job else None)


def _pending_queues(connection: Connection) -> list[str]:
    return [queue for queue in connection.scalars(_PENDING_QUEUES) if queue is not None]


def _due(connection: Connection, wanted: Claim, *, at: datetime) -> list[int]:
    """Ids of pending deliveries, of each queue in turn."""
    found = [
        _due_of(connection, queue, min(wanted.limit, wanted.capacity_for(queue)), at=at)
        for queue in _pending_queues(connection)
    ]
    turns = (row_id for turn in zip_longest(*found) for row_id in turn if row_id is not None)
    return list(islice(turns, wanted.limit))


def _due_of(connection: Connection, queue: str, limit: int, *, at: datetime) -> list[int]:
    return list(connection.scalars(_DUE, {"of_queue": queue, "now": at, "most": limit}))


def _write(connection: Connection, settlements: Sequence[Settlement], *, at: datetime) -> int:
    """Write the fates of attempts that are still the current ones; returns how many were."""
    if any(isinstance(entry.outcome, RetryAt) and entry.outcome.at <= at for entry in settlements):
        notify(connection)
    in_order = sorted(settlements, key=_id)  # two processes may both hold one: neither waits in a circle
    done = [entry.delivery for entry in in_order if isinstance(entry.outcome, Done)]
    return _write_done(connection, done, at=at) + sum(
        _write_alike(connection, kind, in_order, at=at) for kind in _SETTLE
    )


def _write_done(connection: Connection, done: Sequence[Delivery], *, at: datetime) -> int:
    by_attempt: dict[int, list[int]] = {}
    for delivery in done:
        by_attempt.setdefault(delivery.attempt, []).append(delivery.id)
    cursors = [
        cursor
        for attempt, ids in by_attempt.items()
        for cursor in _SETTLE_DONE.run(connection, ids, of_attempt=attempt, now=at)
    ]
    return sum(cursor.rowcount for cursor in cursors)


def _write_alike(
    connection: Connection, kind: type[Outcome], settlements: Sequence[Settlement], *, at: datetime
) -> int:
    parameters = [
        {"row_id": entry.delivery.id, "of_attempt": entry.delivery.attempt, **_parameters(entry.outcome, at)}
        for entry in settlements
        if isinstance(entry.outcome, kind)
    ]
    return _SETTLE[kind].run(connection, parameters) if parameters else 0


def _id(settlement: Settlement) -> int:
    return settlement.delivery.id


def _parameters(outcome: Outcome, at: datetime) -> dict[str, Any]:
    match outcome:
        case RetryAt():
            return {"spent": int(outcome.spent), "reason": outcome.reason, "again_at": outcome.at}
        case Dead():
            return {"spent": 1, "reason": outcome.reason, "now": at}
        case Done():
            raise AssertionError("written all at once")


def _late(connection: Connection, settlements: Sequence[Settlement]) -> Sequence[Settlement]:
    rows = by_id(connection, deliveries, {entry.delivery.id for entry in settlements})
    return [entry for entry in settlements if not _took_effect(entry, rows.get(entry.delivery.id))]


def _took_effect(entry: Settlement, row: Any) -> bool:
    if row is None or row["attempt"] != entry.delivery.attempt:
        return False
    return bool(row["state"] == _BECOME[type(entry.outcome)])
