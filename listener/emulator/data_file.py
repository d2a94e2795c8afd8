"""The file in which an emulator keeps its state: records of JSON in SQLite, changed by transactions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

NAME = "emulator.db"
VERSION = 1

Key = tuple[str, str]
"""The kind of a record, and its name among those of its kind."""


class DataError(Exception):
    """The folder of the data cannot be used; the message says why."""


class DataFile:
    """Records by key. What ``write`` has returned from is on disk, and survives the end of the machine."""

    def __init__(self, folder: Path) -> None:
        """Open the file, or create it with its folder. Raises DataError, also if another emulator has it open."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(folder / NAME, timeout=1, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DataError(f"cannot use {folder}: {reason}") from error
        try:
            self._prepare()
        except (sqlite3.Error, DataError) as error:
            self._db.close()
            hint = "; another emulator uses it" if "locked" in str(error) else ""
            raise DataError(f"cannot use {folder / NAME}: {error}{hint}") from error

    def _prepare(self) -> None:
        # Exclusive: one emulator at a time, and no file for memory that it would share.
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            raise DataError(f"it was written by another release (version {version})")
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS records"
            " (kind TEXT, name TEXT, value TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID"
        )
        self._db.execute(f"PRAGMA user_version = {VERSION}")
        self._db.execute("COMMIT")

    def read(self) -> Iterator[tuple[str, str, Any]]:
        for kind, name, value in self._db.execute("SELECT kind, name, value FROM records"):
            yield kind, name, json.loads(value)

    def write(
        self, put: Iterable[tuple[str, str, str]], *, removed: Iterable[Key], removed_kinds: Iterable[str]
    ) -> None:
        """Remove and put records in one transaction. Raises sqlite3.Error; nothing has changed then."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("DELETE FROM records WHERE kind = ?", ((kind,) for kind in removed_kinds))
            self._db.executemany("DELETE FROM records WHERE kind = ? AND name = ?", removed)
            self._db.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", put)
            self._db.execute("COMMIT")
        except BaseException:  # raised again, once nothing of the change is left
            self._db.execute("ROLLBACK")
            raise

    def clear(self) -> None:
        self._db.execute("DELETE FROM records")

    def close(self) -> None:
        self._db.close()
