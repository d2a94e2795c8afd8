"""What a listing can be narrowed to, as a search in each table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, false, func, or_, select

from listener.core.job_kinds import IPRODUCTION, kind_of_type
from listener.store.postgres import is_postgres
from listener.store.searching import JOINED_ROWS, OWN_ROWS, TWICE_JOINED_ROWS, Conditions, Search
from listener.store.tables import deliveries, jobs, quarantine, results

#: At the end of a reference: any continuation matches.
WILDCARD: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Only rows that match all fields; an empty field matches every row."""

    function: str = ""  #: in any case
    kind: str = ""  #: of the job, or the type of an event; in any case
    route: str = ""  #: of at least one delivery
    reference: str = ""  #: of the job; ``talk-*`` matches all that begin with ``talk-``
    queue: str = ""  #: the name of the queue that the result came from
    result_state: str = ""  #: what the result reports; of a job, at least one of its results
    since: datetime | None = None  #: at this time or later
    until: datetime | None = None  #: before this time

    @property
    def given(self) -> Sequence[str]:
        """The names of the fields that are not empty."""
        return [each.name for each in fields(self) if getattr(self, each.name)]


NO_FILTERS: Final = Filters()
#: How many jobs are many, see ``_among_rows``,
MANY_ROWS: Final = 10_000
#: and how many of their times are read for the last of them.
TIMES_READ: Final = 700_000


def search_jobs(connection: Connection, filters: Filters) -> Search:
    """Of jobs; the time is that of their creation."""
    own = (
        *_within(jobs.c.created_at, filters),
        *((_is_job_of(filters.kind),) if filters.kind else ()),
    )
    joined = (*_routed_job(filters.route), *_reported_job(filters))
    named = _reference(filters.reference)
    is_far = bool(filters.route) and is_postgres(connection)
    if _is_exact(filters.reference):
        return Search(others=(*named, *_function(jobs.c.function, filters), *own, *joined))
    return Search(
        indexed=_function(jobs.c.function, filters),
        bounds=_among_rows(connection, filters),
        others=(*named, *own, *joined),
        rows=TWICE_JOINED_ROWS if is_far else _rows((*named, *own), joined),
    )


def _among_rows(connection: Connection, filters: Filters) -> Conditions:
    """Bounds on the ids of jobs, from the index of their times: a list in the order of ids begins where the first may
    be, and ends where none can follow.

    Where many were created since then, the list is filled soon, and finding their first id would take longer. It is
    filled soon, too, where only a few were created after the time that ends it.
    """
    created_at = jobs.c.created_at
    row_id = jobs.c.id + 0  # a sum, lest the database looks for the first or the last one in the order of ids
    conditions: list[ColumnElement[bool]] = []
    if filters.since:
        newer = created_at >= filters.since
        if not _has_more(connection, newer, MANY_ROWS):
            first = connection.scalar(select(func.min(row_id)).where(newer))
            conditions.append(jobs.c.id >= first if first else false())
    if filters.until:
        older = created_at < filters.until
        is_far = _has_more(connection, created_at >= filters.until, MANY_ROWS)
        if is_far and not _has_more(connection, older, TIMES_READ):
            last = connection.scalar(select(func.max(row_id)).where(older))
            conditions.append(jobs.c.id <= last if last else false())
    return conditions


def _has_more(connection: Connection, condition: ColumnElement[bool], rows: int) -> bool:
    """Whether more jobs than so many meet a condition on their time; the index is read no further."""
    beyond = select(jobs.c.id).where(condition).order_by(jobs.c.created_at, jobs.c.id).offset(rows).limit(1)
    return connection.scalar(beyond) is not None


def search_results(filters: Filters, *, indexed: Conditions = ()) -> Search:
    """Of results; the time is that of their receipt. An index serves the conditions ``indexed``."""
    own, joined = (
        [*_own_of_result(filters), *_within(results.c.received_at, filters)],
        _joined_of_result(filters),
    )
    if filters.route:
        of_route = deliveries.c.route == filters.route
        joined.append(_any(select(deliveries.c.id).where(deliveries.c.result == results.c.id, of_route)))
    rows = 0 if _is_exact(filters.reference) else _rows(own, joined)
    return Search(indexed=indexed, others=(*own, *joined), rows=rows)


