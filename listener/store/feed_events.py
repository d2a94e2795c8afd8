"""What the event feed tells about the rows of a change, as they are when it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, Table, select

from listener.core.model import DeliveryState, Result
from listener.store import attempts as kept
from listener.store.changes import ATTEMPT, SEPARATOR, ChangeKind
from listener.store.rows import mapping
from listener.store.tables import deliveries, jobs, results


class EventName(StrEnum):
    """What an event of the feed says."""

    RESULT_RECORDED = "result.recorded"
    RESULT_DECIDED = "result.decided"  #: about a result that waited, was verified or was parked
    JOB_FINISHED = "job.finished"
    DELIVERY_SETTLED = "delivery.settled"
    DELIVERY_DROPPED = "delivery.dropped"
    DELIVERY_REPLAYED = "delivery.replayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEvent:
    """One event of the feed. Fields that its kind does not have are empty."""

    cursor: str  #: a reader goes on after this event with it
    event: EventName
    at: datetime
    id: int  #: of the row: of the result, job or delivery
    job_id: str  #: what the result is about, as in lists
    reference: str
    function: str
    state: str  #: of the result, the job, or the delivery
    status: str = ""  #: of a result
    #: That the result, or the results of the job, were routed to; of a delivery its own.
    routes: Sequence[str] = ()
    handler: str = ""
    attempt: int | None = None
    seconds: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a change."""

    kind: ChangeKind
    at: datetime
    row: int
    attempt: int = 1  #: of a delivery; 0: it became a dead letter without one


Fields = Mapping[str, Any]

_STATES: Final[Mapping[ChangeKind, DeliveryState]] = {
    ChangeKind.DONE: DeliveryState.DONE,
    ChangeKind.RETRY: DeliveryState.PENDING,
    ChangeKind.DEAD: DeliveryState.DEAD,
    ChangeKind.DROPPED: DeliveryState.DROPPED,
    ChangeKind.REPLAYED: DeliveryState.PENDING,
}
_NAMES: Final[Mapping[ChangeKind, EventName]] = {
    ChangeKind.RECORDED: EventName.RESULT_RECORDED,
    ChangeKind.DECIDED: EventName.RESULT_DECIDED,
    ChangeKind.FINISHED: EventName.JOB_FINISHED,
    ChangeKind.DROPPED: EventName.DELIVERY_DROPPED,
    ChangeKind.REPLAYED: EventName.DELIVERY_REPLAYED,
}
_OF_RESULTS: Final = frozenset({ChangeKind.RECORDED, ChangeKind.DECIDED})
#: What ``Result.subject`` is made of.
_SUBJECT: Final = ("job_id", "run_id", "type", "media_id", "token", "event")
_RESULT = (*(results.c[name] for name in _SUBJECT), results.c.function, results.c.state, results.c.status)
_RESULTS = select(results.c.id, *_RESULT, results.c.received_at, jobs.c.reference).outerjoin(
    jobs, jobs.c.id == results.c.job
)
_DELIVERIES = (
    select(
        deliveries.c.id,
        deliveries.c.route,
        deliveries.c.handler,
        deliveries.c.attempt,
        deliveries.c.last_error,
        *_RESULT,
        jobs.c.reference,
    )
    .join(results, results.c.id == deliveries.c.result)
    .outerjoin(jobs, jobs.c.id == results.c.job)
)
_JOBS = select(
    jobs.c.id, jobs.c.job_id, jobs.c.token, jobs.c.reference, jobs.c.function, jobs.c.state, jobs.c.error
)
_ROUTES_OF_RESULTS = select(deliveries.c.result, deliveries.c.route).order_by(deliveries.c.id)
_ROUTES_OF_JOBS = (
    select(results.c.job, deliveries.c.route)
    .join(deliveries, deliveries.c.result == results.c.id)
    .order_by(deliveries.c.id)
)


def entries_of(kind: str, at: datetime, rows: str) -> Sequence[Entry]:
    """The rows that a change lists. Raises ValueError if it is damaged."""
    known = ChangeKind(kind)
    parts = (each.partition(ATTEMPT) for each in rows.split(SEPARATOR))
    return [Entry(known, at, int(row), int(attempt or 1)) for row, _, attempt in parts]


def table_of(entry: Entry) -> Table:
    """Where its row is."""
    if entry.kind in _OF_RESULTS:
        return results
    return jobs if entry.kind is ChangeKind.FINISHED else deliveries


