"""Opens the database, hands out transactions, and translates all of its errors to ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool

from listener.core.errors import SettingsError, StoreFailureKind, StoreRejected, StoreUnavailable
from listener.core.ports import StoreObserver
from listener.store import postgres
from listener.store.deadline import Deadline
from listener.store.error_classes import rejects_values
from listener.store.error_hints import hint
from listener.store.failure_kind import failure_kind
from listener.store.sqlite_files import SqliteFiles
from listener.store.sqlite_lock import SLICE, begin_deferred, begin_immediate, use_wal
from listener.store.sqlite_reader import SqliteReader
from listener.store.sqlite_temp import FILES, MEMORY, use_temp_store
from listener.store.url_display import display_unparsed, display_url, without_secrets

#: How long a statement waits for another process that is writing to the same SQLite file, in ms.
SQLITE_BUSY_MS = 10_000
#: The same before an upgrade of the schema, which another process may be making: that takes longer than other writes.
SQLITE_UPGRADE_BUSY_MS = 60_000
#: After how many of its instructions SQLite checks the deadline: a few times per millisecond.
SQLITE_CHECK_INTERVAL = 10_000


class Database:
    """One database: hands out transactions; on SQLite to one writing thread at a time."""

    def __init__(self, url: str, *, timeout: timedelta | None = None, read_only: bool = False) -> None:
        """With a ``timeout``, a transaction that takes longer fails, also where the database stands still.

        ``read_only``: nothing can be written, and nothing is created; no write access is needed.
        """
        self.url = parsed_url(url)
        self.read_only = read_only
        self.deadline = Deadline(timeout)
        self.observer: StoreObserver | None = None  #: learns of every transaction that begins from now on
        self._nesting = threading.local()
        self.is_postgres = self.url.get_backend_name() == "postgresql"
        self._files = None if self.is_postgres or read_only else _files(self.url)
        self.engine = self._made_engine()
        self.one_writer = not self.is_postgres
        dialect: Any = self.engine.dialect
        self._driver_error: type[Exception] = dialect.loaded_dbapi.Error
        # SQLite waits for its write lock by sleeping; a lock between our own threads wakes up at once.
        self._writer = threading.Lock() if self.one_writer else None
        #: Where there is one writer, its connection while no transaction uses it: taking one from the pool, and
        #: giving it back, takes longer than a small transaction.
        self._kept: list[Connection] = []
        self._closed = False

    @property
    def display_url(self) -> str:
        """The URL without its secrets, for logs."""
        return display_url(self.url)

    @contextmanager
    def write(self, *, unlimited: bool = False) -> Iterator[Connection]:
        """A transaction that may write: on leaving, all of it is durable, or nothing of it happened.

        ``unlimited``: a statement may change any number of rows, so that SQLite must not keep in memory what it would
        have to restore.
        """
        with (
            self.call(),
            self.deadline.limited(),
            self._writing(),
            self.translated(),
            self._connection_for_any_number() if unlimited else self._connection_to_write() as connection,
        ):
            yield from self._write_transaction(connection)

    @contextmanager
    def migrate(self, *, busy_ms: int = SQLITE_BUSY_MS) -> Iterator[Connection]:
        """The same for a change of the schema, which may take long: it has no deadline.

        ``busy_ms`` is how long it waits for another process that is writing to the same SQLite file.
        """
        with self._writing(), self.translated(), self.engine.connect() as connection:
            yield from self._write_transaction(connection.execution_options(writes=True, busy_ms=busy_ms))

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent snapshot for all statements of the transaction."""
        with self.call(), self.deadline.limited(), self.translated(), self.engine.connect() as connection:
            self._verify_files()
            if self.is_postgres:  # SQLite always does this
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=self.read_only
                )
            with connection.begin():
                yield connection

    def maintain(self, *statements: str) -> None:
        """Execute statements that cannot be part of a transaction, such as VACUUM."""
        with self.translated(), self._writing():
            connection = self.engine.raw_connection()
            try:
                driver: Any = connection.driver_connection
                if self.is_postgres:
                    driver.autocommit = True
                else:
                    driver.execute(f"PRAGMA temp_store = {FILES}")
                for statement in statements:
                    driver.execute(statement)
            finally:
                connection.invalidate()  # in autocommit mode it must not go back into the pool

    def close(self) -> None:
        self._closed = True
        if kept := self._take_kept():
            kept.close()
        self.engine.dispose()
        if self._files:
            self._files.close()

    def _made_engine(self) -> Engine:
        if self.is_postgres:
            return _postgres(self.url, self.deadline)
        if self._files:
            return _sqlite(self.url, self._files, self.deadline)
        return _sqlite_for_reading(self.url, self.deadline)

    def _verify_files(self) -> None:
        if self._files:
            self._files.verify()

    @contextmanager
    def call(self) -> Iterator[None]:
        """What the observer sees as one call, together with all calls within it."""
        observer = self.observer
        if observer is None or getattr(self._nesting, "within_call", False):
            yield
            return
        self._nesting.within_call = True
        observer.began()
        failed: StoreUnavailable | None = None
        try:
            yield
        except StoreUnavailable as error:
            failed = error
            raise
        finally:
            self._nesting.within_call = False
            observer.ended(failed)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Be the one thread that writes, where there may be only one."""
        if self._writer is None:
            yield
            return
        if not self._acquired(self._writer):
            raise StoreUnavailable(
                f"store {self.display_url}: other threads have been writing all the time",
                kind=StoreFailureKind.LOCKED,
            )
        try:
            yield
        finally:
            self._writer.release()

    def _acquired(self, writer: threading.Lock) -> bool:
        """Wait for the lock until the deadline, which may be changed meanwhile."""
        while (left := self.deadline.seconds_left) > SLICE:
            if writer.acquire(timeout=SLICE):
                return True
        return writer.acquire(timeout=max(0.0, left))

    @contextmanager
    def _connection_to_write(self) -> Iterator[Connection]:
        """The connection of the one writer, where there is one, or else one from the pool."""
        connection = self._take_kept() or self.engine.connect().execution_options(writes=True, in_memory=True)
        try:
            yield connection
        except BaseException:  # raised again, once the connection is back in the pool, which resets it
            connection.close()
            raise
        if self.one_writer and not self._closed:
            self._kept.append(connection)
        else:
            connection.close()

    def _connection_for_any_number(self) -> Connection:
        return self.engine.connect().execution_options(writes=True)

    def _take_kept(self) -> Connection | None:
        try:
            return self._kept.pop()
        except IndexError:
            return None

    def _write_transaction(self, connection: Connection) -> Iterator[Connection]:
        self._verify_files()
        with connection.begin():
            yield connection
        self._verify_files()  # what was committed to a file that has no name is not durable

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Translates every error of SQLAlchemy and of the driver to StoreUnavailable or StoreRejected."""
        try:
            yield
        except PoolTimeout as error:
            raise StoreUnavailable(
                f"store {self.display_url}: all connections are busy", kind=StoreFailureKind.TIMEOUT
            ) from error
        except StatementError as error:
            raise self._translate(error.orig or error) from error
        except self._driver_error as error:
            raise self._translate(error) from error
        except (OverflowError, UnicodeError) as error:  # the driver cannot encode a value, or decode one
            text = without_secrets(str(error), self.url)
            raise StoreRejected(f"store {self.display_url}: {type(error).__name__}: {text}") from error

    def _translate(self, error: BaseException) -> StoreUnavailable | StoreRejected:
        # Report the first error; the ones that followed from it only say that the connection is unusable.
        while isinstance(error.__context__, self._driver_error):
            error = error.__context__
        message = " ".join(without_secrets(str(error), self.url).split())  # those of libpq have several lines
        message = message.removeprefix("connection failed: ")  # of psycopg; libpq's text says so, too
        text, code = f"store {self.display_url}: {message}", getattr(error, "sqlstate", None) or ""
        if rejects_values(error) or not isinstance(error, self._driver_error):
            return StoreRejected(text, code=code)
        return StoreUnavailable(text, kind=failure_kind(error), code=code, hint=hint(message))