def search_deliveries(
    filters: Filters,
    *,
    indexed: Conditions = (),
    indexed_by_route: bool = False,
    others: Conditions = (),
    time: Any = deliveries.c.created_at,
) -> Search:
    """Of deliveries that meet both conditions; an index serves those that are ``indexed``, perhaps together with the
    route.

    ``time`` is the column that ``since`` and ``until`` refer to.
    """
    own: list[ColumnElement[bool]] = [*others, *_within(time, filters)]
    joined: list[ColumnElement[bool]] = []
    if filters.route:
        of_route = deliveries.c.route == filters.route
        indexed = (*indexed, *((of_route,) if indexed_by_route else ()))
        own += [] if indexed_by_route else [of_route]
    of_result = (*_own_of_result(filters), *_joined_of_result(filters))
    if _is_exact(filters.reference):
        joined.append(deliveries.c.result.in_(select(results.c.id).where(*of_result)))
        return Search(indexed=indexed, others=(*own, *joined))
    if of_result:
        joined.append(_any(select(results.c.id).where(results.c.id == deliveries.c.result, *of_result)))
    return Search(indexed=indexed, others=(*own, *joined), rows=_rows(own, joined))


def search_quarantine(filters: Filters) -> Search:
    """Of quarantined messages, of which nothing but their queue and their time is known."""
    # Without the empty text, SQLite would sort all messages of the queue.
    of_queue = (quarantine.c.queue.concat("") == filters.queue,) if filters.queue else ()
    own = (*of_queue, *_within(quarantine.c.received_at, filters))
    return Search(others=own, rows=_rows(own, ()))


def _rows(own: Conditions, joined: Conditions) -> int:
    """For how many rows to verify these for one page."""
    if joined:
        return JOINED_ROWS
    return OWN_ROWS if own else 0


def _any(related: Select[Any]) -> ColumnElement[bool]:
    """Whether a row has related rows, which are looked up for each row that is looked at.

    Without the OFFSET, PostgreSQL may join the tables instead, and read all their rows for a part of one of them.
    """
    return related.offset(0).exists()


def starts_with(column: Any, beginning: str) -> ColumnElement[bool]:
    """Case matters, and no character is special, unlike with LIKE."""
    return func.substr(column, 1, len(beginning)) == beginning


def _own_of_result(filters: Filters) -> list[ColumnElement[bool]]:
    """Conditions that the row of a result alone tells."""
    return [*_function(results.c.function, filters), *_reported(filters)]


def _joined_of_result(filters: Filters) -> list[ColumnElement[bool]]:
    """Conditions that the row of its job tells."""
    conditions: list[ColumnElement[bool]] = []
    if filters.kind:
        conditions.append(_is_result_of(filters.kind))
    if named := _reference(filters.reference):
        of_reference = select(jobs.c.id).where(*named)
        if _is_exact(filters.reference):
            conditions.append(results.c.job == of_reference.scalar_subquery())
        else:
            conditions.append(_any(of_reference.where(jobs.c.id == results.c.job)))
    return conditions


def _reported(filters: Filters) -> Conditions:
    """Conditions on what a message itself is: where it came from, and the state that it reports."""
    conditions: list[ColumnElement[bool]] = []
    if filters.queue:
        conditions.append(results.c.queue == filters.queue)
    if filters.result_state:
        conditions.append(func.lower(results.c.state) == filters.result_state.lower())
    return conditions


def _reported_job(filters: Filters) -> Conditions:
    if not (reported := _reported(filters)):
        return ()
    return (_any(select(results.c.id).where(results.c.job == jobs.c.id, *reported)),)


def _is_job_of(kind: str) -> ColumnElement[bool]:
    known = kind_of_type(kind)
    named = func.lower(jobs.c.kind) == (known.name if known else kind).lower()
    # Releases before kinds were stored had no other jobs with functions.
    return or_(named, and_(jobs.c.kind == "", jobs.c.function != "")) if known is IPRODUCTION else named


def _is_result_of(kind: str) -> ColumnElement[bool]:
    known = kind_of_type(kind)
    types = {name.lower() for name in ((known.name, *known.types) if known else (kind,))}
    of_job = _any(select(jobs.c.id).where(jobs.c.id == results.c.job, _is_job_of(kind)))
    return or_(func.lower(results.c.type).in_(types), and_(results.c.type == "", of_job))


def _routed_job(route: str) -> Conditions:
    if not route:
        return ()
    of_job = results.c.job == jobs.c.id
    routed = select(results.c.id).join(deliveries, deliveries.c.result == results.c.id)
    return (_any(routed.where(of_job, deliveries.c.route == route)),)


def _function(column: Any, filters: Filters) -> Conditions:
    return (func.lower(column) == filters.function.lower(),) if filters.function else ()


def _is_exact(reference: str) -> bool:
    """Whether it names one job, which an index finds."""
    return bool(reference) and not reference.endswith(WILDCARD)


def _reference(reference: str) -> Conditions:
    if not reference:
        return ()
    if _is_exact(reference):
        return (jobs.c.reference == reference,)
    return (starts_with(jobs.c.reference, reference.removesuffix(WILDCARD)),)


def _within(column: Any, filters: Filters) -> Conditions:
    conditions: list[ColumnElement[bool]] = []
    if filters.since:
        conditions.append(column >= filters.since)
    if filters.until:
        conditions.append(column < filters.until)
    return conditions
