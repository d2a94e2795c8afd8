"""Results that wait for their job or for MPS, and for which the time has come: taken from their queues in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Boolean, Connection, bindparam, or_, select

from listener.core.model import ResultStatus
from listener.store.in_turn import in_turn, queues_of, select_queues
from listener.store.tables import results

_WAITS = results.c.wait_until.is_not(None)
_QUEUES = select_queues(results.c.queue, _WAITS)
_DUE = (
    select(results.c.id)
    .where(
        _WAITS,
        results.c.queue == bindparam("of_queue"),
        results.c.wait_until <= bindparam("now"),
        results.c.status == bindparam("of_status"),
        or_(bindparam("any_job", type_=Boolean), results.c.job.is_not(None)),
    )
    .order_by(results.c.wait_until)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)


def any_queue(_queue: str) -> bool:
    """Takes from all queues."""
    return True


def due(
    connection: Connection,
    status: ResultStatus,
    *,
    at: datetime,
    limit: int,
    takes: Callable[[str], bool] = any_queue,
    only_known: bool = False,
) -> Sequence[int]:
    """The ids of the rows with this status whose wait is over, from the queues that ``takes`` accepts; only those of
    known jobs if ``only_known``.

    Longest overdue first within each queue; no other process gets them during this transaction.
    """
    wanted = {"of_status": status, "now": at, "most": limit, "any_job": not only_known}
    found = [
        list(connection.scalars(_DUE, {"of_queue": queue, **wanted}))
        for queue in queues_of(connection, _QUEUES)
        if takes(queue)
    ]
    return in_turn(found, limit=limit)
