"""Opens the database, and is the one door where its errors become ours."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from listener.errors import Fault, SettingsError, StoreUnavailable

#: How long a statement waits for another process that is writing to the same SQLite file, in ms.
SQLITE_BUSY_MS = 10_000
_PASSWORD = re.compile(r"://.*@", re.DOTALL)


class Database:
    """One database: hands out transactions; one thread at a time writes where the database wants that."""

    def __init__(self, url: str) -> None:
        self.url = _parsed(url)
        self.engine = _engine(self.url)
        self.one_writer = self.url.get_backend_name() == "sqlite"
        # SQLite's own waiting for its write lock is a sleep; threads of one process can do better.
        self._writer: AbstractContextManager[Any] = threading.Lock() if self.one_writer else nullcontext()

    @property
    def shown(self) -> str:
        """The URL, fit for logs: without a password."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write: all of it is durable on leaving, or none of it happened."""
        with self._translated(), self._writer, self.engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view."""
        with self._translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as error:
            raise StoreUnavailable(
                f"store {self.shown}: all connections are busy", fault=Fault.TIMEOUT
            ) from error
        except DBAPIError as error:
            raise StoreUnavailable(
                f"store {self.shown}: {str(error.orig).strip()}",
                fault=Fault.CONNECTION,
                advice=_advice(str(error.orig)),
            ) from error


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise SettingsError(
            f"store.url = {_PASSWORD.sub('://***@', url)!r} is no database URL; write sqlite:///listener.db or postgresql://user@host/name"
        ) from error
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise SettingsError(
            f"store.url names {parsed.get_backend_name()!r}, which is not supported; use sqlite:///… or postgresql://…"
        )
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    try:
        return sqlalchemy.create_engine(url, pool_pre_ping=True)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise SettingsError(
            f"store.url = {url.render_as_string(hide_password=True)} needs a driver that is not installed: "
            "pip install 'mns-listener[postgres]'"
        ) from error


def _sqlite(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise SettingsError(f"store.url = {url} keeps nothing; name a file, as in sqlite:///listener.db")
    folder = Path(url.database or "").absolute().parent
    if not folder.is_dir():
        raise SettingsError(
            f"store.url = {url}: the folder {folder} does not exist; create it or name another"
        )
    engine = sqlalchemy.create_engine(url, connect_args={"timeout": SQLITE_BUSY_MS / 1000})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions on its own
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # a commit that returned survives a power cut
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        # A deferred transaction that turns to writing late can't wait for the lock: it fails at once.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _advice(reason: str) -> str:
    if "unable to open" in reason or "readonly" in reason:
        return "see that the file and its folder are writable for the user that runs mns-listener"
    if "not a database" in reason or "malformed" in reason:
        return "name another file in store.url, or put a backup in its place"
    if "disk is full" in reason:
        return "make room there; nothing is deleted from the queues meanwhile"
    if "locked" in reason:
        return "another process holds the database; `fuser` tells which; replicas want PostgreSQL"
    if "no such table" in reason or "does not exist" in reason:
        return "run `mns-listener store upgrade`"
    return ""