def fields_of(connection: Connection, entries: Iterable[Entry]) -> dict[Entry, Fields]:
    """The fields of each of these events, without the cursor; those whose rows have been deleted are left out."""
    by_table: dict[Table, list[Entry]] = {}
    for entry in entries:
        by_table.setdefault(table_of(entry), []).append(entry)
    return {
        entry: {"event": _NAMES.get(entry.kind, EventName.DELIVERY_SETTLED), "at": entry.at, **fields}
        for table, wanted in by_table.items()
        for entry, fields in _LOAD[table](connection, wanted)
    }


def _results(connection: Connection, entries: Sequence[Entry]) -> list[tuple[Entry, Fields]]:
    ids = {entry.row for entry in entries}
    rows = {row.id: row for row in connection.execute(_RESULTS.where(results.c.id.in_(ids)))}
    routes = _routes(connection.execute(_ROUTES_OF_RESULTS.where(deliveries.c.result.in_(ids))).all())
    return [
        (
            entry,
            _of_result(row) | {"state": row.state, "status": row.status, "routes": routes.get(row.id, ())},
        )
        for entry in entries
        if (row := rows.get(entry.row)) and not _is_of_another(row, entry)
    ]


def _is_of_another(row: Row[Any], recorded: Entry) -> bool:
    """Whether the row was recorded later: SQLite gives the id of a deleted last row, such as that of a callback that
    MPS did not confirm, to the next one."""
    return recorded.kind is ChangeKind.RECORDED and bool(row.received_at > recorded.at)


def _jobs(connection: Connection, entries: Sequence[Entry]) -> list[tuple[Entry, Fields]]:
    ids = {entry.row for entry in entries}
    rows = {row.id: row for row in connection.execute(_JOBS.where(jobs.c.id.in_(ids)))}
    routes = _routes(connection.execute(_ROUTES_OF_JOBS.where(results.c.job.in_(ids))).all())
    return [
        (
            entry,
            {
                "id": row.id,
                "job_id": row.job_id or row.token,
                "reference": row.reference or "",
                "function": row.function,
                "state": row.state,
                "routes": routes.get(row.id, ()),
                "error": row.error,
            },
        )
        for entry in entries
        if (row := rows.get(entry.row))
    ]


def _deliveries(connection: Connection, entries: Sequence[Entry]) -> list[tuple[Entry, Fields]]:
    ids = {entry.row for entry in entries}
    rows = {row.id: row for row in connection.execute(_DELIVERIES.where(deliveries.c.id.in_(ids)))}
    ran = _attempts(connection, entries)
    return [(entry, _of_delivery(entry, row, ran)) for entry in entries if (row := rows.get(entry.row))]


_LOAD: Final[Mapping[Table, Callable[[Connection, Sequence[Entry]], list[tuple[Entry, Fields]]]]] = {
    results: _results,
    jobs: _jobs,
    deliveries: _deliveries,
}


def _of_result(row: Row[Any]) -> dict[str, Any]:
    columns = mapping(row)
    subject = Result(state="", **{name: columns[name] for name in _SUBJECT}).subject
    return {"id": row.id, "job_id": subject, "reference": row.reference or "", "function": row.function}


def _of_delivery(entry: Entry, row: Row[Any], ran: Mapping[tuple[int, int], Row[Any]]) -> dict[str, Any]:
    settled = entry.kind in (ChangeKind.DONE, ChangeKind.RETRY, ChangeKind.DEAD)
    attempt = ran.get((entry.row, entry.attempt)) if settled else None
    error = attempt.error if attempt else row.last_error if settled and not entry.attempt else ""
    return _of_result(row) | {
        "state": _STATES[entry.kind],
        "routes": (row.route,) if row.route else (),
        "handler": row.handler,
        "attempt": (entry.attempt or None) if settled else None,
        "seconds": attempt.seconds if attempt else None,
        "error": error or "",
    }


def _attempts(connection: Connection, entries: Sequence[Entry]) -> dict[tuple[int, int], Row[Any]]:
    """The kept attempts that these may be about; most deliveries have none."""
    ids = {entry.row for entry in entries if entry.kind is not ChangeKind.DONE or entry.attempt > 1}
    if not ids:
        return {}
    return {(row.delivery, row.attempt): row for row in connection.execute(kept.of_deliveries(sorted(ids)))}


def _routes(rows: Sequence[Any]) -> dict[int, Sequence[str]]:
    """The different routes of each, in their order; a dead letter from the start has none."""
    routes: dict[int, dict[str, None]] = {}
    for row_id, route in rows:
        if route:
            routes.setdefault(row_id, {})[route] = None
    return {row_id: tuple(names) for row_id, names in routes.items()}
