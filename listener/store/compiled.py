"""Statements of the hot path, compiled once and then run on plain rows.

SQLAlchemy processes every row and value again at every execution, which takes several times as long as SQLite takes
to execute the statement. Its compiler is used here, its execution is not: the parameters go straight to the driver's
cursor. Rows to insert are tuples of what the database stores, in the order of the columns; timestamps of other
parameters are converted to numbers here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Any

import sqlalchemy
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    String,
    Table,
    TableClause,
    any_,
    bindparam,
    column,
    func,
    select,
)
from sqlalchemy.types import TypeEngine

from listener.store.tables import UtcTimestamp, to_microseconds

Row = Mapping[str, Any]

#: Rows per statement: databases limit the number of parameters. A poller records at most so many messages together.
MAX_ROWS = 128
#: SQLite inserts more rows than this in multiples of it, and the rest by another statement. To prepare a statement for
#: 64 rows takes several times as long as to execute it, and its driver keeps 128 prepared statements.
STEP = 16
#: The parameter of a statement of PostgreSQL with the values that a column may have.
_ARRAY = "wanted_values"


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement in the SQL of one dialect."""

    text: str
    names: tuple[str, ...]  #: of its parameters, in the order of their placeholders
    positional: bool  #: whether the placeholders have no names, as ``?``
    constants: Mapping[str, Any]  #: values of the parameters that the statement itself sets
    timestamps: tuple[str, ...]  #: names of those other parameters that are timestamps

    def parameters(self, row: Row) -> Any:
        """The parameters as the driver takes them, from values by name; the statement's constants are added."""
        values = {**self.constants, **row}
        return tuple([values[name] for name in self.names]) if self.positional else values

    def execute(self, connection: Connection, row: Row) -> Any:
        """The driver's own cursor, after it executed the statement with these values."""
        return _execute(connection, self.text, self.parameters(row))


def _compile(statement: Any, dialect: Dialect, names: Sequence[str] | None = None) -> _Compiled:
    compiled = statement.compile(dialect=dialect)
    placeholders = tuple(compiled.positiontup if compiled.positional else names or compiled.binds)
    assert names is None or placeholders == tuple(names)
    required = {name: parameter for name, parameter in compiled.binds.items() if parameter.required}
    return _Compiled(
        text=compiled.string,
        names=placeholders,
        positional=compiled.positional,
        constants={name: value for name, value in compiled.params.items() if name not in required},
        timestamps=tuple(
            name for name, parameter in required.items() if isinstance(parameter.type, UtcTimestamp)
        ),
    )


