"""What a store holds that is not finished, and what happened in it in the last hour: for monitoring.

``Statistics.totals`` is what is open now, ``Statistics.activity`` the last hour: per minute what was received, handled
and failed, how long jobs took from their submission to their outcome, and whether outcomes came by callback or by a
query. Both take bounded time however large the store is: what is open is counted in the indexes of the rows that are
open, and of the last hour only so many of the newest rows are read. Where that is less than an hour, ``Activity.since``
says from when on the figures are complete.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    type_coerce,
)

from listener.core.model import TERMINAL_STATES, DeliveryState, ResultStatus, Source
from listener.store.claims import IS_DEAD, IS_PENDING, IS_RUNNING
from listener.store.database import Database
from listener.store.in_turn import queues_of, select_queues
from listener.store.size import size_of
from listener.store.tables import (
    EARLIEST,
    deliveries,
    from_microseconds,
    jobs,
    quarantine,
    results,
    to_microseconds,
)

PERIOD: Final = timedelta(hours=1)
MINUTE: Final = timedelta(minutes=1)
#: How many pending deliveries of each queue are looked at for the oldest one, those that are due first.
PENDING_READ: Final = 5_000
#: How many jobs whose next query is still to come are looked at for overdue ones.
SCHEDULED_READ: Final = 10_000
#: How many of the newest rows are read for the last hour, and how many outcomes for their times.
RESULTS_READ: Final = 20_000
DELIVERIES_READ: Final = 40_000
OUTCOMES_READ: Final = 2_000

_MICROSECONDS: Final = 60_000_000
_UNDECIDED: Final = (ResultStatus.WAITING, ResultStatus.VERIFYING)
_PENDING_QUEUES: Final = select_queues(deliveries.c.queue, IS_PENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What is open at one time: deliveries, results, quarantined messages, overdue jobs; and the size of the store."""

    at: datetime
    pending: int = 0
    running: int = 0
    dead: int = 0
    oldest_pending: datetime | None = None  #: since when the oldest pending delivery has waited
    waiting: int = 0
    verifying: int = 0
    parked: int = 0
    quarantined: int = 0
    overdue: int = 0  #: jobs without an outcome whose deadline is over; see SCHEDULED_READ
    bytes: int = 0

    @property
    def oldest_pending_age(self) -> timedelta:
        """Zero if nothing is pending, or if the clock was set back."""
        return max(self.at - self.oldest_pending, timedelta()) if self.oldest_pending else timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """What happened in one minute."""

    at: datetime  #: when it began
    received: int = 0  #: results that callbacks brought; copies do not count
    handled: int = 0  #: deliveries that were done
    failed: int = 0  #: deliveries whose last attempt failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The same per minute, as means."""

    received: float
    handled: float
    failed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeTimes:
    """How long jobs of one function took from their submission to their recorded outcome."""

    function: str  #: empty for jobs that have none
    jobs: int
    median: timedelta
    p95: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What happened in the last hour."""

    at: datetime
    since: datetime  #: the figures are complete from here on: an hour ago, or later if there was too much to read
    minutes: Sequence[
        Minute
    ]  #: one for each minute since then, also if nothing happened; the last one goes on
    ended_by: Mapping[Source, int]  #: how many outcomes each source brought
    times: Sequence[OutcomeTimes]  #: by function, most jobs first

    @property
    def query_share(self) -> float | None:
        """The share of outcomes that no callback brought, although one was expected; None without outcomes."""
        asked = self.ended_by[Source.QUERY] + self.ended_by[Source.LISTENER]
        expected = asked + self.ended_by[Source.CALLBACK]
        return asked / expected if expected else None

    def rates(self, last: timedelta = timedelta(minutes=5)) -> Rates:
        """The mean of the whole minutes within this time, or of what there is if there is none."""
        before = self.at - last - MINUTE
        whole = [
            each for each in self.minutes if each.at >= self.since and before < each.at <= self.at - MINUTE
        ]
        found, covered = (whole, len(whole) * MINUTE) if whole else (self.minutes, self.at - self.since)
        scale = MINUTE / covered if covered > timedelta() else 0.0
        return Rates(
            received=scale * sum(each.received for each in found),
            handled=scale * sum(each.handled for each in found),
            failed=scale * sum(each.failed for each in found),
        )


class Statistics:
    """Each method reads one snapshot. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def totals(self, at: datetime) -> Totals:
        """What is open at the moment, which is ``at``."""
        with self._database.read() as connection:
            statuses = {
                status: _count(connection, results, results.c.status == status)
                for status in (*_UNDECIDED, ResultStatus.PARKED)
            }
            return Totals(
                at=at,
                pending=_count(connection, deliveries, IS_PENDING),
                running=_count(connection, deliveries, IS_RUNNING),
                dead=_count(connection, deliveries, IS_DEAD),
                oldest_pending=_oldest_pending(connection),
                waiting=statuses[ResultStatus.WAITING],
                verifying=statuses[ResultStatus.VERIFYING],
                parked=statuses[ResultStatus.PARKED],
                quarantined=_count(connection, quarantine),
                overdue=_overdue(connection, at),
                bytes=size_of(connection, self._database),
            )

    def activity(self, at: datetime) -> Activity:
        """What happened in the hour before ``at``."""
        with self._database.read() as connection:
            newest = _newest(connection, results.c.id, results.c.received_at, RESULTS_READ)
            written = _newest(connection, deliveries.c.id, deliveries.c.created_at, DELIVERIES_READ)
            since = max(_minute_of(at - PERIOD), newest.since, written.since)
            recorded = _recorded(connection, newest, since)
            settled = _settled(connection, written, since)
            times = _times(connection, newest, since)
        return Activity(
            at=at,
            since=since,
            minutes=_minutes(recorded, settled, since=since, at=at),
            ended_by=_ended_by(recorded),
            times=times,
        )


