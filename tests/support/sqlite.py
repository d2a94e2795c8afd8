"""SQLite stores for tests: the schema is migrated once for each process, then copied."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from listener.store.sql_store import SqlStore


def new_sqlite(path: Path) -> str:
    """Make an empty store with today's schema; returns its URL."""
    path.touch(mode=0o600)  # as the program makes it
    path.write_bytes(_template())
    return f"sqlite:///{path}"


def copy_sqlite(source: Path, target: Path) -> None:
    """Replace what is in ``target`` by what is in ``source``, with what its log still holds."""
    with closing(sqlite3.connect(source)) as there, closing(sqlite3.connect(target)) as here:
        there.backup(here)


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
