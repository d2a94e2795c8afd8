"""The files of a SQLite database: created for their owner only, and not to be deleted or replaced while they are open.

SQLite itself does not notice the latter: it continues to write to files that no longer have a name, and whatever it
commits there is gone after a restart.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from listener.core.errors import StoreFailureKind, StoreUnavailable

#: What is appended to the name of the database file for its write-ahead log and for the index of that.
WAL, SHM = "-wal", "-shm"
#: The mode of a new file: callbacks and user data may be confidential.
NEW_FILE_MODE = 0o600

Identity = tuple[int, int]  # device and inode


class SqliteFiles:
    """The files of one database, as they were when it was opened first. Safe to use from several threads.

    One connection stays open all the time: SQLite deletes the write-ahead log when its last connection is closed, so
    while this one is open, every change of the files is somebody else's doing.
    """

    def __init__(self, path: str, *, display_url: str) -> None:
        # SQLite resolves a symbolic link once, and a link can be replaced, too.
        self._path = os.path.abspath(path)
        # A notation of SQLite's own, which may ask for read-only access.
        self._is_uri = path.startswith("file:")
        self._display_url = display_url
        self._lock = threading.Lock()
        self._connection: Any = None
        self._opened: Mapping[str, Identity] = {}

    def connect(self, connect: Callable[[], Any]) -> Any:
        """A new connection to the files that were opened first. Raises StoreUnavailable if they are not there.

        SQLite would then create them again, or open others.
        """
        with self._lock:
            if self._connection is None:
                if not self._is_uri:
                    _create_if_missing(self._path)
                self._remember(connect())
        self.verify()
        connection = connect()
        try:
            self.verify()
        except StoreUnavailable:
            connection.close()
            raise
        return connection

    def verify(self) -> None:
        """Raises StoreUnavailable unless all files are those that were opened. They may have been moved back."""
        for path, identity in self._opened.items():
            if _identity(path) != identity:
                raise StoreUnavailable(
                    f"store {self._display_url}: the database file {path} was deleted or replaced while it was open",
                    kind=StoreFailureKind.CONNECTION,
                    hint="restart the daemon or restore the file",
                )

    def close(self) -> None:
        """To be called when all other connections are closed."""
        with self._lock:
            connection, self._connection, self._opened = self._connection, None, {}
        if connection is not None:
            connection.close()

    def _remember(self, connection: Any) -> None:
        try:
            # This opens the write-ahead log, too.
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
            ((path,),) = connection.execute("SELECT file FROM pragma_database_list WHERE name = 'main'")
        except BaseException:  # raised again, once what was opened is closed
            connection.close()
            raise
        found = {name: _identity(name) for name in (self._path, path, path + WAL, path + SHM)}
        self._opened = {name: identity for name, identity in found.items() if identity is not None}
        self._connection = connection


def _create_if_missing(path: str) -> None:
    """An existing file keeps its mode. SQLite gives the other files the mode of this one.

    An existing file must not even be opened here: closing it would release the locks of all connections to it.
    """
    try:
        os.close(os.open(os.path.realpath(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, NEW_FILE_MODE))
    except OSError:
        pass  # it exists, or SQLite reports why it cannot be created


def _identity(path: str) -> Identity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
