"""Taking rows from all MNS queues in turn, so that the backlog of one queue does not hold up the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, zip_longest
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, func, select


def select_queues(queue: Column[str], condition: ColumnElement[bool]) -> Any:
    """The queues of the rows that meet the condition, by a loose index scan: one lookup per queue, not per row.

    Requires an index that begins with ``queue`` and covers the condition.
    """
    first = select(func.min(queue).label("queue")).where(condition)
    found = first.cte("queues_found", recursive=True)
    following = select(func.min(queue)).where(condition, queue > found.c.queue).scalar_subquery()
    found = found.union_all(select(following).where(found.c.queue.is_not(None)))
    return select(found.c.queue)


def queues_of(connection: Connection, selected: Any) -> list[str]:
    """The queues that a statement of ``select_queues`` finds."""
    return [queue for queue in connection.scalars(selected) if queue is not None]


def in_turn(ids_by_queue: Iterable[Sequence[int]], *, limit: int) -> list[int]:
    """One id of each queue, then the next of each, up to ``limit``."""
    turns = (row_id for turn in zip_longest(*ids_by_queue) for row_id in turn if row_id is not None)
    return list(islice(turns, limit))
