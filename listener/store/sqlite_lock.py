"""Begins transactions that write to a SQLite file, which waits for other processes that are writing to it."""

from __future__ import annotations

import sqlite3

from listener.core import clock
from listener.store.deadline import Deadline

#: A wait for another process, or for another thread, is made of waits of this length, in seconds: so soon it notices
#: that the deadline was changed meanwhile. SQLite cannot be interrupted while it waits.
SLICE = 0.1


def begin_immediate(
    connection: sqlite3.Connection, deadline: Deadline, *, limit: float, usual: float
) -> None:
    """Begin, and wait for other processes for at most ``limit`` seconds, but not beyond the deadline.

    ``usual`` is how long all other statements wait. A deferred transaction that starts to write later cannot wait for
    the lock: it fails at once.
    """
    until = clock.monotonic() + limit
    try:
        while not _began(connection, min(until - clock.monotonic(), deadline.seconds_left)):
            pass
    finally:
        _set_busy_timeout(connection, usual)


def _began(connection: sqlite3.Connection, left: float) -> bool:
    """Whether a transaction was begun within one slice of the time that is left. Raises once none is left."""
    _set_busy_timeout(connection, max(0.0, min(left, SLICE)))
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # the other bits are details
        if not busy or left <= SLICE:
            raise
        return False
    return True


def _set_busy_timeout(connection: sqlite3.Connection, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
