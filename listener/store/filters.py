"""What a listing can be narrowed to, as conditions on each table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select

from listener.store.tables import deliveries, jobs, quarantine, results

Conditions = Sequence[ColumnElement[bool]]
#: At the end of a reference: any continuation matches.
WILDCARD: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Only rows that match all fields; an empty field matches every row."""

    function: str = ""  #: in any case
    route: str = ""  #: of at least one delivery
    reference: str = ""  #: of the job; ``talk-*`` matches all that begin with ``talk-``
    since: datetime | None = None  #: at this time or later
    until: datetime | None = None  #: before this time

    @property
    def given(self) -> Sequence[str]:
        """The names of the fields that are not empty."""
        return [each.name for each in fields(self) if getattr(self, each.name)]


NO_FILTERS: Final = Filters()


def of_jobs(filters: Filters) -> Conditions:
    """Conditions on jobs; the time is that of their creation."""
    return (*_in_job(filters), *_routed_job(filters.route), *_within(jobs.c.created_at, filters))


def of_results(filters: Filters) -> Conditions:
    """Conditions on results; the time is that of their receipt."""
    conditions = [*_of_result(filters), *_within(results.c.received_at, filters)]
    if filters.route:
        of_route = deliveries.c.route == filters.route
        conditions.append(
            select(deliveries.c.id).where(deliveries.c.result == results.c.id, of_route).exists()
        )
    return conditions


def of_deliveries(filters: Filters, *, time: Any = deliveries.c.created_at) -> Conditions:
    """Conditions on deliveries; ``time`` is the column that ``since`` and ``until`` refer to."""
    conditions = list(_within(time, filters))
    if filters.route:
        conditions.append(deliveries.c.route == filters.route)
    if of_result := _of_result(filters):
        conditions.append(
            select(results.c.id).where(results.c.id == deliveries.c.result, *of_result).exists()
        )
    return conditions


def of_quarantine(filters: Filters) -> Conditions:
    """Conditions on quarantined messages, of which nothing but their time is known."""
    return _within(quarantine.c.received_at, filters)


def starts_with(column: Any, beginning: str) -> ColumnElement[bool]:
    """Case matters, and no character is special, unlike with LIKE."""
    return func.substr(column, 1, len(beginning)) == beginning


def _in_job(filters: Filters) -> Conditions:
    return (*_function(jobs.c.function, filters), *_reference(filters.reference))


def _of_result(filters: Filters) -> Conditions:
    conditions = list(_function(results.c.function, filters))
    if named := _reference(filters.reference):
        conditions.append(select(jobs.c.id).where(jobs.c.id == results.c.job, *named).exists())
    return conditions


def _routed_job(route: str) -> Conditions:
    if not route:
        return ()
    of_job = results.c.job == jobs.c.id
    routed = select(results.c.id).join(deliveries, deliveries.c.result == results.c.id)
    return (routed.where(of_job, deliveries.c.route == route).exists(),)


def _function(column: Any, filters: Filters) -> Conditions:
    return (func.lower(column) == filters.function.lower(),) if filters.function else ()


def _reference(reference: str) -> Conditions:
    if not reference:
        return ()
    if reference.endswith(WILDCARD):
        return (starts_with(jobs.c.reference, reference.removesuffix(WILDCARD)),)
    return (jobs.c.reference == reference,)


def _within(column: Any, filters: Filters) -> Conditions:
    conditions: list[ColumnElement[bool]] = []
    if filters.since:
        conditions.append(column >= filters.since)
    if filters.until:
        conditions.append(column < filters.until)
    return conditions
