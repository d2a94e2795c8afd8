"""Re-evaluates the routing of parked results, after routes were added or changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, select

from listener.core.model import RecordSummary, ResultStatus
from listener.core.ports import Decide
from listener.store import ingest
from listener.store.database import Database
from listener.store.rows import mapping
from listener.store.tables import results
from listener.store.unreadable import either


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
    found = connection.execute(select(results).where(results.c.id.in_(ids)).order_by(results.c.id))
    return ingest.reroute(connection, [mapping(row) for row in found], decide, at=at)
