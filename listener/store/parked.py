"""Re-evaluates the routing of parked results, after routes were added or changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, select

from listener.core.model import ResultStatus
from listener.core.ports import Decide
from listener.store import ingest
from listener.store.database import Database
from listener.store.rows import mapping
from listener.store.tables import results


def reroute_parked(database: Database, decide: Decide, *, at: datetime, batch: int = 500) -> tuple[int, int]:
    """Decide again about all parked results, in one transaction per batch, oldest first.

    Returns how many results were looked at and how many deliveries were written.
    """
    looked = written = last = 0
    while True:
        with database.write() as connection:
            rows = _parked(connection, after=last, limit=batch)
            if not rows:
                return looked, written
            written += ingest.reroute(connection, rows, decide, at=at).deliveries
        looked, last = looked + len(rows), rows[-1]["id"]


def _parked(connection: Connection, *, after: int, limit: int) -> Sequence[RowMapping]:
    parked = select(results).where(results.c.status == ResultStatus.PARKED, results.c.id > after)
    oldest = parked.order_by(results.c.id).limit(limit).with_for_update()
    return [mapping(row) for row in connection.execute(oldest)]
