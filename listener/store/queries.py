"""What operators ask the store: listings in pages, the history of one job, counts. Only reads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, RowMapping, Select, and_, func, literal, or_, select, text

from listener.core.model import Attempt, Delivery, Job, JobState, Result, ResultStatus
from listener.store import attempts as kept
from listener.store import filters as narrow
from listener.store import job_matching, job_rows, result_rows
from listener.store.claims import Load, load, load_each
from listener.store.database import Database
from listener.store.filters import NO_FILTERS, Filters
from listener.store.postgres import is_postgres
from listener.store.result_rows import Recorded
from listener.store.routed_result import KnownJob
from listener.store.rows import job_of, mapping, result_of
from listener.store.searching import OWN_ROWS, Conditions, Page, Search, are_many, find
from listener.store.selects import SelectByValues
from listener.store.tables import (
    attempts,
    deliveries,
    jobs,
    quarantine,
    results,
    results_about_medium,
    results_named,
)
from listener.store.unreadable import each_of, read

Value = TypeVar("Value")

#: How many times as many attempts as results a page of a history has at most.
ATTEMPTS_EACH: Final = 10

_FINISHED: Final = SelectByValues(
    jobs.c.token, lambda found: select(jobs.c.token).where(found, jobs.c.finished_at.is_not(None))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResult:
    """A recorded result."""

    id: int
    result: Result
    queue: str
    status: ResultStatus
    received_at: datetime
    copies: int
    contradictions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHistory:
    """What the store knows about one job: everything, or a page of its results with what became of them."""

    job: Job | None
    results: Sequence[StoredResult]
    deliveries: Sequence[Delivery]
    attempts: Sequence[Attempt] = ()  #: of these deliveries, as far as they are kept; see ``Attempt``
    next: int = 0  #: the ``before`` of the page with older results; 0 if there are none


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlated:
    """What the store knows about a result that may not be recorded yet."""

    job: Job | None = None
    #: How the job was found: by the job id, the run id, the id of an activity, or our token.
    found_by: str = ""
    recorded: Recorded | None = None  #: of another result, or a copy, that has its place


class Queries:
    """Each method reads one consistent snapshot. Rows that cannot be read are logged and left out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def jobs(
        self, *, state: str = "", filters: Filters = NO_FILTERS, before: int = 0, limit: int = 50
    ) -> Page[tuple[int, Job]]:
        """Newest first, with row ids; ``before`` takes ``next`` of the previous page.

        The case of ``state`` does not matter.
        """
        return read_listed(
            self._database,
            jobs,
            lambda connection: _search_jobs(connection, state, filters),
            lambda row: (row["id"], job_of(row)),
            before=before,
            limit=limit,
        )

    def finished(self, tokens: Sequence[str]) -> Sequence[str]:
        """Which of the jobs with these tokens have ended."""
        with self._database.read() as connection:
            return [token for (token,) in _FINISHED.run(connection, tokens)]

    def overdue_waiting(self, *, at: datetime, limit: int) -> Sequence[tuple[Job, datetime]]:
        """Overdue jobs that are not due for a query yet, with the time of the next one, earliest first."""
        page = (
            select(jobs)
            .where(jobs.c.next_query_at.is_not(None), jobs.c.next_query_at > at, jobs.c.deadline_at <= at)
            .order_by(jobs.c.next_query_at)
            .limit(limit)
        )
        return read_rows(self._database, jobs, page, lambda row: (job_of(row), row["next_query_at"]))

    def delivery_counts(self, rows: Sequence[int]) -> dict[int, dict[str, int]]:
        """How far the results of these jobs (row ids) have come: how many of their deliveries are in each state, and
        how many of their results are parked or wait. Jobs without any are left out."""
        with self._database.read() as connection:
            return _delivery_counts(connection, rows)

    def names_starting_with(self, beginning: str, *, limit: int) -> Sequence[str]:
        """Ids, run ids, references and tokens that start like this, one for each job."""
        with self._database.read() as connection:
            return _names_starting_with(connection, beginning, limit)

    def jobs_starting_with(self, beginning: str, *, limit: int) -> Sequence[str]:
        """Ids, references and tokens that start like this, one for each job."""
        with self._database.read() as connection:
            return _jobs_starting_with(connection, beginning, limit)

    def history(self, name: str, *, before: int = 0, limit: int = 0) -> JobHistory | None:
        """The job with this job id, run id, reference or token; None if nothing is known about it.

        With ``limit``, only so many of its results, the newest ones before the one with the id ``before``, and no more
        than ATTEMPTS_EACH as many attempts, the newest ones.
        """
        part = _Part(before, limit)
        return read(
            self._database,
            lambda connection: _history(connection, name, part, _all_rows, load),
            lambda connection: _history(connection, name, part, _readable_rows, load_each),
        )

    def with_outputs(self, name: str) -> Result | None:
        """The oldest result of the job with this name about whose outputs MPS has been asked."""
        with self._database.read() as connection:
            known = job_rows.find(connection, name)
        asked = (or_(*_belongs_to(known, name)), results.c.outputs.is_not(None))
        # A sum, lest the database reads the results of all jobs in the order of their ids.
        page = select(results).where(*asked).order_by(results.c.id + 0).limit(1)
        found = read_rows(self._database, results, page, _stored_result)
        return found[0].result if found else None

    def is_known(self, name: str) -> bool:
        """Whether ``history`` finds anything under this name."""
        with self._database.read() as connection:
            known = job_rows.find(connection, name)
            return known is not None or _any_result(connection, _belongs_to(None, name))

    def any_result_in(self, name: str, statuses: Sequence[ResultStatus]) -> bool:
        """Whether any result of the job with this name has one of these statuses."""
        with self._database.read() as connection:
            belongs = _belongs_to(job_rows.find(connection, name), name)
            # Without the empty text, SQLite reads all results of these statuses.
            in_status = results.c.status.concat("").in_(statuses)
            return _any_result(connection, [and_(each, in_status) for each in belongs])

    def results(
        self,
        *,
        status: ResultStatus | None = None,
        filters: Filters = NO_FILTERS,
        before: int = 0,
        limit: int = 50,
    ) -> Page[StoredResult]:
        """Newest first; ``before`` takes ``next`` of the previous page."""
        of_status = (results.c.status == status,) if status else ()
        search = narrow.search_results(filters, indexed=of_status)
        return read_listed(
            self._database, results, lambda _: search, _stored_result, before=before, limit=limit
        )

    def result(self, row_id: int) -> StoredResult | None:
        """The result with this id of a row."""
        wanted = select(results).where(results.c.id == row_id)
        found = read_rows(self._database, results, wanted, _stored_result)
        return found[0] if found else None

    def jobs_of(self, rows: Sequence[int]) -> dict[int, Job]:
        """The jobs of these results, by the ids of the results' rows, as far as they are known."""
        named = select(results.c.id, results.c.job).where(results.c.id.in_(rows), results.c.job.is_not(None))
        with self._database.read() as connection:
            job_of_result = {row.id: row.job for row in connection.execute(named)}
        page = select(jobs).where(jobs.c.id.in_(set(job_of_result.values())))
        known = dict(read_rows(self._database, jobs, page, lambda row: (row["id"], job_of(row))))
        return {result: known[job] for result, job in job_of_result.items() if job in known}

    def deliveries_of(self, row: int) -> Sequence[Delivery]:
        """The deliveries of the result with this id of a row, oldest first."""
        page = select(deliveries.c.id).where(deliveries.c.result == row).order_by(deliveries.c.id)
        return read(
            self._database,
            lambda connection: load(connection, list(connection.scalars(page))),
            lambda connection: load_each(connection, list(connection.scalars(page))),
        )

    def result_of_delivery(self, delivery: int) -> int | None:
        """The id of the row of its result."""
        with self._database.read() as connection:
            return connection.scalar(select(deliveries.c.result).where(deliveries.c.id == delivery))

    def correlate(self, result: Result) -> Correlated:
        """The job that recording this result would find, and what is recorded in its place. Nothing is changed."""
        with self._database.read() as connection:
            known, found_by = job_matching.peek(connection, result)
            recorded = result_rows.recorded_under(connection, {result.dedup_key})
        return Correlated(
            job=known.job if known else None, found_by=found_by, recorded=recorded.get(result.dedup_key)
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """How many rows there are of each kind and state. Reads whole tables: for operators, not for monitoring."""
        with self._database.read() as connection:
            return {
                "jobs": _count_by(connection, jobs.c.state),
                "results": _count_by(connection, results.c.status),
                "deliveries": _count_by(connection, deliveries.c.state),
                "quarantine": {"messages": connection.scalar(select(func.count(quarantine.c.id))) or 0},
                "copies": {
                    "duplicates": connection.scalar(select(func.coalesce(func.sum(results.c.copies - 1), 0)))
                    or 0
                },
            }


Read = Callable[[Connection, Any, Select[Any], Callable[[RowMapping], Value]], list[Value]]
"""Reads a page of rows: ``_all_rows``, or ``_readable_rows``."""


def read_rows(
    database: Database, table: Any, page: Select[Any], convert: Callable[[RowMapping], Value]
) -> list[Value]:
    """The converted rows of a page. Those that cannot be read are logged and left out."""
    return read(
        database,
        lambda connection: _all_rows(connection, table, page, convert),
        lambda connection: _readable_rows(connection, table, page, convert),
    )


def read_listed(
    database: Database,
    table: Any,
    search: Callable[[Connection], Search],
    convert: Callable[[RowMapping], Value],
    *,
    before: int,
    limit: int,
) -> Page[Value]:
    """The converted rows of a page of a list. Those that cannot be read are logged and left out."""

    def all_rows(connection: Connection) -> Page[Value]:
        found = find(connection, select(table), table, search(connection), before=before, limit=limit)
        return found.of(convert(mapping(row)) for row in found)

    def readable_rows(connection: Connection) -> Page[Value]:
        found = find(connection, select(table.c.id), table, search(connection), before=before, limit=limit)
        return found.of(_each_readable(connection, table, [row.id for row in found], convert))

    return read(database, all_rows, readable_rows)


def _all_rows(
    connection: Connection, _table: Any, page: Select[Any], convert: Callable[[RowMapping], Value]
) -> list[Value]:
    return [convert(mapping(row)) for row in connection.execute(page)]


def _readable_rows(
    connection: Connection, table: Any, page: Select[Any], convert: Callable[[RowMapping], Value]
) -> list[Value]:
    ids = list(connection.scalars(page.with_only_columns(table.c.id)))
    return _each_readable(connection, table, ids, convert)


def _each_readable(
    connection: Connection, table: Any, ids: Sequence[int], convert: Callable[[RowMapping], Value]
) -> list[Value]:
    def one(row_id: int) -> Value:
        return convert(mapping(connection.execute(select(table).where(table.c.id == row_id)).one()))

    return each_of(connection, table, ids, one)


@dataclass(frozen=True, slots=True)
class _Part:
    """Which results of a job are wanted."""

    before: int  #: 0: the newest ones
    limit: int  #: 0: all


def _history(
    connection: Connection, name: str, part: _Part, rows: Read[Any], load_deliveries: Load
) -> JobHistory | None:
    known = job_rows.find(connection, name)
    belongs = _belongs_to(known, name)
    newest = _newest_results(connection, belongs, part)
    wanted = newest[: part.limit] if part.limit else newest
    page = select(results).where(results.c.id.in_(wanted)).order_by(results.c.id)
    stored = rows(connection, results, page, _stored_result)
    if known is None and not stored and not (part.before and _any_result(connection, belongs)):
        return None
    of_results = deliveries.c.result.in_([entry.id for entry in stored])
    ids = list(connection.scalars(select(deliveries.c.id).where(of_results).order_by(deliveries.c.id)))
    attempted = kept.of_deliveries(ids, newest=part.limit * ATTEMPTS_EACH)
    return JobHistory(
        job=known.job if known else None,
        results=stored,
        deliveries=load_deliveries(connection, ids),
        attempts=rows(connection, attempts, attempted, kept.attempt_of),
        next=wanted[-1] if len(newest) > len(wanted) else 0,
    )


def _newest_results(connection: Connection, belongs: Conditions, part: _Part) -> Sequence[int]:
    """The ids of the wanted results, newest first, and of one more if there is one.

    Each condition has an index of its own. SQLite reads only so many rows of it; PostgreSQL must not read the newest
    results of all jobs instead, whose ids are in this order already.
    """
    most = part.limit + 1 if part.limit else None
    row_id = results.c.id + 0 if is_postgres(connection) else results.c.id
    found = {
        row
        for condition in belongs
        for row in connection.scalars(
            select(results.c.id)
            .where(condition, *((results.c.id < part.before,) if part.before else ()))
            .order_by(row_id.desc())
            .limit(most)
        )
    }
    return sorted(found, reverse=True)[:most]


def _any_result(connection: Connection, belongs: Conditions) -> bool:
    return any(connection.scalar(select(results.c.id).where(each).limit(1)) for each in belongs)


def _belongs_to(known: KnownJob | None, name: str) -> Conditions:
    """Conditions that together find the results of a known job, or else of the job, workflow or medium with this id."""
    if known is None:
        return (*results_named(name), results_about_medium(name))
    return (*results_named(known.job.job_id or known.job.token), results.c.job == known.id)


def _delivery_counts(connection: Connection, rows: Sequence[int]) -> dict[int, dict[str, int]]:
    if not rows:
        return {}
    of_rows = results.c.job.in_(rows)
    # Without the empty text, SQLite reads all results of these statuses.
    status = results.c.status.concat("")
    undelivered = (
        select(results.c.job, results.c.status, func.count())
        .where(of_rows, status.in_((ResultStatus.WAITING, ResultStatus.PARKED)))
        .group_by(results.c.job, results.c.status)
    )
    delivered = (
        select(results.c.job, deliveries.c.state, func.count())
        .join(deliveries, deliveries.c.result == results.c.id)
        .where(of_rows)
        .group_by(results.c.job, deliveries.c.state)
    )
    found: dict[int, dict[str, int]] = {}
    for job, state, number in (*connection.execute(undelivered), *connection.execute(delivered)):
        found.setdefault(job, {})[state] = number
    return found


def _names_starting_with(connection: Connection, beginning: str, limit: int) -> Sequence[str]:
    """Several names of one job count once, and a result whose job is known not at all."""
    found = list(_jobs_starting_with(connection, beginning, limit))
    nothing = literal("", literal_execute=True)
    columns = results.c
    for name, indexed in (
        (columns.dedup_key, (columns.dedup_key == columns.job_id,)),
        (columns.job_id, (columns.job_id != columns.dedup_key, columns.job_id != nothing)),
        (columns.run_id, (columns.run_id != nothing,)),
        (columns.media_id, (columns.media_id != nothing,)),
    ):
        unknown = select(name).distinct().where(*indexed, columns.job.is_(None))
        found += connection.scalars(_starting_with(connection, unknown, name, beginning).limit(limit))
    return sorted(set(found))[:limit]


def _jobs_starting_with(connection: Connection, beginning: str, limit: int) -> Sequence[str]:
    """One name of each job."""
    found: dict[int, str] = {}
    for name in (jobs.c.job_id, jobs.c.reference, jobs.c.token):
        named = _starting_with(connection, select(jobs.c.id, name), name, beginning).limit(limit)
        for row, full_name in connection.execute(named):
            found.setdefault(row, full_name)
    return sorted(found.values())[:limit]


def _starting_with(connection: Connection, named: Select[Any], name: Any, beginning: str) -> Select[Any]:
    """Those whose name starts like this, in the order of code points, as the index of this name has them."""
    end = beginning + chr(sys.maxunicode)
    if is_postgres(connection):
        within = and_(name.op("~>=~")(beginning), name.op("~<=~")(end))
        return named.where(within).order_by(text(f"{name} USING ~<~"))
    return named.where(name >= beginning, name <= end).order_by(name)


def _search_jobs(connection: Connection, state: str, filters: Filters) -> Search:
    """One index leads. Without the empty text that is appended, the database may take that of more rows."""
    search = narrow.search_jobs(connection, filters)
    if not state:
        return search
    known = {each.casefold(): each for each in JobState}
    state = known.get(state.casefold(), state)
    in_state = jobs.c.state == state
    if not search.indexed:
        return replace(search, indexed=(in_state,))
    if not are_many(connection, select(jobs.c.id).where(*search.indexed)):
        return replace(search, others=(*search.others, jobs.c.state.concat("") == state))
    function = func.lower(jobs.c.function).concat("") == filters.function.lower()
    others = (*search.others, function)
    return replace(search, indexed=(in_state,), others=others, rows=search.rows or OWN_ROWS)


def _count_by(connection: Connection, column: Any) -> dict[str, int]:
    counted = connection.execute(select(column, func.count()).group_by(column))
    return {row[0]: row[1] for row in counted}


def _stored_result(row: RowMapping) -> StoredResult:
    return StoredResult(
        id=row["id"],
        result=result_of(row),
        queue=row["queue"],
        status=ResultStatus(row["status"]),
        received_at=row["received_at"],
        copies=row["copies"],
        contradictions=row["contradictions"],
    )
