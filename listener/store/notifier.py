"""Waits for notifications of other processes that there are deliveries to claim (PostgreSQL only)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from listener.store.database import Database
from listener.store.postgres import CHANNEL


class Notifier:
    """Receives what ``postgres.notify`` sends, on a connection of its own. For one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None

    def wait(self, limit: timedelta) -> bool:
        """Whether a notification came within this time. Raises StoreUnavailable; the next call reconnects then.

        Opening a connection counts as a notification, too, because earlier ones were missed.
        """
        try:
            with self._database.translated():
                return self._notified(limit)
        except BaseException:  # raised again, once the connection is closed
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # it still listens, and must not go back into the pool
            connection.close()

    def _notified(self, limit: timedelta) -> bool:
        if self._connection is None:
            autocommit = {"isolation_level": "AUTOCOMMIT"}
            with self._database.deadline.limited():
                self._connection = self._database.engine.connect().execution_options(**autocommit)
                self._connection.exec_driver_sql(f"LISTEN {CHANNEL}")
            return True
        driver: Any = self._connection.connection.driver_connection
        return bool(list(driver.notifies(timeout=limit.total_seconds(), stop_after=1)))
