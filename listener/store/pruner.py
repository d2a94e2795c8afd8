"""Deletes what is long finished, in steps so small that nobody notices.

A pass walks over the results, the jobs and the quarantine in the order in which they were written, and ends where they
are too young. Each step looks at so many rows and no more, however much the store holds; what must stay is passed over,
and looked at again in the next pass.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, or_, select

from listener.core.model import DeliveryState, ResultStatus
from listener.store.database import Database
from listener.store.postgres import is_postgres, may_clean
from listener.store.tables import deliveries, jobs, quarantine, results

#: Rows that one transaction looks at: others wait for it a few milliseconds.
STEP = 20
#: Between two passes: whatever has become old enough meanwhile can wait.
REST = timedelta(minutes=10)

_CLOSED = (DeliveryState.DONE, DeliveryState.DROPPED)
#: Results that wait for their job, or for a route.
_OPEN = (ResultStatus.WAITING, ResultStatus.PARKED)


class Pruner:
    """Keeps results, jobs and quarantine for so long. For one thread."""

    def __init__(self, database: Database, *, keep: timedelta) -> None:
        self._database = database
        self._keep = keep
        self._tables = (results, jobs, quarantine)
        self._at = 0  #: which of the tables
        self._after = 0  #: and the last row that was looked at
        self._rest_until: datetime | None = None
        self.resting = False  #: whether the last step had nothing to do, or left it to another process

    def step(self, now: datetime) -> int:
        """Look at a few rows and delete those that may go; returns how many. Raises StoreUnavailable.

        A result goes with its deliveries: all of them done or dropped, and that for long enough. A job goes once its
        results are gone. What is unfinished, parked or dead stays for ever.
        """
        self.resting = not self._keep or (self._rest_until is not None and now < self._rest_until)
        if self.resting:
            return 0
        with self._database.write() as connection:
            if is_postgres(connection) and not may_clean(connection):
                self.resting = True
                return 0
            old, more, deleted = self._clean(connection, now - self._keep)
        self._move(old, more=more, now=now)
        return deleted

    def _clean(self, connection: Connection, before: datetime) -> tuple[list[int], bool, int]:
        """The rows looked at that are old, whether there may be more of them, and how many were deleted."""
        table = self._tables[self._at]
        since = table.c.created_at if table is jobs else table.c.received_at
        rows = connection.execute(
            select(table.c.id, since).where(table.c.id > self._after).order_by(table.c.id).limit(STEP)
        ).all()
        old = [row_id for row_id, at in rows if at < before]
        deleted = _delete(connection, table, old, before) if old else 0
        return old, len(rows) == STEP and len(old) > 0, deleted

    def _move(self, old: list[int], *, more: bool, now: datetime) -> None:
        """On to the next rows, the next table, or a rest."""
        if more:
            self._after = old[-1]
            return
        self._after, self._at = 0, (self._at + 1) % len(self._tables)
        self._rest_until = now + REST if self._at == 0 else None


def _delete(connection: Connection, table: Any, old: list[int], before: datetime) -> int:
    if table is results:
        return _delete_results(connection, old, before)
    if table is jobs:
        return _delete_jobs(connection, old, before)
    return connection.execute(delete(quarantine).where(quarantine.c.id.in_(old))).rowcount


# Each question is one look into an index by the ids of this step, whatever a planner thinks of the tables.


def _delete_results(connection: Connection, old: list[int], before: datetime) -> int:
    needed = connection.scalars(
        select(deliveries.c.result).where(
            deliveries.c.result.in_(old),
            or_(deliveries.c.state.not_in(_CLOSED), deliveries.c.settled_at >= before),
        )
    )
    stay = set(needed)
    rows = connection.execute(
        select(results.c.id, results.c.job).where(
            results.c.id.in_(old), results.c.status.not_in(_OPEN), results.c.id.not_in(stay)
        )
    ).all()
    unfinished = _unfinished(connection, {row.job for row in rows if row.job})
    ids = [row.id for row in rows if row.job not in unfinished]
    if not ids:
        return 0
    connection.execute(delete(deliveries).where(deliveries.c.result.in_(ids)))
    return connection.execute(delete(results).where(results.c.id.in_(ids))).rowcount


def _unfinished(connection: Connection, ids: set[int]) -> set[int]:
    found = select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.finished_at.is_(None))
    return set(connection.scalars(found)) if ids else set()


def _delete_jobs(connection: Connection, old: list[int], before: datetime) -> int:
    needed = set(connection.scalars(select(results.c.job).where(results.c.job.in_(old))))
    ids = [row_id for row_id in old if row_id not in needed]
    return connection.execute(delete(jobs).where(jobs.c.id.in_(ids), jobs.c.finished_at < before)).rowcount
