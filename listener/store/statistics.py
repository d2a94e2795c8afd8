"""What a store holds that is not finished, and what happened in it in the last hour: for monitoring.

``Statistics.totals`` is what is open now, ``Statistics.activity`` the last hour: per minute what was received, handled
and failed, how long jobs took from their submission to their outcome, and whether outcomes came by callback or by a
query. Both take bounded time however large the store is: what is open is counted in the indexes of the rows that are
open, and of the last hour only so many of the newest rows are read: of the log of changes, which has one row for each
transaction, and of results. Where that is less than an hour, ``Activity.since`` and ``outcomes_since`` say from when on
the figures are complete.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    bindparam,
    case,
    func,
    select,
    type_coerce,
)

from listener.core.model import TERMINAL_STATES, DeliveryState, ResultStatus, Source, Target
from listener.store import accepted, pulls
from listener.store.changes import SEPARATOR, ChangeKind
from listener.store.claims import IS_DEAD, IS_PENDING, IS_RUNNING, PENDING_QUEUES
from listener.store.database import Database
from listener.store.in_turn import queues_of
from listener.store.size import size_of
from listener.store.tables import (
    EARLIEST,
    changes,
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
#: How many open deliveries of each state are counted by handler.
OPEN_READ: Final = 5_000
#: How many of the newest rows are read for the last hour, and how many outcomes for their times.
CHANGES_READ: Final = 30_000
RESULTS_READ: Final = 20_000
OUTCOMES_READ: Final = 2_000

_MICROSECONDS: Final = 60_000_000
_UNDECIDED: Final = (ResultStatus.WAITING, ResultStatus.VERIFYING)
#: What is counted of each minute.
_SHOWN: Final = (ChangeKind.RECORDED, ChangeKind.DONE, ChangeKind.RETRY, ChangeKind.DEAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What is open at one time: deliveries, results, quarantined messages, overdue jobs; and the size of the store."""

    at: datetime
    pending: int = 0
    offered: int = 0  #: those of them that applications may pull
    running: int = 0
    dead: int = 0
    oldest_pending: datetime | None = None  #: since when the oldest pending delivery has waited
    waiting: int = 0
    verifying: int = 0
    parked: int = 0
    quarantined: int = 0
    accepted: int = 0  #: jobs that wait to be submitted
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
    received: int = 0  #: results that were recorded; copies do not count
    handled: int = 0  #: deliveries that were done
    failed: int = 0  #: attempts that failed


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
    since: datetime  #: the minutes are complete from here on: an hour ago, or later if there was too much to read
    #: One for each minute since then, also if nothing happened. The last one goes on.
    minutes: Sequence[Minute]
    outcomes_since: datetime  #: the same for outcomes: those that follow
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
                offered=pulls.count_offered(connection),
                running=_count(connection, deliveries, IS_RUNNING),
                dead=_count(connection, deliveries, IS_DEAD),
                oldest_pending=_oldest_pending(connection),
                waiting=statuses[ResultStatus.WAITING],
                verifying=statuses[ResultStatus.VERIFYING],
                parked=statuses[ResultStatus.PARKED],
                quarantined=_count(connection, quarantine),
                accepted=accepted.count(connection),
                overdue=_overdue(connection, at),
                bytes=size_of(connection, self._database),
            )

    def open_by_target(self) -> Mapping[Target, Mapping[str, int]]:
        """How many deliveries of each handler are in each open state, among at most OPEN_READ of each state."""
        with self._database.read() as connection:
            return _open_by_target(connection)

    def activity(self, at: datetime) -> Activity:
        """What happened in the hour before ``at``."""
        hour = _minute_of(at - PERIOD)
        with self._database.read() as connection:
            logged = _newest(connection, changes.c.id, changes.c.at, CHANGES_READ)
            newest = _newest(connection, results.c.id, results.c.received_at, RESULTS_READ)
            since, outcomes_since = max(hour, logged.since), max(hour, newest.since)
            changed = _changed(connection, logged, since)
            ended_by = _ended_by(connection, newest, outcomes_since)
            times = _times(connection, newest, outcomes_since)
        return Activity(
            at=at,
            since=since,
            minutes=_minutes(changed, since=since, at=at),
            outcomes_since=outcomes_since,
            ended_by=ended_by,
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
    queues = queues_of(connection, PENDING_QUEUES)
    return min((connection.scalar(oldest, {"of_queue": queue}) for queue in queues), default=None)


def _open_by_target(connection: Connection) -> Mapping[Target, Mapping[str, int]]:
    found: dict[Target, dict[str, int]] = {}
    for state, is_open in (
        (DeliveryState.PENDING, IS_PENDING),
        (DeliveryState.RUNNING, IS_RUNNING),
        (DeliveryState.DEAD, IS_DEAD),
    ):
        read = select(deliveries.c.route, deliveries.c.handler).where(is_open).limit(OPEN_READ).subquery()
        counted = select(read.c.route, read.c.handler, func.count()).group_by(read.c.route, read.c.handler)
        for route, handler, number in connection.execute(counted):
            found.setdefault(Target(route, handler), {})[state] = number
    return found


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


def _changed(connection: Connection, logged: _Newest, since: datetime) -> Mapping[tuple[int, str], int]:
    """How many rows were changed, by minute and kind of the change."""
    minute = type_coerce(changes.c.at, BigInteger) // _MICROSECONDS
    listed, kind = changes.c.row_ids, changes.c.kind
    separators = func.length(listed) - func.length(func.replace(listed, SEPARATOR, ""))
    # Most have one, unless there is much to do.
    count = case((listed.contains(SEPARATOR), separators + 1), else_=1)
    rows = connection.execute(
        select(minute, kind, func.sum(count))
        .where(changes.c.id > logged.after, changes.c.at >= since, kind.in_(_SHOWN))
        .group_by(minute, kind)
    )
    return {(row[0], row[1]): int(row[2]) for row in rows}


def _ended_by(connection: Connection, newest: _Newest, since: datetime) -> Mapping[Source, int]:
    rows = connection.execute(
        select(results.c.source, func.count()).where(*_outcomes(newest, since)).group_by(results.c.source)
    )
    return dict.fromkeys(Source, 0) | {Source(row[0]): row[1] for row in rows}


def _outcomes(newest: _Newest, since: datetime) -> Sequence[ColumnElement[bool]]:
    """Conditions on results."""
    return (
        results.c.id > newest.after,
        results.c.received_at >= since,
        results.c.state.in_(TERMINAL_STATES),
        results.c.status.not_in(_UNDECIDED),
    )


def _times(connection: Connection, newest: _Newest, since: datetime) -> Sequence[OutcomeTimes]:
    """Of the newest outcomes, of which OUTCOMES_READ are read at most."""
    rows = connection.execute(
        select(jobs.c.function, jobs.c.submitted_at, results.c.received_at)
        .join(jobs, jobs.c.id == results.c.job)
        .where(*_outcomes(newest, since), jobs.c.submitted_at.is_not(None))
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


def _minutes(changed: Mapping[tuple[int, str], int], *, since: datetime, at: datetime) -> Sequence[Minute]:
    def count(minute: int, *kinds: ChangeKind) -> int:
        return sum(changed.get((minute, kind), 0) for kind in kinds)

    first, last = (to_microseconds(each) // _MICROSECONDS for each in (since, at))
    return [
        Minute(
            at=from_microseconds(minute * _MICROSECONDS),
            received=count(minute, ChangeKind.RECORDED),
            handled=count(minute, ChangeKind.DONE),
            failed=count(minute, ChangeKind.RETRY, ChangeKind.DEAD),
        )
        for minute in range(first, last + 1)
    ]


def _minute_of(at: datetime) -> datetime:
    return from_microseconds(to_microseconds(at) // _MICROSECONDS * _MICROSECONDS)
