"""What operators do about deliveries: list them, retry pending ones now, cancel them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, literal, select, union_all, update

from listener.core.model import Delivery, DeliveryState
from listener.store import changes, searching
from listener.store.claims import IS_DEAD, IS_PENDING, IS_RUNNING, Load, due, load, load_each
from listener.store.database import Database
from listener.store.filters import NO_FILTERS, Filters, search_deliveries
from listener.store.postgres import notify
from listener.store.searching import Page, Search, existing
from listener.store.tables import UtcTimestamp, deliveries
from listener.store.unreadable import read

#: The states of deliveries that are not settled yet.
UNSETTLED: Final = (DeliveryState.PENDING, DeliveryState.RUNNING)
#: The reason of a dead letter that was a cancelled delivery; the last error, if any, follows.
CANCELLED: Final = "cancelled by an operator"


class Deliveries:
    """All deliveries. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self,
        *,
        states: Sequence[DeliveryState] = UNSETTLED,
        filters: Filters = NO_FILTERS,
        before: int = 0,
        limit: int = 50,
    ) -> Page[Delivery]:
        """Newest first; ``before`` takes ``next`` of the previous page."""
        return read_page(
            self._database,
            lambda connection: _search(connection, states, filters),
            before=before,
            limit=limit,
        )

    def find(self, delivery_id: int) -> Delivery | None:
        """The delivery with this id."""
        return find_delivery(self._database, delivery_id)

    def retry(self, ids: Sequence[int], *, at: datetime) -> Sequence[int]:
        """Make pending deliveries due at once; returns those that were pending."""
        with self._database.write() as connection:
            made_due = connection.scalars(
                update(deliveries)
                .where(deliveries.c.id.in_(ids), deliveries.c.state == DeliveryState.PENDING)
                # settled_at is when its wait began: see future_rows.
                .values(**due(literal(at, UtcTimestamp)), settled_at=at)
                .returning(deliveries.c.id)
            )
            found = sorted(made_due)
            notify(connection)
        return found

    def cancel(self, ids: Sequence[int], *, at: datetime) -> Sequence[int]:
        """Make pending deliveries dead letters, which can be replayed; returns those that were pending."""
        last_error = func.coalesce(literal("; last error: ") + deliveries.c.last_error, "")
        with self._database.write() as connection:
            cancelled = connection.scalars(
                update(deliveries)
                .where(deliveries.c.id.in_(ids), deliveries.c.state == DeliveryState.PENDING)
                .values(
                    state=DeliveryState.DEAD,
                    next_at=None,
                    settled_at=at,
                    last_error=literal(CANCELLED) + last_error,
                )
                .returning(deliveries.c.id)
            )
            found = sorted(cancelled)
            changes.add_dead(connection, found, at=at)
        return found


class PendingDeliveries:
    """The pending ones among all deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._deliveries = Deliveries(database)

    def page(self, *, filters: Filters = NO_FILTERS, before: int = 0, limit: int = 50) -> Page[Delivery]:
        """Newest first; ``before`` takes ``next`` of the previous page."""
        states = (DeliveryState.PENDING,)
        return self._deliveries.page(states=states, filters=filters, before=before, limit=limit)

    def find(self, delivery_id: int) -> Delivery | None:
        """The pending delivery with this id."""
        found = self._deliveries.find(delivery_id)
        return found if found and found.state is DeliveryState.PENDING else None

    def existing(self, ids: Sequence[int]) -> Sequence[int]:
        """Those of these ids that are pending."""
        return existing(self._database, deliveries, ids, IS_PENDING)


def read_page(
    database: Database, search: Callable[[Connection], Search], *, before: int, limit: int
) -> Page[Delivery]:
    """A page of the deliveries that the search finds; those that cannot be read are logged and left out."""

    def run(connection: Connection, load_deliveries: Load) -> Page[Delivery]:
        rows = searching.find(
            connection, select(deliveries.c.id), deliveries, search(connection), before=before, limit=limit
        )
        return rows.of(load_deliveries(connection, [row.id for row in rows]))

    return read(
        database, lambda connection: run(connection, load), lambda connection: run(connection, load_each)
    )


def find_delivery(database: Database, delivery_id: int, *conditions: ColumnElement[bool]) -> Delivery | None:
    """The delivery with this id, if it meets the conditions."""
    search = Search(bounds=(deliveries.c.id == delivery_id,), others=conditions)
    found = read_page(database, lambda _: search, before=0, limit=1)
    return found[0] if found else None


def _search(connection: Connection, states: Sequence[DeliveryState], filters: Filters) -> Search:
    """By the partial indexes of these states. Only that of dead letters is in the order of ids: others are used unless
    they have many rows, all of which would be sorted for each page."""
    indexed = {
        DeliveryState.PENDING: IS_PENDING,
        DeliveryState.RUNNING: IS_RUNNING,
        DeliveryState.DEAD: IS_DEAD,
    }
    in_states = deliveries.c.state.in_(states)
    if set(states) == {DeliveryState.DEAD}:
        return search_deliveries(filters, indexed=(IS_DEAD,), indexed_by_route=True)
    if not all(state in indexed for state in states):
        return search_deliveries(filters, others=(in_states,))
    ids = union_all(*(select(deliveries.c.id).where(indexed[state]) for state in states))
    if searching.are_many(connection, ids):
        return search_deliveries(filters, others=(in_states,))
    return search_deliveries(filters, indexed=(deliveries.c.id.in_(ids),))
