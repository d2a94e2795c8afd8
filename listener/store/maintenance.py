"""What operators do with a store: show its status, reclaim disk space, export everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, func, select

from listener.store import schema
from listener.store.claims import IS_PENDING
from listener.store.database import Database
from listener.store.error_hints import schema_hint
from listener.store.queries import Queries
from listener.store.rows import mapping
from listener.store.size import size_of
from listener.store.tables import attempts, deliveries, jobs, quarantine, results
from listener.store.unreadable import each_of, either

#: The exported tables, in this order: later ones refer to earlier ones.
TABLES: Final = (jobs, results, deliveries, attempts, quarantine)
#: How many rows an export holds in memory.
EXPORT_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """The status of a store."""

    store: str  #: its URL without a password
    schema: str  #: empty if the database is empty
    head: str  #: the schema of this release
    bytes: int
    #: By table and state; empty if the schema is not that of this release.
    rows: Mapping[str, Mapping[str, int]]
    oldest_pending: datetime | None
    bytes_per_job: int | None  #: total size divided by the jobs, or by the results if there are no jobs

    @property
    def hint(self) -> str:
        """What to do; empty if there is nothing to do."""
        return schema_hint(self.schema, head=self.head)


def status(database: Database) -> StoreStatus:
    """Raises SettingsError if there is no store yet, and StoreUnavailable."""
    found = schema.existing_version(database)
    size = _size(database)
    rows = Queries(database).counts() if found == schema.HEAD else {}
    known = sum(rows.get("jobs", {}).values()) or sum(rows.get("results", {}).values())
    return StoreStatus(
        store=database.display_url,
        schema=found,
        head=schema.HEAD,
        bytes=size,
        rows=rows,
        oldest_pending=_oldest_pending(database) if rows else None,
        bytes_per_job=size // known if known else None,
    )


def vacuum(database: Database) -> tuple[int, int]:
    """Reclaim disk space and update the planner's statistics; returns bytes before and after.

    SQLite blocks all writers meanwhile, and needs as much free space as the store is large; PostgreSQL blocks nothing.
    """
    schema.require_current(database)
    before = _size(database)
    if database.is_postgres:
        database.maintain("VACUUM (ANALYZE) " + ", ".join(table.name for table in TABLES))
    else:
        database.maintain("VACUUM", "ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)")
    return before, _size(database)


def export(database: Database) -> Iterator[dict[str, Any]]:
    """Every row as JSON values, with the name of its table first; one consistent snapshot, a few rows in memory.

    Rows that cannot be read are logged and left out.
    """
    schema.require_current(database)
    with database.read() as connection:
        for table in TABLES:
            last = 0
            while ids := list(connection.scalars(_next_ids(table, after=last))):
                yield from _exported(connection, table, ids)
                last = ids[-1]


def _next_ids(table: Table, *, after: int) -> Select[Any]:
    return select(table.c.id).where(table.c.id > after).order_by(table.c.id).limit(EXPORT_BATCH)


def _exported(connection: Connection, table: Table, ids: Sequence[int]) -> list[dict[str, Any]]:
    def rows(ids: Sequence[int]) -> list[dict[str, Any]]:
        with connection.begin_nested():
            found = connection.execute(select(table).where(table.c.id.in_(ids)).order_by(table.c.id))
            return [
                {"table": table.name, **{name: _json_value(value) for name, value in mapping(row).items()}}
                for row in found
            ]

    def row_by_row() -> list[dict[str, Any]]:
        return [row for one in each_of(connection, table, ids, lambda row_id: rows([row_id])) for row in one]

    return either(lambda: rows(ids), row_by_row)


def _json_value(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _size(database: Database) -> int:
    with database.read() as connection:
        return size_of(connection, database)


def _oldest_pending(database: Database) -> datetime | None:
    with database.read() as connection:
        oldest: datetime | None = connection.scalar(
            select(func.min(func.coalesce(deliveries.c.replayed_at, deliveries.c.created_at))).where(
                IS_PENDING
            )
        )
    return oldest
