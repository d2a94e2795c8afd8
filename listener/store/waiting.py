"""Results that wait, and for which the time has come: taken from their queues in turn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, bindparam, select

from listener.store.in_turn import in_turn, queues_of, select_queues
from listener.store.rows import mapping
from listener.store.tables import results

_WAITS = results.c.wait_until.is_not(None)
_QUEUES = select_queues(results.c.queue, _WAITS)
_DUE = (
    select(results.c.id)
    .where(_WAITS, results.c.queue == bindparam("of_queue"), results.c.wait_until <= bindparam("now"))
    .order_by(results.c.wait_until)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)


def due(connection: Connection, *, at: datetime, limit: int) -> Sequence[int]:
    """The ids of the rows whose wait is over, longest overdue first within each queue.

    No other process gets them during this transaction.
    """
    found = [
        list(connection.scalars(_DUE, {"of_queue": queue, "now": at, "most": limit}))
        for queue in queues_of(connection, _QUEUES)
    ]
    return in_turn(found, limit=limit)


def rows_of(connection: Connection, ids: Sequence[int]) -> Sequence[RowMapping]:
    """The rows with these ids, in this order."""
    rows = {row.id: mapping(row) for row in connection.execute(select(results).where(results.c.id.in_(ids)))}
    return [rows[row_id] for row_id in ids]