class BulkInsert:
    """INSERT of many rows with one statement. ``build`` makes that, for a dialect's name.

    ``columns`` are those that the rows have, in this order; the others get their defaults. The values of the columns
    ``key`` tell the rows apart, if their ids are wanted. ``usually_same`` are columns with one value for all rows of a
    usual batch, which is then passed once: passing all values of a row takes as long as all the rest.
    """

    def __init__(
        self,
        table: Table,
        columns: Sequence[str],
        build: Callable[[str, TableClause], Any],
        *,
        key: Sequence[str] = (),
        usually_same: Sequence[str] = (),
    ) -> None:
        self._names = columns
        self._usually_same = [columns.index(name) for name in usually_same]
        self._others = [place for place in range(len(columns)) if place not in self._usually_same]
        self._key = [columns.index(name) for name in key]
        # SQLAlchemy writes the columns in the order of the table, whatever the order of the parameters is.
        names = [*columns, *(each.name for each in table.columns if each.name not in columns)]
        self._table = sqlalchemy.table(table.name, *(column(name, table.c[name].type) for name in names))
        self._build = build
        self._returned = [self._table.c[name] for name in (*key, "id")] if key else []
        self._types = {name: _type_of(table.c[name]) for name in columns}
        self._of_arrays: dict[bool, _Compiled] = {}
        self._of_values: dict[tuple[int, bool], str] = {}
        self._texts: Sequence[str] = ()
        self._newest_rows: _Compiled | None = None

    def run(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Insert the rows. Timestamps are given as the database stores them, ``stored_time``."""
        for portion in _portions(connection, rows):
            self._run(connection, portion)

    def ids(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> Sequence[int]:
        """Insert the rows; returns their ids in the same order, 0 for each that was not inserted."""
        return [
            row_id for portion in _portions(connection, rows) for row_id in self._ids(connection, portion)
        ]

    def _ids(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> Iterable[int]:
        cursor = self._run(connection, rows)
        if connection.dialect.name == "postgresql":
            returned = cursor.fetchall()
        elif cursor.rowcount == len(rows):
            # SQLite has one writer, and gives the rows of a statement one id after the other. RETURNING would make it
            # keep all rows in a table of their own first, which takes a quarter of the time of the statement.
            return range(cursor.lastrowid - len(rows) + 1, cursor.lastrowid + 1)
        else:
            returned = self._newest(connection, cursor.rowcount)
        ids = {tuple(row[:-1]): row[-1] for row in returned}
        return [ids.get(tuple([row[place] for place in self._key]), 0) for row in rows]

    def _newest(self, connection: Connection, count: int) -> Sequence[Any]:
        """Key and id of the last rows that SQLite inserted: those with the greatest ids."""
        if self._newest_rows is None:
            newest = select(*self._returned).order_by(self._table.c.id.desc()).limit(bindparam("most"))
            self._newest_rows = _compile(newest, connection.dialect)
        rows: Sequence[Any] = self._newest_rows.execute(connection, {"most": count}).fetchall()
        return rows

    def _run(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> Any:
        columns = list(zip(*rows, strict=True))
        same = all(columns[place].count(columns[place][0]) == len(rows) for place in self._usually_same)
        if connection.dialect.name == "postgresql":
            return self._run_arrays(connection, columns, same=same)
        shared, others = self._places(same=same)
        values = chain(
            [columns[place][0] for place in shared],
            chain.from_iterable(zip(*(columns[place] for place in others), strict=True)),
        )
        return _execute(
            connection, self._from_values(connection.dialect, len(rows), same=same), tuple(values)
        )

    def _run_arrays(self, connection: Connection, columns: Sequence[Sequence[Any]], *, same: bool) -> Any:
        shared, others = self._places(same=same)
        statement = self._from_arrays(connection.dialect, same=same)
        given = {_given(self._names[place]): columns[place][0] for place in shared}
        given |= {_given(self._names[place]): _array_text(columns[place]) for place in others}
        return statement.execute(connection, given)

    def _places(self, *, same: bool) -> tuple[Sequence[int], Sequence[int]]:
        """The columns with one parameter for all rows, and those with one for each."""
        return (self._usually_same, self._others) if same else ((), range(len(self._names)))

    def _from_values(self, dialect: Dialect, count: int, *, same: bool) -> str:
        """The statement for this many rows, with numbered parameters."""
        if (count, same) not in self._of_values:
            head, tail = self._around_values(dialect)
            rows = [f"({', '.join(self._numbered(row, same=same))})" for row in range(count)]
            self._of_values[count, same] = f"{head}{', '.join(rows)}{tail}"
        return self._of_values[count, same]

    def _around_values(self, dialect: Dialect) -> Sequence[str]:
        """The text before and after the values."""
        if not self._texts:
            values: dict[str, Any] = {name: bindparam(name) for name in self._names}
            one_row = _compile(
                self._build(dialect.name, self._table).values(values), dialect, names=self._names
            )
            self._texts = one_row.text.split(f"({', '.join('?' * len(self._names))})")
        return self._texts

    def _numbered(self, row: int, *, same: bool) -> list[str]:
        """The parameters of this row, in the order of the columns."""
        shared, others = self._places(same=same)
        first = len(shared) + row * len(others)
        numbers = {place: number for number, place in enumerate(shared, start=1)}
        numbers |= {place: first + number for number, place in enumerate(others, start=1)}
        return [f"?{numbers[place]}" for place in range(len(self._names))]

    def _from_arrays(self, dialect: Dialect, *, same: bool) -> _Compiled:
        """The statement with an array for each column: the same for any number of rows, so that the server keeps it
        prepared; and its driver takes longer for hundreds of parameters than the server does for the rows."""
        if same not in self._of_arrays:
            shared, others = ([self._names[place] for place in places] for places in self._places(same=same))
            arrays = [bindparam(_given(name), type_=ARRAY(self._types[name])) for name in others]
            rows = func.unnest(*arrays).table_valued(*others, name="given").render_derived()
            values: dict[str, Any] = {
                name: bindparam(_given(name), type_=self._types[name]) for name in shared
            }
            values |= {name: rows.c[name] for name in others}
            chosen = select(*(values[name] for name in self._names)).select_from(rows)
            statement = self._build(dialect.name, self._table).from_select(self._names, chosen)
            if self._returned:
                statement = statement.returning(*self._returned)
            self._of_arrays[same] = _compile(statement, dialect)
        return self._of_arrays[same]


class CompiledWrite:
    """Executes the same statement for each of many rows, whose keys are the names of its parameters."""

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self._statements: dict[str, _Compiled] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> int:
        """How many rows were changed in total."""
        dialect = connection.dialect
        if dialect.name not in self._statements:
            self._statements[dialect.name] = _compile(self._statement, dialect)
        statement = self._statements[dialect.name]
        parameters = [statement.parameters(row) for row in _with_microseconds(rows, statement.timestamps)]
        return int(_execute(connection, statement.text, parameters, many=True).rowcount)


class ByValues:
    """One statement for all rows whose ``column`` has one of many values. ``build`` makes it from that condition."""

    def __init__(self, column: Column[Any], build: Callable[[ColumnElement[bool]], Any]) -> None:
        self._column = column
        self._build = build
        self._statements: dict[tuple[str, int], _Compiled] = {}

    def run(self, connection: Connection, wanted: Sequence[Any], **others: Any) -> Sequence[Any]:
        """Execute the statement; returns the driver's cursors. ``others`` are its other parameters."""
        if connection.dialect.name == "postgresql":
            return [self._run_array(connection, wanted, others)] if wanted else []
        return [self._run(connection, chunk, others) for chunk in _chunks(wanted)]

    def _run_array(self, connection: Connection, wanted: Sequence[Any], others: Row) -> Any:
        """The values are one parameter: the statement is then the same for any number of them, and the driver, which
        parses a statement with more than 50 parameters every time, parses it once."""
        key = ("postgresql", 0)
        if key not in self._statements:
            values = bindparam(_ARRAY, type_=ARRAY(_type_of(self._column)))
            self._statements[key] = _compile(self._build(self._column == any_(values)), connection.dialect)
        statement = self._statements[key]
        (row,) = _with_microseconds([others], statement.timestamps)
        row[_ARRAY] = _array_text(wanted)
        return statement.execute(connection, row)

    def _run(self, connection: Connection, wanted: Sequence[Any], others: Row) -> Any:
        size = 1 << (len(wanted) - 1).bit_length()  # powers of two, so that few statements are compiled
        padded = [*wanted, *[wanted[-1]] * (size - len(wanted))]
        statement = self._for(connection.dialect, size)
        (row,) = _with_microseconds([others], statement.timestamps)
        row.update(zip(_placeholders(size), padded, strict=True))
        return statement.execute(connection, row)

    def _for(self, dialect: Dialect, size: int) -> _Compiled:
        key = (dialect.name, size)
        if key not in self._statements:
            condition = self._column.in_([bindparam(name) for name in _placeholders(size)])
            self._statements[key] = _compile(self._build(condition), dialect)
        return self._statements[key]


def _type_of(column: Column[Any]) -> TypeEngine[Any]:
    """The type of a parameter for this column. That of a text has no length: a cast to one would cut off the rest."""
    if isinstance(column.type, String):
        return String()
    return BigInteger() if isinstance(column.type, UtcTimestamp) else column.type


def _given(name: str) -> str:
    """The parameter for this column; SQLAlchemy reserves the names of the columns for parameters of its own."""
    return f"given_{name}"


def _array_text(values: Sequence[Any]) -> str:
    """An array as PostgreSQL writes it: its driver takes several times as long to make this of a list."""
    return f"{{{','.join([_element(value) for value in values])}}}"


def _element(value: str | float | None) -> str:
    if value is None:
        return "NULL"
    if not isinstance(value, str):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@cache
def _placeholders(size: int) -> Sequence[str]:
    return [f"value_{place}" for place in range(size)]


def _portions(connection: Connection, rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The rows of each INSERT."""
    for chunk in _chunks(rows):
        is_one = connection.dialect.name == "postgresql" or len(chunk) < STEP
        whole = len(chunk) if is_one else len(chunk) // STEP * STEP
        yield chunk[:whole]
        if whole < len(chunk):
            yield chunk[whole:]


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[start : start + MAX_ROWS] for start in range(0, len(rows), MAX_ROWS))


def insert_or_ignore(dialect: str, table: TableClause, conflict: Sequence[str]) -> Any:
    """INSERT … ON CONFLICT (these columns) DO NOTHING, in the SQL of this dialect."""
    return _insert(dialect, table).on_conflict_do_nothing(index_elements=conflict)


def insert_or_update(
    dialect: str, table: TableClause, conflict: Sequence[str], changed: Sequence[str]
) -> Any:
    """INSERT … ON CONFLICT (these columns) DO UPDATE of the columns ``changed``, in the SQL of this dialect."""
    statement = _insert(dialect, table)
    new = {name: statement.excluded[name] for name in changed}
    return statement.on_conflict_do_update(index_elements=conflict, set_=new)


def _insert(dialect: str, table: TableClause) -> Any:
    # Imported here, since importing both takes a tenth of the time in which a process starts.
    flavour: Any = importlib.import_module(f"sqlalchemy.dialects.{dialect}")
    return flavour.insert(table)


def _execute(connection: Connection, text: str, parameters: Any, *, many: bool = False) -> Any:
    """The driver's own cursor, after it executed the statement."""
    cursor = connection.connection.cursor()
    if many:
        cursor.executemany(text, parameters)
    else:
        cursor.execute(text, parameters)
    return cursor


def _with_microseconds(rows: Iterable[Row], timestamps: Sequence[str]) -> list[dict[str, Any]]:
    """Copies of the rows with their timestamps as the database stores them."""
    numbers: dict[datetime | None, int | None] = {None: None}  # the rows of a batch share a few timestamps
    converted = [dict(row) for row in rows]
    for row in converted:
        for name in timestamps:
            at = row[name]
            if at not in numbers:
                numbers[at] = to_microseconds(at)
            row[name] = numbers[at]
    return converted
