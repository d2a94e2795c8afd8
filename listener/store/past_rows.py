"""Rows that were written while the clock was behind: they would look older than they are, by days perhaps.

Whatever is limited by age would end too early: retries, the wait for a handler, retention, and jobs. Rows that really
are as old as those seem, because a right clock once showed the same times, become younger as well; that only lets them
stay longer.

Rows that were written in the period are among the newest, and are found by their ids; what was only changed in it is
found by the indexes that exist for it. So this costs as much as there is of that, however large the store is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Table,
    and_,
    case,
    func,
    or_,
    select,
    type_coerce,
    update,
)

from listener.core.model import ClockLag
from listener.store.claims import IS_PENDING, IS_RUNNING
from listener.store.future_rows import MARGIN
from listener.store.postgres import notify
from listener.store.tables import (
    EARLIEST,
    LATEST,
    MICROSECOND,
    UtcTimestamp,
    attempts,
    changes,
    deliveries,
    jobs,
    quarantine,
    results,
)

#: How many rows are looked at in one query for the first one that was written in the period.
SLICE: Final = 500
#: From how many rows of a table it can be seen that the clock was behind when they were written.
NEWEST: Final = 10_000


def newest_times(connection: Connection) -> Sequence[Sequence[datetime]]:
    """See ``ScheduleStore.newest_times``. All that is recorded or settled is a change; jobs that begin are not."""
    return [_newest(connection, column) for column in (changes.c.at, jobs.c.created_at)]


def delivery_times(connection: Connection, *, first: int, last: int) -> Sequence[tuple[int, datetime]]:
    """See ``DeliveryTimes.delivery_times``."""
    row_id, at = deliveries.c.id, deliveries.c.created_at
    rows = connection.execute(
        select(row_id, at).where(row_id.between(first, last), _readable(at)).order_by(row_id)
    )
    return [(each.id, each.created_at) for each in rows]


def _newest(connection: Connection, column: Column[Any]) -> Sequence[datetime]:
    # Only then are damaged ones left out: with a condition on the column, SQLite would sort all rows of its index.
    row_id = column.table.c.id
    newest = select(row_id, column.label("at")).order_by(row_id.desc()).limit(NEWEST).subquery()
    return connection.scalars(select(newest.c.at).where(_readable(newest.c.at)).order_by(newest.c.id)).all()


def _readable(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """A damaged row may hold anything."""
    readable: ColumnElement[bool] = type_coerce(column, UtcTimestamp).between(EARLIEST, LATEST)
    return readable


def correct(connection: Connection, lag: ClockLag) -> int:
    """See ``ScheduleStore.correct_past``."""
    # What finds rows by others must come before those are changed.
    new_attempts = attempts.c.id >= _first_id(connection, attempts.c.settled_at, lag)
    new_results = results.c.id >= _first_id(connection, results.c.received_at, lag)
    settled = select(attempts.c.delivery).where(new_attempts, _within(attempts.c.settled_at, lag))
    finished = select(results.c.job).where(new_results, _within(results.c.received_at, lag))
    statements = (
        _deliveries(lag, IS_PENDING),
        _deliveries(lag, IS_RUNNING),
        _deliveries(lag, deliveries.c.id.in_(settled)),
        _deliveries(lag, deliveries.c.id >= _first_id(connection, deliveries.c.created_at, lag)),
        _jobs(lag),
        _times(lag, jobs.c.finished_at, where=jobs.c.id.in_(finished)),
        _results(lag, results.c.wait_until.is_not(None)),
        _results(lag, new_results),
        _times(lag, attempts.c.started_at, attempts.c.settled_at, where=new_attempts),
        _new(connection, lag, quarantine.c.received_at),
        _new(connection, lag, changes.c.at),
    )
    changed = sum(connection.execute(statement).rowcount for statement in statements)
    if changed:
        notify(connection)
    return changed


def _deliveries(lag: ClockLag, where: ColumnElement[bool]) -> Any:
    columns = deliveries.c
    # As in future_rows: when the pause before the next attempt began.
    since = func.coalesce(columns.settled_at, columns.replayed_at, columns.created_at)
    times = (columns.created_at, columns.replayed_at, columns.settled_at, columns.no_handler_since)
    # The pause of a retry is written with its begin; not so that before an offer is pulled.
    retried = and_(columns.settled_at.is_not(None), columns.owner.is_(None))
    due = {
        each: _later(each, lag, when=and_(_within(since, lag), or_(retried, _scheduled(since, each, lag))))
        for each in (columns.next_at, columns.pull_at)
    }
    return _times(lag, *times, where=where, also=due)


def _jobs(lag: ClockLag) -> Any:
    columns = jobs.c
    written = _within(columns.created_at, lag)
    # A query after the deadline was scheduled by the reconciler, by whichever clock: it may be early, but not late.
    query = and_(written, columns.next_query_at <= columns.deadline_at)
    also = {
        columns.deadline_at: _later(columns.deadline_at, lag, when=written),
        columns.next_query_at: _later(columns.next_query_at, lag, when=query),
        columns.submitted_at: _later(columns.submitted_at, lag, when=_within(columns.submitted_at, lag)),
        columns.finished_at: _later(columns.finished_at, lag, when=_within(columns.finished_at, lag)),
    }
    return _times(lag, columns.created_at, where=written, also=also)


def _results(lag: ClockLag, where: ColumnElement[bool]) -> Any:
    since, due = results.c.received_at, results.c.wait_until
    scheduled = and_(_within(since, lag), _scheduled(since, due, lag))
    return _times(lag, since, where=where, also={due: _later(due, lag, when=scheduled)})


def _scheduled(since: Any, due: Any, lag: ClockLag) -> ColumnElement[bool]:
    """Whether this clock has scheduled it. A right one perhaps has if it is due late: it may be early, but not late."""
    wait = type_coerce(due, BigInteger) - type_coerce(since, BigInteger)
    early: ColumnElement[bool] = type_coerce(wait, BigInteger) < lag.at_least // MICROSECOND
    return early


def _new(connection: Connection, lag: ClockLag, column: Column[Any]) -> Any:
    return _times(lag, column, where=column.table.c.id >= _first_id(connection, column, lag))


def _times(
    lag: ClockLag,
    *columns: Column[Any],
    where: ColumnElement[bool],
    also: Mapping[Column[Any], Any] | None = None,
) -> Any:
    """Correct those of these columns of a table that were written in the period."""
    corrected = {each: _later(each, lag, when=_within(each, lag)) for each in columns}
    written = or_(*(_within(each, lag) for each in columns))
    return update(columns[0].table).where(where, written).values({**corrected, **(also or {})})


def _within(column: Any, lag: ClockLag) -> ColumnElement[bool]:
    within: ColumnElement[bool] = type_coerce(column, UtcTimestamp).between(lag.begin, lag.end)
    return within


def _later(column: Column[Any], lag: ClockLag, *, when: ColumnElement[bool]) -> Any:
    later = type_coerce(type_coerce(column, BigInteger) + lag.by // MICROSECOND, UtcTimestamp)
    return case((when, later), else_=column)


def _first_id(connection: Connection, written: Column[Any], lag: ClockLag) -> int:
    """No row of the table with a smaller id was written in the period: looks back until rows are older than that."""
    table: Table = written.table
    # Compared there: whatever it holds, it need not be read. What is as new as this may have been written after it.
    in_question = or_(_within(written, lag), written >= lag.begin + lag.by - MARGIN)
    rows = select(table.c.id, in_question).order_by(table.c.id.desc()).limit(SLICE)
    found = connection.execute(rows).all()
    while len(found) == SLICE and any(is_in_question for _, is_in_question in found):
        first = found[-1].id
        found = connection.execute(rows.where(table.c.id < first)).all()
    return int(found[-1].id) if found else 0
