"""The database under a run, and what can be done to it: a SQLite file or a database of a real PostgreSQL server."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psycopg
from psycopg.errors import DeadlockDetected
from psycopg.rows import dict_row

from tests.soak.evidence import Rows, rows_from
from tests.support.postgres import PostgresServer, server

#: Seconds that a statement of another program waits for the listeners.
PATIENCE = 60.0


class SqliteFile:
    """A file in the folder of the run."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "listener.db"
        self._away = folder / "away"
        self.url = f"sqlite:///{self._path}"

    def rows(self) -> Rows:
        with closing(sqlite3.connect(self._path)) as connection:
            connection.row_factory = sqlite3.Row
            return rows_from(lambda table: map(dict, connection.execute(f"SELECT * FROM {table}")))

    def lock(self) -> Callable[[], None]:
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        return connection.close

    def take_away(self) -> Callable[[], None]:
        """Rename the file and what belongs to it; returns what brings them back."""
        self._away.mkdir(exist_ok=True)
        for file in self._files():
            file.rename(self._away / file.name)

        def bring_back() -> None:
            for stray in self._files():
                if not (self._away / stray.name).exists():
                    stray.unlink()  # of a database that somebody created meanwhile
            for file in self._away.iterdir():
                file.replace(self._path.with_name(file.name))

        return bring_back

    def replace_by_copy(self) -> None:
        """Put a copy of the database in its place, as a restored backup: nothing committed so far is missing in it."""
        copy = self._path.with_name("copy.db")
        with closing(self._connected()) as lock, closing(self._connected()) as reader:
            lock.execute("BEGIN IMMEDIATE")
            with closing(sqlite3.connect(copy)) as target:
                reader.backup(target)
            for file in self._files():
                if file != self._path:
                    file.unlink()
            copy.replace(self._path)

    def remove_wal(self) -> bool:
        """Delete the write-ahead log at a moment when all of it is in the file; returns whether there was one."""
        log = self._path.with_name(self._path.name + "-wal")
        with closing(self._connected()) as connection:
            for _ in range(20):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.execute("BEGIN IMMEDIATE")
                if log.exists() and not log.stat().st_size:
                    log.unlink()
                    return True
                connection.execute("ROLLBACK")
        return False

    def _files(self) -> list[Path]:
        return [file for file in sorted(self._path.parent.glob("listener.db*")) if file.is_file()]

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)


class PostgresDatabase:
    """A new database on the server of this process."""

    def __init__(self) -> None:
        self._server: PostgresServer = server()
        self.url = self._server.new_database()

    def rows(self) -> Rows:
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return rows_from(lambda table: connection.execute(f"SELECT * FROM {table}"))

    def lock(self) -> Callable[[], None]:
        while True:
            connection = psycopg.connect(self.url)
            try:
                connection.execute("LOCK TABLE results, deliveries IN EXCLUSIVE MODE")
            except DeadlockDetected:  # with a transaction that has one of the tables and wants the other
                connection.close()
            else:
                return connection.close

    def freeze(self) -> Callable[[], None]:
        """Stop the server and all its sessions in their tracks; returns what lets them go on."""
        _signal(self._server.pids()[:1], signal.SIGSTOP)  # first, so that it starts no other sessions
        _signal(self._server.pids(), signal.SIGSTOP)
        return lambda: _signal(self._server.pids(), signal.SIGCONT)

    def crash(self, seconds: float) -> None:
        """Kill the server and all its sessions, and start it again after so long."""
        _signal(self._server.pids(), signal.SIGKILL)
        self._server.stop(signal.SIGKILL)
        threading.Event().wait(seconds)
        self._server.start()


def store_of(kind: str, folder: Path) -> SqliteFile | PostgresDatabase:
    return PostgresDatabase() if kind == "postgresql" else SqliteFile(folder)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
