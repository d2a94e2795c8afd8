"""What operators do about parked results: list them, route them again after routes were changed, drop them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import Connection, Select, select, update

from listener.core.errors import StoreUnavailable
from listener.core.model import RecordSummary, ResultStatus
from listener.core.ports import Decide
from listener.store import changes, ingest
from listener.store.changes import ChangeKind
from listener.store.database import Database
from listener.store.filters import NO_FILTERS, Filters
from listener.store.queries import Queries, StoredResult
from listener.store.row_actions import Changed, joined
from listener.store.searching import Page, existing
from listener.store.selects import rows_in_order
from listener.store.tables import results
from listener.store.unreadable import either, log_unreadable

#: Why a result stays parked, if nothing else is known.
STILL_PARKED: Final = "no route matches"


class ParkedResults:
    """Results that no route matched. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, *, filters: Filters = NO_FILTERS, before: int = 0, limit: int = 50) -> Page[StoredResult]:
        """Newest first; ``before`` takes ``next`` of the previous page."""
        return Queries(self._database).results(
            status=ResultStatus.PARKED, filters=filters, before=before, limit=limit
        )

    def find(self, result_id: int) -> StoredResult | None:
        """The parked result with this id."""
        found = Queries(self._database).result(result_id)
        return found if found and found.status is ResultStatus.PARKED else None

    def existing(self, ids: Sequence[int]) -> Sequence[int]:
        """Those of these ids that are parked."""
        return existing(self._database, results, ids, results.c.status == ResultStatus.PARKED)

    def reroute(self, ids: Sequence[int], decide: Decide, *, at: datetime, dry_run: bool = False) -> Changed:
        """Decide again about these results. One that no route matches, or that cannot be read, is refused and stays.

        ``dry_run``: change nothing, and return what would be done.
        """
        return either(
            lambda: self._reroute(ids, decide, at=at, dry_run=dry_run),
            lambda: joined([self._reroute_alone(row, decide, at=at, dry_run=dry_run) for row in ids]),
        )

    def _reroute_alone(self, row: int, decide: Decide, *, at: datetime, dry_run: bool) -> Changed:
        try:
            return self._reroute([row], decide, at=at, dry_run=dry_run)
        except StoreUnavailable:
            raise
        except Exception as error:  # whatever is wrong with this row, the others are routed
            reason = log_unreadable(results, row, error)
            return Changed([], {row: f"it cannot be read: {reason}"})

    def _reroute(self, ids: Sequence[int], decide: Decide, *, at: datetime, dry_run: bool) -> Changed:
        with self._database.write() as connection:
            found = list(connection.scalars(_parked(ids).with_for_update()))
            by_key = _ids_by_key(connection, found)
            summary = _reroute(connection, found, decide, at=at)
            parked = set(connection.scalars(_parked(found)))
            if dry_run:
                connection.rollback()
        entries = {
            by_key[entry.result.dedup_key]: entry
            for entry in summary.entries()
            if entry.result and entry.result.dedup_key in by_key
        }
        return Changed(
            [row for row in found if row not in parked],
            {row: entries[row].reason if row in entries else STILL_PARKED for row in sorted(parked)},
            targets={row: entry.targets for row, entry in entries.items() if row not in parked},
        )

    def drop(self, ids: Sequence[int], *, at: datetime) -> Sequence[int]:
        """Let parked results go to no handler; returns those that were parked. Retention deletes them later."""
        with self._database.write() as connection:
            dropped = sorted(
                connection.scalars(
                    update(results)
                    .where(results.c.id.in_(ids), results.c.status == ResultStatus.PARKED)
                    .values(status=ResultStatus.DROPPED)
                    .returning(results.c.id)
                )
            )
            changes.add(connection, {ChangeKind.DECIDED: dropped}, at=at)
            return dropped


def _parked(ids: Sequence[int]) -> Select[tuple[int]]:
    return (
        select(results.c.id)
        .where(results.c.id.in_(ids), results.c.status == ResultStatus.PARKED)
        .order_by(results.c.id)
    )


def _ids_by_key(connection: Connection, ids: Sequence[int]) -> Mapping[str, int]:
    found = connection.execute(select(results.c.dedup_key, results.c.id).where(results.c.id.in_(ids)))
    return {row.dedup_key: row.id for row in found}


def reroute_parked(database: Database, decide: Decide, *, at: datetime, batch: int = 500) -> tuple[int, int]:
    """Decide again about all parked results, in one transaction per batch, oldest first.

    Returns how many results were looked at and how many deliveries were written. Those that cannot be read stay parked.
    """
    looked = written = last = 0
    while True:
        step = partial(_step, database, decide, at=at, after=last, limit=batch)
        ids, deliveries = either(partial(step, reroute=_reroute), partial(step, reroute=ingest.reroute_each))
        if not ids:
            return looked, written
        looked, written, last = looked + len(ids), written + deliveries, ids[-1]


def _step(
    database: Database,
    decide: Decide,
    *,
    at: datetime,
    after: int,
    limit: int,
    reroute: Callable[..., RecordSummary],
) -> tuple[Sequence[int], int]:
    """The ids of the next parked results, and how many deliveries were written for them."""
    parked = select(results.c.id).where(results.c.status == ResultStatus.PARKED, results.c.id > after)
    with database.write() as connection:
        ids = list(connection.scalars(parked.order_by(results.c.id).limit(limit).with_for_update()))
        return ids, reroute(connection, ids, decide, at=at).deliveries if ids else 0


def _reroute(connection: Connection, ids: Sequence[int], decide: Decide, *, at: datetime) -> RecordSummary:
    return ingest.reroute(connection, rows_in_order(connection, results, ids), decide, at=at)
