"""Opens a SQLite store for commands that only read: they create and change no file, and need no write access."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from listener.core.errors import StoreFailureKind, StoreUnavailable
from listener.store.sqlite_files import WAL

#: Key in the information about a connection: what the file was when it was opened without locks.
_UNLOCKED: Final = "file read without locks"


class SqliteReader:
    """Opens one database file anew for each transaction, since how to open it depends on whether it is in use."""

    def __init__(self, path: str, *, display_url: str) -> None:
        self._path = os.path.realpath(path)  # the write-ahead log is beside the file that a link refers to
        self._display_url = display_url

    def connect(self, connect: Callable[[str], Any], info: dict[str, Any]) -> Any:
        """A new connection; ``connect`` takes a SQLite URI. ``info`` is kept with the connection.

        While another process has the store open, and after a crash, there is a write-ahead log: SQLite then reads with
        its locks. Without one, SQLite would create it; ``immutable=1`` prevents that.
        """
        uri = f"file:{quote(self._path)}?mode=ro"
        if not os.path.exists(self._path + WAL):
            info[_UNLOCKED] = _state(self._path)
            uri += "&immutable=1"
        return connect(uri)

    def verify(self, info: dict[str, Any]) -> None:
        """Raises StoreUnavailable if the file has changed although it was read as one that does not change."""
        if _UNLOCKED in info and info[_UNLOCKED] != _state(self._path):
            raise StoreUnavailable(
                f"store {self._display_url}: another process began to write to it while it was read",
                kind=StoreFailureKind.LOCKED,
                hint="retry",
            )


def _state(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
