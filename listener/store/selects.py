"""SELECTs of the hot path: the rows that have one of many values, all at once.

SQLite makes one JSON document of them. Its driver gives up the interpreter lock for each column that it reads, and
other threads take it: while they compute, each for a switch interval of 5 ms, so that a row of 24 columns takes 0.1 s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, func, select

from listener.store.compiled import ByValues
from listener.store.tables import UtcTimestamp, deliveries, from_microseconds, jobs, results

Rows = list[Sequence[Any]]


class SelectByValues:
    """SELECT of the rows whose ``column`` has one of many values. ``build`` makes it from that condition."""

    def __init__(self, column: Column[Any], build: Callable[[ColumnElement[bool]], Select[Any]]) -> None:
        self._plain = ByValues(column, build)
        self._document = ByValues(column, lambda found: _as_document(build(found)))

    def run(self, connection: Connection, wanted: Sequence[Any]) -> Rows:
        """The values of the columns as the driver gives them, in no particular order."""
        if connection.dialect.name == "postgresql":
            return self._run_plain(connection, wanted)
        driver: Any = connection.dialect.loaded_dbapi
        try:
            return self._run_document(connection, wanted)
        except (driver.Error, ValueError):
            # JSON cannot hold a damaged value, such as a BLOB or an infinite number; all else is raised again.
            return self._run_plain(connection, wanted)

    def _run_plain(self, connection: Connection, wanted: Sequence[Any]) -> Rows:
        return [row for cursor in self._plain.run(connection, wanted) for row in cursor.fetchall()]

    def _run_document(self, connection: Connection, wanted: Sequence[Any]) -> Rows:
        documents = [cursor.fetchone()[0] for cursor in self._document.run(connection, wanted)]
        return [row for document in documents for row in json.loads(document)]


def _as_document(statement: Select[Any]) -> Select[Any]:
    row = func.json_array(*statement.selected_columns)
    return statement.with_only_columns(func.json_group_array(row))


class _CompleteRows:
    """SELECT of all columns by the ids of the rows."""

    def __init__(self, table: Table) -> None:
        self._by_values = SelectByValues(table.c.id, lambda found: select(table).where(found))
        self._names = [each.name for each in table.columns]
        self._timestamps = [each.name for each in table.columns if isinstance(each.type, UtcTimestamp)]

    def run(self, connection: Connection, ids: Iterable[int]) -> list[dict[str, Any]]:
        """These rows, as plain dictionaries in no particular order."""
        found = self._by_values.run(connection, sorted(ids))
        rows = [dict(zip(self._names, row, strict=True)) for row in found]
        for name in self._timestamps:
            for row in rows:
                if row[name] is not None:
                    row[name] = from_microseconds(row[name])
        return rows


_COMPLETE_ROWS = {table: _CompleteRows(table) for table in (jobs, results, deliveries)}


def rows_by_id(connection: Connection, table: Table, ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Rows of ``jobs``, ``results`` or ``deliveries`` by their ids, without those that do not exist."""
    return {row["id"]: row for row in _COMPLETE_ROWS[table].run(connection, ids)}


def rows_in_order(connection: Connection, table: Table, ids: Sequence[int]) -> list[dict[str, Any]]:
    """The rows with these ids, all of which exist, in this order."""
    found = rows_by_id(connection, table, ids)
    return [found[row_id] for row_id in ids]
