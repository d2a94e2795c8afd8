"""Rows that were written while the clock was ahead: what they wait for would be held up until that time comes again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, case, func, literal, type_coerce, update

from listener.core.model import ResultStatus
from listener.store.claims import IS_PENDING
from listener.store.postgres import notify
from listener.store.tables import UtcTimestamp, deliveries, jobs, results, to_microseconds

#: Replicas' clocks may differ a little: only what was written in a later future was written by a wrong clock.
MARGIN: Final = timedelta(minutes=1)
#: No pause before the next question about a callback is longer, and no claim for it.
LONGEST_PAUSE: Final = timedelta(minutes=1)


def reschedule(connection: Connection, *, at: datetime, longest_query_wait: timedelta) -> int:
    """See ``ScheduleStore.reschedule_future``."""
    statements = (
        _deliveries(deliveries.c.next_at, at),
        _deliveries(deliveries.c.pull_at, at),
        _offers(at),
        _waiting_results(at),
        _verifications(at),
        _jobs_from_the_future(at),
        _queries(at, longest=longest_query_wait),
    )
    changed = sum(connection.execute(statement).rowcount for statement in statements)
    if changed:
        notify(connection)
    return changed


def _deliveries(due: Column[Any], at: datetime) -> Any:
    # settled_at is when the last attempt ended, and so when the pause before the next one began.
    since = func.coalesce(deliveries.c.settled_at, deliveries.c.replayed_at, deliveries.c.created_at)
    return (
        update(deliveries)
        .where(IS_PENDING, due > at + MARGIN, since > at + MARGIN)
        .values({due: _after_same_wait(due, since, at), deliveries.c.settled_at: at})
    )


def _offers(at: datetime) -> Any:
    """Those that no application has pulled yet: they have an owner, and wait for nothing."""
    offered_later = (deliveries.c.owner.is_not(None), deliveries.c.pull_at > at + MARGIN)
    return update(deliveries).where(IS_PENDING, *offered_later).values(pull_at=at)


def _waiting_results(at: datetime) -> Any:
    since = results.c.received_at
    return (
        update(results)
        .where(results.c.wait_until > at + MARGIN, since > at + MARGIN)
        .values(wait_until=_after_same_wait(results.c.wait_until, since, at), received_at=at)
    )


def _verifications(at: datetime) -> Any:
    """Questions about callbacks that are further ahead than any pause is long."""
    verifying = results.c.status == ResultStatus.VERIFYING
    due = results.c.wait_until
    return update(results).where(verifying, due > at + LONGEST_PAUSE + MARGIN).values(wait_until=at)


def _jobs_from_the_future(at: datetime) -> Any:
    since = jobs.c.created_at
    return (
        update(jobs)
        .where(jobs.c.next_query_at > at + MARGIN, since > at + MARGIN)
        .values(
            next_query_at=_after_same_wait(jobs.c.next_query_at, since, at),
            deadline_at=_after_same_wait(jobs.c.deadline_at, since, at),
            created_at=at,
        )
    )


def _queries(at: datetime, *, longest: timedelta) -> Any:
    """Queries about overdue jobs that are further ahead than any pause is long."""
    due = jobs.c.next_query_at
    return (
        update(jobs)
        .where(due > at + longest + MARGIN, due > jobs.c.deadline_at)
        .values(
            next_query_at=case((jobs.c.deadline_at > at, jobs.c.deadline_at), else_=literal(at, UtcTimestamp))
        )
    )


def _after_same_wait(until: Any, since: Any, at: datetime) -> Any:
    """``at`` plus the time between the two columns; in microseconds, as they are stored."""
    wait = type_coerce(until, BigInteger) - type_coerce(since, BigInteger)
    return type_coerce(wait + to_microseconds(at), UtcTimestamp)
