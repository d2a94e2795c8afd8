"""What an operator does with a store as a whole: see how it is, make it smaller, take everything out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, select, text

from listener.core.errors import SettingsError
from listener.store import schema
from listener.store.claims import IS_PENDING
from listener.store.database import Database
from listener.store.queries import Queries
from listener.store.rows import mapping
from listener.store.tables import deliveries, jobs, metadata, quarantine, results

#: What is exported, in this order: later ones refer to earlier ones.
TABLES: Final = (jobs, results, deliveries, quarantine)
#: Rows that an export holds in memory.
EXPORT_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """How a store is."""

    store: str  #: its URL without a password
    schema: str  #: empty where nothing ever was
    head: str  #: the schema of this release
    bytes: int
    rows: Mapping[str, Mapping[str, int]]  #: by table and state; none where the schema is not this release's
    oldest_pending: datetime | None
    bytes_per_job: int | None  #: everything divided by the jobs, or by the results where no jobs are known

    @property
    def hint(self) -> str:
        """What there is to do; empty when all is well."""
        return _hint(self.schema)


def status(database: Database) -> StoreStatus:
    """Raises SettingsError where there is no store yet, and StoreUnavailable."""
    found = _found_version(database)
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
    """Give room back to the file system, and let the planner know what is there; returns bytes before and after.

    SQLite lets nobody write meanwhile, and needs as much room again; PostgreSQL disturbs nobody.
    """
    _require_current(database)
    before = _size(database)
    if database.is_postgres:
        database.maintain("VACUUM (ANALYZE) " + ", ".join(table.name for table in TABLES))
    else:
        database.maintain("VACUUM", "ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)")
    return before, _size(database)


def export(database: Database) -> Iterator[dict[str, Any]]:
    """Every row as plain values, first of all its table; all from the same moment, a few in memory at a time."""
    _require_current(database)
    with database.read() as connection:
        streaming = connection.execution_options(stream_results=True, yield_per=EXPORT_BATCH)
        for table in TABLES:
            for row in streaming.execute(select(table).order_by(table.c.id)):
                yield {"table": table.name, **{name: _plain(value) for name, value in mapping(row).items()}}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _found_version(database: Database) -> str:
    """Looking at a SQLite file that is not there would make one."""
    if not database.is_postgres and not os.path.exists(database.url.database or ""):
        raise SettingsError(f"there is no store {database.display_url}; {_hint('')}")
    return schema.version(database)


def _require_current(database: Database) -> None:
    found = _found_version(database)
    if found != schema.HEAD:
        raise SettingsError(
            f"store {database.display_url} has schema {found or 'none'}, "
            f"this release needs {schema.HEAD}; {_hint(found)}"
        )


def _hint(found: str) -> str:
    if found == schema.HEAD:
        return ""
    if found > schema.HEAD:
        return "install the release that wrote it, or a later one"
    return "run `mns-listener store upgrade`; `mns-listener run` does the same at its start"


def _size(database: Database) -> int:
    """Bytes on disk: of the file with what is not yet merged into it, or of our tables with their indexes."""
    if not database.is_postgres:
        path = database.url.database or ""
        return sum(os.path.getsize(name) for name in (path, f"{path}-wal") if os.path.exists(name))
    with database.read() as connection:
        return sum(_relation_size(connection, name) for name in metadata.tables)


def _relation_size(connection: Connection, name: str) -> int:
    size = connection.scalar(text("SELECT pg_total_relation_size(to_regclass(:name))"), {"name": name})
    return int(size or 0)


def _oldest_pending(database: Database) -> datetime | None:
    with database.read() as connection:
        oldest: datetime | None = connection.scalar(
            select(func.min(deliveries.c.created_at)).where(IS_PENDING)
        )
    return oldest
