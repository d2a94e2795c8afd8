"""Deliveries between claim and settlement: who owns which, until when, and how each attempt ended.

Statements are built once: building one takes SQLAlchemy longer than executing it takes SQLite.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, literal, or_, select, tuple_, update

from listener.core.model import (
    Claim,
    Dead,
    Delivery,
    DeliveryState,
    Done,
    Lease,
    Offered,
    Outcome,
    RetryAfter,
    Settlement,
    Target,
)
from listener.store import attempts, changes
from listener.store.compiled import ByValues, CompiledWrite
from listener.store.in_turn import in_turn, queues_of, select_queues
from listener.store.postgres import notify
from listener.store.rows import delivery_of, job_of, result_of
from listener.store.selects import rows_by_id
from listener.store.tables import LATEST, UtcTimestamp, deliveries, jobs, results
from listener.store.unreadable import delivery_aside, each_of

Load = Callable[[Connection, Sequence[int]], list[Delivery]]
"""How deliveries are read: ``load``, or one by one."""

PENDING, RUNNING = DeliveryState.PENDING, DeliveryState.RUNNING


def _literal(value: str) -> Any:
    """A literal in the SQL text: the planner only uses a partial index if it can see the value."""
    return literal(str(value), literal_execute=True)


IS_PENDING = deliveries.c.state == _literal(PENDING)
IS_RUNNING = deliveries.c.state == _literal(RUNNING)
IS_DEAD = deliveries.c.state == _literal(DeliveryState.DEAD)
#: The queues that pending deliveries came from; see ``queues_of``.
PENDING_QUEUES = select_queues(deliveries.c.queue, IS_PENDING)

_OF_QUEUE = deliveries.c.queue == bindparam("of_queue")
_DUE = (
    select(deliveries.c.id)
    .where(IS_PENDING, _OF_QUEUE, deliveries.c.next_at <= bindparam("now"))
    .order_by(deliveries.c.next_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_CLAIM = ByValues(
    deliveries.c.id,
    lambda found: (
        update(deliveries)
        .where(found)
        .values(
            state=RUNNING.value,
            owner=bindparam("new_owner"),
            lease_until=bindparam("until", type_=UtcTimestamp),
            attempt=deliveries.c.attempt + 1,
            next_at=None,
            # A process of a release without pulls sets next_at and leaves this one: the attempt is no application's.
            pull_at=None,
        )
    ),
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
_EXPIRED = (
    select(deliveries.c.id)
    .where(IS_RUNNING, deliveries.c.lease_until < bindparam("now"))
    .order_by(deliveries.c.lease_until)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
#: The end of a lease, or the latest time that can be read if it is damaged. SQLite's integer columns may hold anything,
#: and whatever is no number is greater than one.
_READABLE_END = case(
    (deliveries.c.lease_until < LATEST, deliveries.c.lease_until), else_=literal(LATEST, UtcTimestamp)
)
#: Applications get longer leases than processes, which renew theirs.
_IS_PULLED = deliveries.c.pull_at.is_not(None)
_LEASES = (
    select(deliveries.c.id, _READABLE_END.label("until"), _IS_PULLED.label("pulled"))
    .where(
        IS_RUNNING,
        deliveries.c.lease_until > bindparam("after"),
        or_(~_IS_PULLED, deliveries.c.lease_until > bindparam("pulled_after")),
    )
    .order_by(deliveries.c.lease_until)
    .limit(bindparam("most"))
)
_UNRENEWED = (
    select(deliveries.c.id)
    .where(
        IS_RUNNING,
        deliveries.c.id.in_(bindparam("ids", expanding=True)),
        tuple_(deliveries.c.id, _READABLE_END).in_(bindparam("leases", expanding=True)),
    )
    .order_by(deliveries.c.id)
    .with_for_update(skip_locked=True)
)


def due(at: Any) -> dict[str, Any]:
    """The columns that make a pending delivery due at this time, for those who get it: the dispatchers, or
    applications."""
    pulled = deliveries.c.pull_at.is_not(None)
    return {"next_at": case((pulled, None), else_=at), "pull_at": case((pulled, at), else_=None)}


def _settlement(wanted: Any, kind: type[Outcome]) -> Any:
    is_open = deliveries.c.state == RUNNING
    if kind is Done:
        # A handler that returned after its lease expired has done its work all the same, unless another attempt
        # has started: there is nothing to repeat, and nothing to replay.
        # Not three comparisons: whenever the value of one is bound, SQLite prepares the statement again, since another
        # partial index might serve it.
        states = (RUNNING, PENDING, DeliveryState.DEAD)
        is_open = deliveries.c.state.in_([literal(state.value) for state in states])
    current = wanted & (deliveries.c.attempt == bindparam("of_attempt"))
    if kind is Offered:
        # The pull that follows is the same attempt: an offer that is written again must not take it back.
        current = current & (deliveries.c.owner == bindparam("of_owner"))
    return update(deliveries).where(current, is_open).values(**_columns(kind))


def _columns(kind: type[Outcome]) -> dict[str, Any]:
    settled_at = bindparam("now", type_=UtcTimestamp)
    columns: dict[str, Any] = {"owner": None, "lease_until": None, "next_at": None, "settled_at": settled_at}
    if kind is Done:
        return {**columns, "state": DeliveryState.DONE, "last_error": None}
    if kind is Offered:
        # It keeps its owner, by which the pull recognizes that the attempt has begun.
        return {"state": PENDING, "lease_until": None, "pull_at": settled_at, "no_handler_since": None}
    columns["failures"] = deliveries.c.failures + bindparam("spent")
    columns["last_error"] = bindparam("reason")
    if kind is Dead:
        return {**columns, "state": DeliveryState.DEAD}
    return {
        **columns,
        "state": PENDING,
        **due(bindparam("retry_at", type_=UtcTimestamp)),
        "no_handler_since": bindparam("no_handler_since", type_=UtcTimestamp),
    }


_SETTLE_DONE = ByValues(deliveries.c.id, lambda found: _settlement(found, Done))
_SETTLE: dict[type[Outcome], CompiledWrite] = {
    kind: CompiledWrite(_settlement(deliveries.c.id == bindparam("row_id"), kind))
    for kind in (RetryAfter, Dead, Offered)
}
_ID = attrgetter("delivery.id")
_STATE_AFTER: dict[type[Outcome], DeliveryState] = {
    Done: DeliveryState.DONE,
    RetryAfter: DeliveryState.PENDING,
    Offered: DeliveryState.PENDING,
    Dead: DeliveryState.DEAD,
}


def claim(connection: Connection, wanted: Claim, *, at: datetime, load: Load) -> Sequence[Delivery]:
    """See ``DeliveryStore.claim``."""
    ids = _due(connection, wanted, at=at)
    if not ids:
        return ()
    _CLAIM.run(connection, ids, new_owner=wanted.owner, until=wanted.until)
    return load(connection, ids)


def renew(connection: Connection, running: Sequence[Delivery], *, until: datetime) -> None:
    """See ``DeliveryStore.renew``."""
    if not running:
        return
    current = [(delivery.id, delivery.attempt) for delivery in running]
    owners = sorted({delivery.owner for delivery in running})
    connection.execute(_RENEW, {"attempts": current, "owners": owners, "until": until})


def rescue_expired(
    connection: Connection,
    outcome: Callable[[Delivery], Outcome],
    *,
    at: datetime,
    limit: int,
    load: Load,
) -> Sequence[Settlement]:
    """See ``DeliveryStore.rescue_expired``."""
    ids = list(connection.scalars(_EXPIRED, {"now": at, "most": limit}))
    return _rescue(connection, ids, outcome, at=at, load=load)


def leases(connection: Connection, *, after: datetime, pulled_after: datetime, limit: int) -> Sequence[Lease]:
    """See ``DeliveryStore.leases``."""
    rows = connection.execute(_LEASES, {"after": after, "pulled_after": pulled_after, "most": limit})
    return [Lease(row.id, row.until, pulled=bool(row.pulled)) for row in rows]


def rescue_unrenewed(
    connection: Connection,
    unrenewed: Sequence[Lease],
    outcome: Callable[[Delivery], Outcome],
    *,
    at: datetime,
    load: Load,
) -> Sequence[Settlement]:
    """See ``DeliveryStore.rescue_unrenewed``."""
    pairs = [(lease.delivery_id, lease.until) for lease in unrenewed]
    found = [lease.delivery_id for lease in unrenewed]
    ids = list(connection.scalars(_UNRENEWED, {"ids": found, "leases": pairs}))
    return _rescue(connection, ids, outcome, at=at, load=load)


def _rescue(
    connection: Connection,
    ids: Sequence[int],
    outcome: Callable[[Delivery], Outcome],
    *,
    at: datetime,
    load: Load,
) -> Sequence[Settlement]:
    rescued = [Settlement(delivery=delivery, outcome=outcome(delivery)) for delivery in load(connection, ids)]
    _write(connection, rescued, at=at)
    _log(connection, rescued, at=at)
    return rescued


def settle(
    connection: Connection, settlements: Sequence[Settlement], *, at: datetime
) -> Sequence[Settlement]:
    """See ``DeliveryStore.settle``."""
    written = _write(connection, settlements, at=at)
    late = () if written == len(settlements) else _late(connection, settlements)
    without = {id(entry) for entry in late}
    _log(connection, [entry for entry in settlements if id(entry) not in without], at=at)
    return late


def _log(connection: Connection, settlements: Sequence[Settlement], *, at: datetime) -> None:
    """Keep what a timeline and the event feed show of these, which took effect."""
    attempts.add(connection, settlements, at=at)
    changes.add_settled(connection, settlements, at=at)


def load(connection: Connection, ids: Sequence[int]) -> list[Delivery]:
    """Deliveries with their results and jobs, in the order of ``ids``."""
    if not ids:
        return []
    rows = rows_by_id(connection, deliveries, ids)
    found = rows_by_id(connection, results, {row["result"] for row in rows.values()})
    known = rows_by_id(connection, jobs, {row["job"] for row in found.values() if row["job"]})
    return [_delivery(rows[row_id], found, known) for row_id in ids if row_id in rows]


def load_readable(connection: Connection, ids: Sequence[int], *, at: datetime) -> list[Delivery]:
    """The same without those that cannot be read, which become dead letters."""
    set_aside = delivery_aside(connection, at=at)
    return load_each(connection, ids, set_aside=set_aside)


def load_each(
    connection: Connection, ids: Sequence[int], *, set_aside: Callable[[int, str], None] | None = None
) -> list[Delivery]:
    """The same, one by one, without those that cannot be read."""
    found = each_of(connection, deliveries, ids, lambda row: load(connection, [row]), set_aside=set_aside)
    return [delivery for one in found for delivery in one]


def count_unsettled(connection: Connection) -> int:
    """How many deliveries are pending or running."""
    return sum(
        connection.scalar(select(func.count()).select_from(deliveries).where(is_open)) or 0
        for is_open in (IS_PENDING, IS_RUNNING)
    )


def count_without_handler(connection: Connection) -> dict[Target, int]:
    """How many pending deliveries wait for a process with their handler, by target."""
    route, handler = deliveries.c.route, deliveries.c.handler
    rows = connection.execute(
        select(route, handler, func.count())
        .where(deliveries.c.no_handler_since.is_not(None), IS_PENDING)
        .group_by(route, handler)
    )
    return {Target(row[0], row[1]): row[2] for row in rows}


def _delivery(row: Any, found: dict[int, Any], known: dict[int, Any]) -> Delivery:
    result = found[row["result"]]
    job = known.get(result["job"])
    known_job = job_of(job) if job else None
    return delivery_of(row, result_of(result), known_job, received_at=result["received_at"])


def _due(connection: Connection, wanted: Claim, *, at: datetime) -> list[int]:
    """Ids of due deliveries, taken from the queues in turn."""
    found = [
        _due_of(connection, queue, min(wanted.limit, wanted.capacity_for(queue)), at=at)
        for queue in queues_of(connection, PENDING_QUEUES)
    ]
    return in_turn(found, limit=wanted.limit)


def _due_of(connection: Connection, queue: str, limit: int, *, at: datetime) -> list[int]:
    return list(connection.scalars(_DUE, {"of_queue": queue, "now": at, "most": limit}))


def _write(connection: Connection, settlements: Sequence[Settlement], *, at: datetime) -> int:
    """Write the outcomes of those attempts that are still current; returns how many were."""
    by_kind: defaultdict[type[Outcome], list[Settlement]] = defaultdict(list)
    # By id, so that processes that settle the same deliveries do not deadlock.
    for entry in sorted(settlements, key=_ID):
        by_kind[type(entry.outcome)].append(entry)
    if any(_is_due_at_once(entry.outcome) for entry in by_kind[RetryAfter]):
        notify(connection)
    return _write_done(connection, by_kind[Done], at=at) + sum(
        _write_each(connection, kind, by_kind[kind], at=at) for kind in _SETTLE
    )


def _is_due_at_once(outcome: Outcome) -> bool:
    return isinstance(outcome, RetryAfter) and outcome.wait <= timedelta(0)


def _write_done(connection: Connection, done: Sequence[Settlement], *, at: datetime) -> int:
    by_attempt: defaultdict[int, list[int]] = defaultdict(list)
    for entry in done:
        by_attempt[entry.delivery.attempt].append(entry.delivery.id)
    cursors = [
        cursor
        for attempt, ids in by_attempt.items()
        for cursor in _SETTLE_DONE.run(connection, ids, of_attempt=attempt, now=at)
    ]
    return sum(cursor.rowcount for cursor in cursors)


def _write_each(
    connection: Connection, kind: type[Outcome], settlements: Sequence[Settlement], *, at: datetime
) -> int:
    parameters = [
        {"row_id": entry.delivery.id, "of_attempt": entry.delivery.attempt, **_parameters(entry, at)}
        for entry in settlements
    ]
    return _SETTLE[kind].run(connection, parameters) if parameters else 0


def _parameters(entry: Settlement, at: datetime) -> dict[str, Any]:
    match outcome := entry.outcome:
        case RetryAfter():
            return {
                "spent": int(outcome.spent),
                "reason": outcome.reason,
                "retry_at": at + outcome.wait,
                "no_handler_since": outcome.no_handler_since,
                "now": at,
            }
        case Dead():
            return {"spent": 1, "reason": outcome.reason, "now": at}
        case Offered():
            return {"of_owner": entry.delivery.owner, "now": at}
        case Done():
            raise AssertionError("_write_done has written these")


def _late(connection: Connection, settlements: Sequence[Settlement]) -> Sequence[Settlement]:
    rows = rows_by_id(connection, deliveries, {entry.delivery.id for entry in settlements})
    return [entry for entry in settlements if not _took_effect(entry, rows.get(entry.delivery.id))]


def _took_effect(entry: Settlement, row: Any) -> bool:
    if row is None or row["attempt"] != entry.delivery.attempt:
        return False
    if isinstance(entry.outcome, Offered) and row["pull_at"] is None:
        return False
    return bool(row["state"] == _STATE_AFTER[type(entry.outcome)])
