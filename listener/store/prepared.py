"""Statements of the hot path, compiled once and then run on plain rows.

SQLAlchemy looks at every row and every value of every execution anew, which takes several times as long as SQLite
takes to carry the statement out. Its compiler is used here, its execution is not; the rows must hold what the driver
takes, so instants are turned into numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Table, bindparam

from listener.store.tables import Instant, microseconds

Row = Mapping[str, Any]

#: Databases limit how many values one statement takes; a batch of messages is far smaller.
MOST_ROWS = 128


class Insert:
    """Many rows with one statement. ``build`` makes the INSERT for a dialect's name; it may return columns."""

    def __init__(self, table: Table, build: Callable[[str], Any]) -> None:
        columns = [column for column in table.columns if not column.primary_key]
        self._names = [column.name for column in columns]
        self._instants = [column.name for column in columns if isinstance(column.type, Instant)]
        self._values_of = itemgetter(*self._names)
        self._build = build
        self._compiled: dict[tuple[str, int], Any] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> Sequence[Any]:
        """The rows that the statement returns."""
        chunks = (rows[start : start + MOST_ROWS] for start in range(0, len(rows), MOST_ROWS))
        return [row for chunk in chunks for row in self._run(connection, chunk)]

    def _run(self, connection: Connection, rows: Sequence[Row]) -> Sequence[Any]:
        compiled, marks = self._for(connection, len(rows))
        values = chain.from_iterable(self._values_of(_with_numbers(row, self._instants)) for row in rows)
        given = tuple(values) if compiled.positional else dict(zip(marks, values, strict=True))
        return connection.exec_driver_sql(compiled.string, given).fetchall()

    def _for(self, connection: Connection, count: int) -> Any:
        """The statement for so many rows, and its marks: row by row, in the order of the columns."""
        key = (connection.dialect.name, count)
        if key not in self._compiled:
            marks = [f"{name}_{place}" for place in range(count) for name in self._names]
            rows: list[dict[str, Any]] = [
                {name: bindparam(f"{name}_{place}") for name in self._names} for place in range(count)
            ]
            compiled = self._build(connection.dialect.name).values(rows).compile(dialect=connection.dialect)
            assert not compiled.positional or compiled.positiontup == marks
            self._compiled[key] = (compiled, marks)
        return self._compiled[key]


class Update:
    """The same statement for each of many rows; its parameters are named by the rows' keys."""

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self._compiled: dict[str, Any] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> int:
        """How many rows were changed, in all."""
        dialect = connection.dialect
        if dialect.name not in self._compiled:
            self._compiled[dialect.name] = self._statement.compile(dialect=dialect)
        compiled = self._compiled[dialect.name]
        instants = [name for name, mark in compiled.binds.items() if isinstance(mark.type, Instant)]
        given = [compiled.params | _with_numbers(row, instants) for row in rows]
        if compiled.positional:
            in_order = itemgetter(*compiled.positiontup)
            return connection.exec_driver_sql(compiled.string, [in_order(row) for row in given]).rowcount
        return connection.exec_driver_sql(compiled.string, given).rowcount


def _with_numbers(row: Row, instants: Iterable[str]) -> dict[str, Any]:
    """The row with its instants as the database holds them."""
    plain = dict(row)
    for name in instants:
        if plain.get(name) is not None:
            plain[name] = microseconds(plain[name])
    return plain
