"""What operators do about dead letters: list them, replay them, delete them permanently."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update

from listener.core.errors import StoreUnavailable
from listener.core.model import Delivery, DeliveryState, Replayed
from listener.core.ports import Decide
from listener.store import changes
from listener.store.changes import ChangeKind
from listener.store.claims import IS_DEAD
from listener.store.database import Database
from listener.store.deliveries import find_delivery, read_page
from listener.store.filters import NO_FILTERS, Filters, search_deliveries
from listener.store.replay import replay
from listener.store.searching import Page, existing
from listener.store.tables import deliveries
from listener.store.unreadable import either, log_unreadable


class DeadLetters:
    """Deliveries that will not be retried. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, *, filters: Filters = NO_FILTERS, before: int = 0, limit: int = 50) -> Page[Delivery]:
        """Newest first; ``before`` takes ``next`` of the previous page. The time is that of the failure."""
        search = search_deliveries(
            filters, indexed=(IS_DEAD,), indexed_by_route=True, time=deliveries.c.settled_at
        )
        return read_page(self._database, lambda _: search, before=before, limit=limit)

    def find(self, delivery_id: int) -> Delivery | None:
        """The dead letter with this id."""
        return find_delivery(self._database, delivery_id, IS_DEAD)

    def existing(self, ids: Sequence[int]) -> Sequence[int]:
        """Those of these ids that are dead letters."""
        return existing(self._database, deliveries, ids, IS_DEAD)

    def count(self) -> int:
        """How many there are; reads nothing but their index."""
        with self._database.read() as connection:
            return connection.scalar(select(func.count()).select_from(deliveries).where(IS_DEAD)) or 0

    def replay(self, ids: Sequence[int], decide: Decide, *, at: datetime, dry_run: bool = False) -> Replayed:
        """Make dead letters pending again, with all their attempts, at the handlers that ``decide`` names now.

        One whose handler is among them returns to it. One whose handler has the same name in another route goes there,
        under the same key. Any other goes to the handlers that have not got its result yet. One that no route matches,
        that has no such handler, or whose result cannot be read, is refused and stays a dead letter.

        ``dry_run``: change nothing, and return what would be done.
        """
        return either(
            lambda: self._replay(ids, decide, at=at, dry_run=dry_run),
            lambda: _joined([self._replay_alone(row, decide, at=at, dry_run=dry_run) for row in ids]),
        )

    def _replay_alone(self, row: int, decide: Decide, *, at: datetime, dry_run: bool) -> Replayed:
        try:
            return self._replay([row], decide, at=at, dry_run=dry_run)
        except StoreUnavailable:
            raise
        except Exception as error:  # whatever is wrong with this row, the others are replayed
            reason = log_unreadable(deliveries, row, error)
            return Replayed(refused={row: f"it cannot be read: {reason}"})

    def _replay(self, ids: Sequence[int], decide: Decide, *, at: datetime, dry_run: bool) -> Replayed:
        with self._database.write() as connection:
            replayed = replay(connection, ids, decide, at=at)
            if dry_run:
                connection.rollback()
        return replayed

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
            found = sorted(dropped)
            changes.add(connection, {ChangeKind.DROPPED: found}, at=at)
        return found


def _joined(each: Sequence[Replayed]) -> Replayed:
    return Replayed(
        ids=[row for one in each for row in one.ids],
        targets={row: targets for one in each for row, targets in one.targets.items()},
        refused={row: reason for one in each for row, reason in one.refused.items()},
    )
