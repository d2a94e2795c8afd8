"""What operators do about dead letters: list them, replay them, delete them permanently."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from listener.core.errors import StoreUnavailable
from listener.core.model import Delivery, DeliveryState
from listener.core.ports import Decide
from listener.store import ingest
from listener.store.claims import IS_DEAD
from listener.store.database import Database
from listener.store.deliveries import read_page
from listener.store.filters import NO_FILTERS, Filters, of_deliveries
from listener.store.postgres import notify
from listener.store.queries import page_of
from listener.store.rows import mapping
from listener.store.tables import deliveries, results
from listener.store.unreadable import either, log_unreadable


class DeadLetters:
    """Deliveries that will not be retried. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, *, filters: Filters = NO_FILTERS, before: int = 0, limit: int = 50) -> Sequence[Delivery]:
        """Newest first; ``before`` takes the last id of the previous page. The time is that of the failure."""
        page = page_of(select(deliveries.c.id), deliveries, before, limit).where(IS_DEAD)
        return read_page(self._database, page.where(*of_deliveries(filters, time=deliveries.c.settled_at)))

    def find(self, delivery_id: int) -> Delivery | None:
        """The dead letter with this id."""
        wanted = select(deliveries.c.id).where(deliveries.c.id == delivery_id, IS_DEAD)
        found = read_page(self._database, wanted)
        return found[0] if found else None

    def count(self) -> int:
        """How many there are; reads nothing but their index."""
        with self._database.read() as connection:
            return connection.scalar(select(func.count()).select_from(deliveries).where(IS_DEAD)) or 0

    def replay(self, ids: Sequence[int], decide: Decide, *, at: datetime) -> Sequence[int]:
        """Make dead letters pending again, with all their attempts; returns those that were dead letters.

        One that never had a route, because its job was unknown, is routed by ``decide``. One whose result cannot be
        read stays a dead letter.
        """

        return either(
            lambda: self._replay(ids, decide, at=at),
            lambda: [row for row in ids if self._replay_alone(row, decide, at=at)],
        )

    def _replay_alone(self, row: int, decide: Decide, *, at: datetime) -> bool:
        try:
            return bool(self._replay([row], decide, at=at))
        except StoreUnavailable:
            raise
        except Exception as error:  # whatever is wrong with this row, the others are replayed
            log_unreadable(deliveries, row, error)
            return False

    def _replay(self, ids: Sequence[int], decide: Decide, *, at: datetime) -> Sequence[int]:
        with self._database.write() as connection:
            replayed = _make_pending(connection, ids, at=at)
            routed = _reroute_unrouted(connection, [row for row in ids if row not in replayed], decide, at=at)
        return [row for row in ids if row in replayed or row in routed]

    def drop(self, ids: Sequence[int], *, at: datetime) -> Sequence[int]:
        """Discard dead letters permanently; returns those that were dead letters.

        Their rows stay, marked as dropped, until retention deletes them.
        """
        with self._database.write() as connection:
            dropped = connection.scalars(
                update(deliveries)
                .where(deliveries.c.id.in_(ids), deliveries.c.state == DeliveryState.DEAD)
                .values(state=DeliveryState.DROPPED, settled_at=at)
                .returning(deliveries.c.id)
            )
            return sorted(dropped)


def _make_pending(connection: Connection, ids: Sequence[int], *, at: datetime) -> set[int]:
    pending = connection.scalars(
        update(deliveries)
        .where(deliveries.c.id.in_(ids), deliveries.c.state == DeliveryState.DEAD, deliveries.c.handler != "")
        # Its age counts from now, or a delivery that exceeded retry.max_elapsed could never be replayed.
        .values(state=DeliveryState.PENDING, failures=0, next_at=at, settled_at=None, created_at=at)
        .returning(deliveries.c.id)
    )
    notify(connection)
    return set(pending)


def _reroute_unrouted(
    connection: Connection, ids: Sequence[int], decide: Decide, *, at: datetime
) -> set[int]:
    """Route the results of dead letters without a route; these dead letters are dropped, others take their place."""
    dead = {
        row.result: row.id
        for row in connection.execute(
            select(deliveries.c.result, deliveries.c.id)
            .where(deliveries.c.id.in_(ids), deliveries.c.state == DeliveryState.DEAD)
            .order_by(deliveries.c.id)
            .with_for_update()
        )
    }
    rows = [mapping(row) for row in connection.execute(select(results).where(results.c.id.in_(sorted(dead))))]
    if rows:
        ingest.reroute(connection, rows, decide, at=at)
        connection.execute(
            update(deliveries)
            .where(deliveries.c.id.in_(sorted(dead.values())))
            .values(state=DeliveryState.DROPPED, settled_at=at)
        )
    return set(dead.values())
