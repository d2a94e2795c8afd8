"""Statements of the hot path, compiled once and then run on plain rows.

SQLAlchemy looks at every row and every value of every execution anew, which takes several times as long as SQLite
takes to carry the statement out. Its compiler is used here, its execution is not: the driver's cursor gets what the
driver takes, so instants are turned into numbers, and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, Connection, Dialect, Table, bindparam, select

from listener.store.tables import Instant, instant, microseconds

Row = Mapping[str, Any]

#: Databases limit how many values one statement takes; a batch of messages is far smaller.
MOST_ROWS = 128


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement in the words of one dialect."""

    text: str
    names: tuple[str, ...]  #: of its parameters; in the order of their marks, where these have no names
    positional: bool
    constants: Mapping[str, Any]  #: the parameters that the statement itself gives
    instants: tuple[str, ...]  #: those of the other parameters that are one

    def in_order(self, values: Iterable[Any]) -> Any:
        """The parameters as the driver takes them, from values in the order of ``names``."""
        return tuple(values) if self.positional else dict(zip(self.names, values, strict=True))

    def of(self, row: Row) -> Any:
        """The parameters as the driver takes them, from values by their names; the statement's own are added."""
        values = {**self.constants, **row}
        return tuple([values[name] for name in self.names]) if self.positional else values


def _compiled(statement: Any, dialect: Dialect, names: Sequence[str] | None = None) -> _Compiled:
    compiled = statement.compile(dialect=dialect)
    marks = tuple(compiled.positiontup if compiled.positional else names or compiled.binds)
    assert names is None or marks == tuple(names)
    open_marks = {name: mark for name, mark in compiled.binds.items() if mark.required}
    return _Compiled(
        text=compiled.string,
        names=marks,
        positional=compiled.positional,
        constants={name: value for name, value in compiled.params.items() if name not in open_marks},
        instants=tuple(name for name, mark in open_marks.items() if isinstance(mark.type, Instant)),
    )


class BulkInsert:
    """Many rows with one statement. ``build`` makes the INSERT for a dialect's name; it may return columns."""

    def __init__(self, table: Table, build: Callable[[str], Any]) -> None:
        columns = [column for column in table.columns if not column.primary_key]
        self._names = [column.name for column in columns]
        self._instants = [column.name for column in columns if isinstance(column.type, Instant)]
        self._values_of = itemgetter(*self._names)
        self._build = build
        self._statements: dict[tuple[str, int], _Compiled] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> Sequence[Any]:
        """The rows that the statement returns."""
        return [row for chunk in _chunks(rows) for row in self._run(connection, chunk)]

    def _run(self, connection: Connection, rows: Sequence[Row]) -> Sequence[Any]:
        statement = self._for(connection.dialect, len(rows))
        plain = _with_numbers(rows, self._instants)
        values = chain.from_iterable(map(self._values_of, plain))
        cursor = _carry_out(connection, statement.text, statement.in_order(values))
        returned: Sequence[Any] = cursor.fetchall()
        return returned

    def _for(self, dialect: Dialect, count: int) -> _Compiled:
        """The statement for so many rows."""
        key = (dialect.name, count)
        if key not in self._statements:
            marks = [[f"{name}_{place}" for name in self._names] for place in range(count)]
            rows: list[dict[str, Any]] = [
                {name: bindparam(mark) for name, mark in zip(self._names, row, strict=True)} for row in marks
            ]
            built = self._build(dialect.name).values(rows)
            self._statements[key] = _compiled(built, dialect, names=[mark for row in marks for mark in row])
        return self._statements[key]


class Update:
    """The same statement for each of many rows; its parameters are named by the rows' keys."""

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self._statements: dict[str, _Compiled] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> int:
        """How many rows were changed, in all."""
        dialect = connection.dialect
        if dialect.name not in self._statements:
            self._statements[dialect.name] = _compiled(self._statement, dialect)
        statement = self._statements[dialect.name]
        given = [statement.of(row) for row in _with_numbers(rows, statement.instants)]
        return int(_carry_out(connection, statement.text, given, many=True).rowcount)


class ByValues:
    """One statement about all rows with one of many values. ``build`` makes it for the marks that stand for these."""

    def __init__(self, build: Callable[[Sequence[Any]], Any]) -> None:
        self._build = build
        self._statements: dict[tuple[str, int], _Compiled] = {}

    def run(self, connection: Connection, wanted: Sequence[Any], **others: Any) -> Sequence[Any]:
        """The driver's cursors after the statement was carried out; ``others`` are its other parameters."""
        return [self._run(connection, chunk, others) for chunk in _chunks(wanted)]

    def _run(self, connection: Connection, wanted: Sequence[Any], others: Row) -> Any:
        size = 1 << (len(wanted) - 1).bit_length()  # a few sizes only, so that there are few statements
        padded = [*wanted, *[wanted[-1]] * (size - len(wanted))]
        statement = self._for(connection.dialect, size)
        values = {**dict(zip(_marks(size), padded, strict=True)), **others}
        (row,) = _with_numbers([values], statement.instants)
        return _carry_out(connection, statement.text, statement.of(row))

    def _for(self, dialect: Dialect, size: int) -> _Compiled:
        key = (dialect.name, size)
        if key not in self._statements:
            built = self._build([bindparam(mark) for mark in _marks(size)])
            self._statements[key] = _compiled(built, dialect)
        return self._statements[key]


class Select:
    """Whole rows of a table by the values of one column, which come as plain dictionaries in no order."""

    def __init__(self, column: Column[Any]) -> None:
        table = column.table
        self._by_values = ByValues(lambda marks: select(table).where(column.in_(marks)))
        self._names = [each.name for each in table.columns]
        self._instants = [each.name for each in table.columns if isinstance(each.type, Instant)]

    def run(self, connection: Connection, wanted: Iterable[Any]) -> list[dict[str, Any]]:
        """The rows that have one of these values."""
        cursors = self._by_values.run(connection, sorted(wanted))
        rows = [dict(zip(self._names, row, strict=True)) for cursor in cursors for row in cursor.fetchall()]
        for name in self._instants:
            for row in rows:
                if row[name] is not None:
                    row[name] = instant(row[name])
        return rows


@cache
def _marks(size: int) -> Sequence[str]:
    return [f"value_{place}" for place in range(size)]


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[start : start + MOST_ROWS] for start in range(0, len(rows), MOST_ROWS))


def _carry_out(connection: Connection, text: str, given: Any, *, many: bool = False) -> Any:
    """The driver's own cursor, with what came of it."""
    cursor = connection.connection.cursor()
    if many:
        cursor.executemany(text, given)
    else:
        cursor.execute(text, given)
    return cursor


def _with_numbers(rows: Iterable[Row], instants: Sequence[str]) -> list[dict[str, Any]]:
    """The rows with their instants as the database holds them."""
    numbers: dict[datetime | None, int | None] = {None: None}  # most rows of a batch have the same few
    plain = [dict(row) for row in rows]
    for row in plain:
        for name in instants:
            at = row[name]
            if at not in numbers:
                numbers[at] = microseconds(at)
            row[name] = numbers[at]
    return plain
