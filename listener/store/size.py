"""How much disk space a store takes."""

from __future__ import annotations

import os

from sqlalchemy import Connection, text

from listener.store.database import Database
from listener.store.tables import metadata


def size_of(connection: Connection, database: Database) -> int:
    """Bytes on disk: of the file and its write-ahead log, or of our tables with their indexes."""
    if not database.is_postgres:
        path = database.url.database or ""
        return sum(os.path.getsize(name) for name in (path, f"{path}-wal") if os.path.exists(name))
    return sum(_relation_size(connection, name) for name in metadata.tables)


def _relation_size(connection: Connection, name: str) -> int:
    size = connection.scalar(text("SELECT pg_total_relation_size(to_regclass(:name))"), {"name": name})
    return int(size or 0)
