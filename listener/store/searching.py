"""Pages of rows, newest first, for each of which only so many rows are looked at: the next page goes on from there.

Filters that no index serves read older rows until a page is full, so that one without matches would read the whole
table: seconds for a million rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, CompoundSelect, Connection, Select, Table, func, select

from listener.store.database import Database

Value = TypeVar("Value")
Other = TypeVar("Other")
Conditions = Sequence[ColumnElement[bool]]

#: How many rows are looked at for one page if their own columns tell whether they match,
OWN_ROWS: Final = 120_000
#: and if rows of other tables tell it.
JOINED_ROWS: Final = 40_000
#: or, on PostgreSQL, rows of two other tables: it takes three times as long as SQLite for them.
TWICE_JOINED_ROWS: Final = 20_000
#: Of rows that an index picks, so many times fewer: each may be in another page of the file.
SCATTERED: Final = 4


class Page(list[Value]):
    """Rows, newest first, and where to go on."""

    def __init__(self, rows: Iterable[Value] = (), *, next: int = 0) -> None:
        """``next``: the ``before`` of the following page, 0 at the end. There may be one although this page is not
        full, or empty: if it looked at as many rows as it may, or left out rows that cannot be read."""
        super().__init__(rows)
        self.next = next

    def of(self, rows: Iterable[Other]) -> Page[Other]:
        """Other rows in the place of these."""
        return Page(rows, next=self.next)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How the rows of a list are found."""

    #: An index has the rows that meet these in the order of their ids.
    indexed: Conditions = ()
    #: Conditions on ids alone.
    bounds: Conditions = ()
    #: Conditions that are verified row by row.
    others: Conditions = ()
    #: For how many rows these are verified for one page, at most, see SCATTERED; 0: as many as there are.
    rows: int = 0


def find(
    connection: Connection, listing: Select[Any], table: Any, search: Search, *, before: int, limit: int
) -> Page[Any]:
    """A page of ``listing``, which selects from ``table``, its id among others; ``before`` is ``next`` of the page
    before, 0 for the first one."""
    after = _searched_to(connection, table, search, before) if search.rows else 0
    where = (*search.indexed, *search.bounds, *search.others, *_between(table, after, before))
    found = connection.execute(listing.where(*where).order_by(table.c.id.desc()).limit(limit)).all()
    if len(found) == limit:
        return Page(found, next=found[-1].id)
    return Page(found, next=after + 1 if after and _any_left(connection, table, search, after) else 0)


def _searched_to(connection: Connection, table: Any, search: Search, before: int) -> int:
    """The rows of the page have greater ids; 0 if all rows may be looked at."""
    candidates = _candidates(table, search, before)
    if search.indexed:
        return connection.scalar(candidates.offset(max(1, search.rows // SCATTERED))) or 0
    newest = connection.scalar(candidates) or 0
    return max(0, newest - search.rows)  # ids have gaps, so that there are no more rows than that


def _any_left(connection: Connection, table: Any, search: Search, after: int) -> bool:
    return connection.scalar(_candidates(table, search, after + 1)) is not None


def _candidates(table: Any, search: Search, before: int) -> Select[Any]:
    where = (*search.indexed, *search.bounds, *_between(table, 0, before))
    return select(table.c.id).where(*where).order_by(table.c.id.desc()).limit(1)


def _between(table: Any, after: int, before: int) -> Conditions:
    return (*((table.c.id > after,) if after else ()), *((table.c.id < before,) if before else ()))


def are_many(connection: Connection, ids: Select[Any] | CompoundSelect[Any]) -> bool:
    """Whether this statement, which indexes serve, finds more rows than are looked at for one page."""
    some = ids.limit(JOINED_ROWS + 1).subquery()
    return (connection.scalar(select(func.count()).select_from(some)) or 0) > JOINED_ROWS


def existing(
    database: Database, table: Table, ids: Sequence[int], *conditions: ColumnElement[bool]
) -> Sequence[int]:
    """Those of these ids, in their order, whose rows meet the conditions. One query, which reads nothing else."""
    with database.read() as connection:
        found = set(connection.scalars(select(table.c.id).where(table.c.id.in_(ids), *conditions)))
    return [row for row in ids if row in found]
