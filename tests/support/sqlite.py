"""SQLite stores for tests: the schema is migrated once for each process, then copied."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from listener.store.sql_store import SqlStore


def new_sqlite(path: Path) -> str:
    """Make an empty store with today's schema; returns its URL."""
    path.touch(mode=0o600)  # as the program makes it
    path.write_bytes(_template())
    return f"sqlite:///{path}"


@contextmanager
def new_sqlite_store(folder: Path) -> Iterator[SqlStore]:
    """Open a new, empty store in this folder."""
    store = SqlStore.open(new_sqlite(folder / "store.db"))
    try:
        yield store
    finally:
        store.close()


@cache
def _template() -> bytes:
    folder = Path(tempfile.mkdtemp(prefix="mnsl-template-"))
    try:
        SqlStore.open(f"sqlite:///{folder}/store.db").close()
        return (folder / "store.db").read_bytes()
    finally:
        shutil.rmtree(folder)
