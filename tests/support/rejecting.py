"""Databases that reject certain values, however often they are written."""

from __future__ import annotations

from typing import Final

from listener.store.sql_store import SqlStore

#: What makes a value rejected.
POISON: Final = "poison"
#: The database's message.
REJECTION: Final = "this value is rejected"

_RAISE_SQLITE: Final = f"SELECT RAISE(ABORT, '{REJECTION}')"
_FUNCTION_POSTGRES: Final = (
    "CREATE OR REPLACE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{REJECTION}' USING ERRCODE = '22023'; END $$"
)


def reject(store: SqlStore, table: str, column: str, *, when: str = f"LIKE '%{POISON}%'") -> None:
    """From now on no row can be written that has such a value in this column."""
    body = _postgres if store.database.is_postgres else _sqlite
    with store.database.write() as connection:
        for statement in body(table, f"NEW.{column} {when}"):
            connection.exec_driver_sql(
                statement.replace("%", "%%") if store.database.is_postgres else statement
            )


def reject_deletions(store: SqlStore, table: str) -> None:
    """From now on no row of the table can be deleted."""
    postgres = store.database.is_postgres
    action = "EXECUTE FUNCTION reject()" if postgres else f"BEGIN {_RAISE_SQLITE}; END"
    with store.database.write() as connection:
        if postgres:
            connection.exec_driver_sql(_FUNCTION_POSTGRES)
        connection.exec_driver_sql(
            f"CREATE TRIGGER keeping_{table} BEFORE DELETE ON {table} FOR EACH ROW {action}"
        )


def _sqlite(table: str, condition: str) -> list[str]:
    return [
        f"CREATE TRIGGER rejecting_{table}_{event.lower()} BEFORE {event} ON {table} WHEN {condition} "
        f"BEGIN {_RAISE_SQLITE}; END"
        for event in ("INSERT", "UPDATE")
    ]


def _postgres(table: str, condition: str) -> list[str]:
    rows = f"BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW WHEN ({condition})"
    return [
        _FUNCTION_POSTGRES,
        f"CREATE TRIGGER rejecting_{table} {rows} EXECUTE FUNCTION reject()",
    ]
