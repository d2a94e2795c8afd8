"""What operators do about deliveries: list them, retry pending ones now, cancel them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, literal, select, union_all, update

from listener.core.model import Delivery, DeliveryState
from listener.store import changes
from listener.store.claims import IS_DEAD, IS_PENDING, IS_RUNNING, due, load, load_each
from listener.store.database import Database
from listener.store.filters import NO_FILTERS, Filters, of_deliveries
from listener.store.postgres import notify
from listener.store.queries import page_of
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
    ) -> Sequence[Delivery]:
        """Newest first; ``before`` takes the last id of the previous page."""
        page = page_of(select(deliveries.c.id), deliveries, before, limit)
        return read_page(self._database, page.where(_in_states(states), *of_deliveries(filters)))

    def find(self, delivery_id: int) -> Delivery | None:
        """The delivery with this id."""
        found = read_page(self._database, select(deliveries.c.id).where(deliveries.c.id == delivery_id))
        return found[0] if found else None

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
        self._deliveries = Deliveries(database)

    def page(self, *, filters: Filters = NO_FILTERS, before: int = 0, limit: int = 50) -> Sequence[Delivery]:
        """Newest first; ``before`` takes the last id of the previous page."""
        states = (DeliveryState.PENDING,)
        return self._deliveries.page(states=states, filters=filters, before=before, limit=limit)

    def find(self, delivery_id: int) -> Delivery | None:
        """The pending delivery with this id."""
        found = self._deliveries.find(delivery_id)
        return found if found and found.state is DeliveryState.PENDING else None


def read_page(database: Database, page: Select[Any]) -> Sequence[Delivery]:
    """The deliveries whose ids this statement finds; those that cannot be read are logged and left out."""
    return read(
        database,
        lambda connection: load(connection, list(connection.scalars(page))),
        lambda connection: load_each(connection, list(connection.scalars(page))),
    )


def _in_states(states: Sequence[DeliveryState]) -> ColumnElement[bool]:
    """A condition that partial indexes serve, where there are any."""
    indexed = {
        DeliveryState.PENDING: IS_PENDING,
        DeliveryState.RUNNING: IS_RUNNING,
        DeliveryState.DEAD: IS_DEAD,
    }
    if not all(state in indexed for state in states):
        return deliveries.c.state.in_(states)
    each = (select(deliveries.c.id).where(indexed[state]) for state in states)
    return deliveries.c.id.in_(union_all(*each))