def parsed_url(url: str) -> URL:
    """Raises SettingsError if it is not valid, or not that of a supported database."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise SettingsError(
            f"store.url = {display_unparsed(url)!r} is not a valid database URL; use sqlite:///listener.db or postgresql://user@host/name"
        ) from error
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise SettingsError(
            f"store.url names {parsed.get_backend_name()!r}, which is not supported; use sqlite:///… or postgresql://…"
        )
    if parsed.get_backend_name() == "postgresql" and "@" in f"{parsed.host}{parsed.database}":
        raise SettingsError(
            "store.url contains more than one @, so that a part of the password would be taken for the host; write "
            "%40 for an @ in the user, the password or the name of the database"
        )
    return parsed


def _postgres(url: URL, deadline: Deadline) -> Engine:
    try:
        return postgres.engine(url, deadline)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise SettingsError(
            f"store.url = {display_url(url)} requires a driver that is not installed; run "
            "pip install 'mns-listener[postgres]'"
        ) from error


def _files(url: URL) -> SqliteFiles:
    folder_of(url)
    return SqliteFiles(sqlite_path(url), display_url=display_url(url))


def folder_of(url: URL) -> Path:
    """The folder of a SQLite file.

    Raises SettingsError if it does not exist, or if there is no permission to write to it or to the file: neither
    passes by itself.
    """
    file = Path(sqlite_path(url)).absolute()
    if not os.path.isdir(file.parent):
        raise SettingsError(
            f"store.url = {display_url(url)}: the folder {file.parent} does not exist; create it, or use another one"
        )
    _require_permission(url, file.parent, os.W_OK | os.X_OK)
    _require_permission(url, file, os.R_OK | os.W_OK)
    return file.parent


def _require_permission(url: URL, path: Path, mode: int) -> None:
    """Raises SettingsError if the file exists, and this user has no permission for this access to it."""
    if not os.path.exists(path) or os.access(path, mode, effective_ids=True):
        return
    if mode & os.W_OK and os.statvfs(path).f_flag & os.ST_RDONLY:
        return  # a file system may become read-only, and writable again: an outage
    access = "write to" if mode & os.W_OK else "read"
    raise SettingsError(
        f"store.url = {display_url(url)}: the user that runs mns-listener has no permission to {access} {path}; "
        "change its owner or mode, or run mns-listener as another user"
    )


def sqlite_path(url: URL) -> str:
    """The path of a SQLite file. Raises SettingsError if the URL names none."""
    if url.database in (None, "", ":memory:"):
        raise SettingsError(
            f"store.url = {display_url(url)} is not persistent; use a file, e.g. sqlite:///listener.db"
        )
    return url.database or ""


def _sqlite(url: URL, files: SqliteFiles, deadline: Deadline) -> Engine:
    usual = _busy_timeout(deadline)
    engine = sqlalchemy.create_engine(
        url,
        pool_timeout=deadline.pool_timeout,
        # The connection that wrote last has valid pages in its cache; all others must read them again.
        pool_use_lifo=True,
        connect_args={"timeout": usual},
    )

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _record: object, arguments: Any, options: Any) -> Any:
        return files.connect(lambda: _prepared(dialect.connect(*arguments, **options), deadline))

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        use_temp_store(connection, MEMORY if options.get("in_memory") else FILES)
        if not options.get("writes"):
            begin_deferred(connection, usual=usual)
            return
        busy_ms = options.get("busy_ms")
        begin_immediate(connection, deadline, limit=busy_ms / 1000 if busy_ms else usual)

    return engine


def _sqlite_for_reading(url: URL, deadline: Deadline) -> Engine:
    _require_permission(url, Path(sqlite_path(url)).absolute(), os.R_OK)
    engine = sqlalchemy.create_engine(
        url, poolclass=NullPool, connect_args={"timeout": _busy_timeout(deadline)}
    )
    reader = SqliteReader(sqlite_path(url), display_url=display_url(url))

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, record: Any, _arguments: Any, options: Any) -> Any:
        return reader.connect(
            lambda uri: _limited(dialect.connect(uri, uri=True, **options), deadline), record.info
        )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    @event.listens_for(engine, "commit")
    def commit(connection: Connection) -> None:
        reader.verify(connection.info)

    return engine


def _busy_timeout(deadline: Deadline) -> float:
    """How many seconds a statement waits for another process."""
    return min(SQLITE_BUSY_MS / 1000, deadline.timeout)


def _limited(connection: Any, deadline: Deadline) -> Any:
    connection.isolation_level = None  # the driver must not open transactions itself
    connection.set_progress_handler(deadline.passed, SQLITE_CHECK_INTERVAL)
    return connection


def _prepared(connection: Any, deadline: Deadline) -> Any:
    try:
        _limited(connection, deadline)
        use_wal(connection, limit=_busy_timeout(deadline))
        connection.execute("PRAGMA synchronous = FULL")  # a commit that returned survives a power cut
    except BaseException:  # raised again, once the connection is closed
        connection.close()
        raise
    return connection
