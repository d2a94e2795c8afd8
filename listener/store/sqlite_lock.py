"""Switches a SQLite file to a write-ahead log, and begins its transactions: both wait for other processes."""

from __future__ import annotations

import sqlite3
from typing import Final, cast

from sqlalchemy import Connection

from listener.core import clock
from listener.store.deadline import Deadline

#: A wait for another process, or for another thread, is made of waits of this length, in seconds: so soon it notices
#: that the deadline was changed meanwhile. SQLite cannot be interrupted while it waits.
SLICE = 0.1
#: How long a connection waits for other processes, in seconds, in what the pool keeps about it.
_BUSY_TIMEOUT: Final = "busy_timeout"


def use_wal(connection: sqlite3.Connection, *, limit: float) -> None:
    """Let the file have a write-ahead log, unless it has one. ``limit``: its busy timeout in seconds.

    SQLite fails at once, instead of waiting, if another process is writing to a file that has none yet: processes that
    start together with a new file do. So wait for that process by a transaction, and look again.
    """
    until = clock.monotonic() + limit
    while not _uses_wal(connection, until):
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("ROLLBACK")


def _uses_wal(connection: sqlite3.Connection, until: float) -> bool:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if not _is_busy(error) or clock.monotonic() >= until:
            raise
        return False
    return True


def begin_deferred(connection: Connection, *, usual: float) -> None:
    """Begin to read; statements wait for other processes for ``usual`` seconds at most."""
    _set_busy_timeout(connection, usual)
    _driver(connection).execute("BEGIN")


def begin_immediate(connection: Connection, deadline: Deadline, *, limit: float) -> None:
    """Begin, and wait for other processes for at most ``limit`` seconds, but not beyond the deadline.

    A deferred transaction that starts to write later cannot wait for the lock: it fails at once. The statements that
    follow need not wait for others any more.
    """
    until = clock.monotonic() + limit
    while not _began(connection, min(until - clock.monotonic(), deadline.seconds_left)):
        pass


def _began(connection: Connection, left: float) -> bool:
    """Whether a transaction was begun within one slice of the time that is left. Raises once none is left."""
    _set_busy_timeout(connection, max(0.0, min(left, SLICE)))
    try:
        _driver(connection).execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if not _is_busy(error) or left <= SLICE:
            raise
        return False
    return True


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # the other bits are details


def _set_busy_timeout(connection: Connection, seconds: float) -> None:
    """Only if it is another one: the usual transaction needs no statement for this."""
    if connection.info.get(_BUSY_TIMEOUT) != seconds:
        _driver(connection).execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
        connection.info[_BUSY_TIMEOUT] = seconds


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, connection.connection.driver_connection)
