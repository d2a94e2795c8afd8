"""Rows that cannot be read, because one of their bits has flipped for example: they must not stop others.

Everything is read in the usual way first, many rows with one statement. Only if that fails is it done again row by row,
each in a savepoint of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Table, insert, update
from sqlalchemy.exc import StatementError

from listener.core.errors import StoreUnavailable
from listener.core.logger import get_logger
from listener.core.model import DeliveryState, ResultStatus
from listener.store import changes
from listener.store.changes import ChangeKind
from listener.store.database import Database
from listener.store.error_classes import rejects_values
from listener.store.tables import deliveries, results

log = get_logger(__name__)

Value = TypeVar("Value")

#: How many characters of an error are stored with a dead letter.
MAX_REASON: Final = 500


def either(usual: Callable[[], Value], row_by_row: Callable[[], Value]) -> Value:
    """What ``usual`` returns; if anything but an outage stops it, what ``row_by_row`` returns."""
    try:
        return usual()
    except StoreUnavailable:
        raise
    except Exception:  # it may be one row; if it is not, the other way fails as well
        return row_by_row()


def read(
    database: Database, usual: Callable[[Connection], Value], row_by_row: Callable[[Connection], Value]
) -> Value:
    """The same, each in a reading transaction."""

    def within(work: Callable[[Connection], Value]) -> Value:
        with database.read() as connection:
            return work(connection)

    return either(lambda: within(usual), lambda: within(row_by_row))


def each_of(
    connection: Connection,
    table: Table,
    ids: Iterable[int],
    work: Callable[[int], Value],
    *,
    set_aside: Callable[[int, str], None] | None = None,
) -> list[Value]:
    """What ``work`` returns for each of these rows; ``set_aside`` gets those that stop it, with the reason."""
    done: list[Value] = []
    for row_id in ids:
        try:
            with connection.begin_nested():
                done.append(work(row_id))
        except Exception as error:  # whatever is wrong with this row, the others can be read
            _raise_outage(connection, error)
            reason = log_unreadable(table, row_id, error)
            if set_aside:
                with connection.begin_nested():
                    set_aside(row_id, reason)
    return done


def log_unreadable(table: Table, row_id: int, error: Exception) -> str:
    """Log it; returns what is wrong with the row, in characters that can be stored."""
    reason = ascii(f"{type(error).__name__}: {error}")[1 : MAX_REASON + 1].rstrip("'\"")
    log.error("row.unreadable", table=table.name, id=row_id, error=reason)
    return reason


def delivery_aside(connection: Connection, *, at: datetime) -> Callable[[int, str], None]:
    """Makes a delivery a dead letter."""

    def set_aside(row_id: int, reason: str) -> None:
        connection.execute(
            update(deliveries)
            .where(deliveries.c.id == row_id)
            .values(
                state=DeliveryState.DEAD,
                owner=None,
                lease_until=None,
                next_at=None,
                settled_at=at,
                last_error=f"the delivery, its result or its job cannot be read: {reason}",
            )
        )
        changes.add_dead(connection, [row_id], at=at)

    return set_aside


def result_aside(connection: Connection, *, at: datetime) -> Callable[[int, str], None]:
    """Gives a result that waits a dead letter without a route; a replay of that decides about it again."""

    def set_aside(row_id: int, reason: str) -> None:
        refused = {"status": ResultStatus.REFUSED, "wait_until": None}
        connection.execute(update(results).where(results.c.id == row_id).values(**refused))
        dead = insert(deliveries).values(_dead_letter(row_id, reason, at=at)).returning(deliveries.c.id)
        letters = connection.scalars(dead).all()
        changes.add(connection, {ChangeKind.DECIDED: [row_id]}, at=at)
        changes.add_dead(connection, letters, at=at)

    return set_aside


def _dead_letter(result: int, reason: str, *, at: datetime) -> dict[str, Any]:
    return {
        "result": result,
        "queue": "",
        "route": "",
        "handler": "",
        "state": DeliveryState.DEAD,
        "attempt": 0,
        "failures": 0,
        "last_error": f"the result or its job cannot be read: {reason}",
        "created_at": at,
        "settled_at": at,
    }


def _raise_outage(connection: Connection, error: Exception) -> None:
    """Raise the error again if it is one of the database that is not about a row."""
    dialect: Any = connection.dialect
    cause = error.orig if isinstance(error, StatementError) and error.orig else error
    if isinstance(cause, dialect.loaded_dbapi.Error) and not rejects_values(cause):
        raise error