def _count(connection: Connection, table: Any, *conditions: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


def _oldest_pending(connection: Connection) -> datetime | None:
    """Exact as long as no queue has more than PENDING_READ pending deliveries; else of those that are due first."""
    waited_since = func.coalesce(deliveries.c.replayed_at, deliveries.c.created_at).label("waited_since")
    first = (
        select(waited_since)
        .where(IS_PENDING, deliveries.c.queue == bindparam("of_queue"))
        .order_by(deliveries.c.next_at)
        .limit(PENDING_READ)
        .subquery()
    )
    oldest = select(func.min(first.c.waited_since))
    queues = queues_of(connection, _PENDING_QUEUES)
    return min((connection.scalar(oldest, {"of_queue": queue}) for queue in queues), default=None)


def _overdue(connection: Connection, at: datetime) -> int:
    """Jobs that are due for a query, and those that wait for another one."""
    due = _count(connection, jobs, jobs.c.next_query_at <= at)
    scheduled = (
        select(jobs.c.deadline_at)
        .where(jobs.c.next_query_at > at)
        .order_by(jobs.c.next_query_at)
        .limit(SCHEDULED_READ)
        .subquery()
    )
    return due + _count(connection, scheduled, scheduled.c.deadline_at <= at)


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest rows of a table."""

    after: int  #: their ids are greater than this
    since: datetime  #: from when on there is no other row


def _newest(connection: Connection, row_id: Any, written_at: Any, limit: int) -> _Newest:
    after = (connection.scalar(select(func.max(row_id))) or 0) - limit
    if after <= 0:
        return _Newest(0, EARLIEST)
    first = connection.scalar(select(written_at).where(row_id > after).order_by(row_id).limit(1))
    return _Newest(after, first or EARLIEST)


def _recorded(connection: Connection, newest: _Newest, since: datetime) -> Sequence[Row[Any]]:
    """The numbers of results, by minute, source, and whether they are outcomes."""
    minute = _minute(results.c.received_at)
    outcome = and_(results.c.state.in_(TERMINAL_STATES), results.c.status.not_in(_UNDECIDED))
    ended = case((outcome, 1), else_=0)
    return connection.execute(
        select(minute, results.c.source, func.count(), func.sum(ended))
        .where(results.c.id > newest.after, results.c.received_at >= since)
        .group_by(minute, results.c.source)
    ).all()


def _settled(connection: Connection, written: _Newest, since: datetime) -> Sequence[Row[Any]]:
    """The numbers of deliveries whose last attempt was settled, by minute, and how many of these are done.

    While there is a backlog, those that were handled lately are not the newest ones, but those before its beginning.
    """
    minute = _minute(deliveries.c.settled_at)
    among = deliveries.c.id > written.after
    if backlog := _first_due(connection):
        among = or_(among, deliveries.c.id.between(backlog - DELIVERIES_READ, backlog))
    done = case((deliveries.c.state == DeliveryState.DONE, 1), else_=0)
    return connection.execute(
        select(minute, func.count(), func.sum(done))
        .where(among, deliveries.c.settled_at >= since)
        .group_by(minute)
    ).all()


def _first_due(connection: Connection) -> int | None:
    """The pending delivery that is due first for a dispatcher."""
    first = (
        select(deliveries.c.next_at, deliveries.c.id)
        .where(IS_PENDING, deliveries.c.queue == bindparam("of_queue"), deliveries.c.next_at.is_not(None))
        .order_by(deliveries.c.next_at)
        .limit(1)
    )
    queues = queues_of(connection, _PENDING_QUEUES)
    rows = [connection.execute(first, {"of_queue": queue}).first() for queue in queues]
    found: int | None = min((tuple(row) for row in rows if row), default=(None, None))[1]
    return found


def _times(connection: Connection, newest: _Newest, since: datetime) -> Sequence[OutcomeTimes]:
    """Of the newest outcomes, of which OUTCOMES_READ are read at most."""
    rows = connection.execute(
        select(jobs.c.function, jobs.c.submitted_at, results.c.received_at)
        .join(jobs, jobs.c.id == results.c.job)
        .where(
            results.c.id > newest.after,
            results.c.received_at >= since,
            results.c.state.in_(TERMINAL_STATES),
            results.c.status.not_in(_UNDECIDED),
            jobs.c.submitted_at.is_not(None),
        )
        .order_by(results.c.id.desc())
        .limit(OUTCOMES_READ)
    )
    took = defaultdict[str, list[timedelta]](list)
    for function, submitted_at, received_at in rows:
        took[function].append(max(received_at - submitted_at, timedelta()))
    found = [_of_function(function, sorted(times)) for function, times in took.items()]
    return sorted(found, key=lambda each: (-each.jobs, each.function))


def _of_function(function: str, took: Sequence[timedelta]) -> OutcomeTimes:
    """``took`` in ascending order."""
    return OutcomeTimes(
        function=function,
        jobs=len(took),
        median=took[(len(took) - 1) // 2],
        p95=took[(len(took) - 1) * 95 // 100],
        longest=took[-1],
    )


def _ended_by(recorded: Iterable[Row[Any]]) -> Mapping[Source, int]:
    ended = dict.fromkeys(Source, 0)
    for _, source, _, outcomes in recorded:
        ended[Source(source)] += outcomes
    return ended


def _minutes(
    recorded: Iterable[Row[Any]], settled: Iterable[Row[Any]], *, since: datetime, at: datetime
) -> Sequence[Minute]:
    received = {minute: count for minute, source, count, _ in recorded if source == Source.CALLBACK}
    handled = {minute: (done, count - done) for minute, count, done in settled}
    first, last = (to_microseconds(each) // _MICROSECONDS for each in (since, at))
    return [
        Minute(
            at=from_microseconds(minute * _MICROSECONDS),
            received=received.get(minute, 0),
            handled=handled.get(minute, (0, 0))[0],
            failed=handled.get(minute, (0, 0))[1],
        )
        for minute in range(first, last + 1)
    ]


def _minute(column: Any) -> ColumnElement[int]:
    """The number of the minute, counted from 1970."""
    return type_coerce(column, BigInteger) // _MICROSECONDS


def _minute_of(at: datetime) -> datetime:
    return from_microseconds(to_microseconds(at) // _MICROSECONDS * _MICROSECONDS)
