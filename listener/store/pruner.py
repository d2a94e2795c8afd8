"""Retention: deletes completed records after a while, in steps so small that other work is not held up.

A pass walks over results, jobs and quarantine in the order in which they were written, and stops at rows that are too
young. Each step looks at a fixed number of rows, however large the store is; rows that must stay are skipped and
looked at again in the next pass.

The size of a step and the pause between two passes are set here (ROWS_PER_STEP, PASS_INTERVAL). The fraction of the
time that steps may take, and thus the pause between two steps, is set in ``daemon/maintenance.py``
(PRUNE_FRACTION_IDLE, _BUSY).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select

from listener.core.model import DeliveryState, ResultStatus
from listener.store.database import Database
from listener.store.postgres import is_postgres, may_prune
from listener.store.tables import attempts, changes, deliveries, jobs, quarantine, results

#: How many rows one transaction looks at; other writers wait for it for a few milliseconds.
ROWS_PER_STEP = 20
#: The same of changes, which are small rows that nothing refers to; there are more of them than of anything else.
CHANGES_PER_STEP = 200
#: The pause between two passes.
PASS_INTERVAL = timedelta(minutes=10)

_CLOSED = (DeliveryState.DONE, DeliveryState.DROPPED)
#: The age of a row counts from this time.
_SINCE = {
    results: results.c.received_at,
    jobs: jobs.c.created_at,
    quarantine: quarantine.c.received_at,
    changes: changes.c.at,
}
#: Results that still wait for their job, for MPS, or for a route.
_OPEN = (ResultStatus.WAITING, ResultStatus.VERIFYING, ResultStatus.PARKED)


class Pruner:
    """Keeps results, jobs and quarantine for the duration ``keep``; zero keeps them with no limit. For one thread."""

    def __init__(self, database: Database, *, keep: timedelta) -> None:
        self._database = database
        self._keep = keep
        self._tables = (results, jobs, quarantine, changes)
        self._at = 0  #: index of the current table
        self._after = 0  #: id of the last row that was looked at in it
        self._paused_until: datetime | None = None
        self.paused = False  #: whether the last step had nothing to do, or another process was pruning

    def step(self, now: datetime) -> int:
        """Look at a few rows and delete those that have expired; returns how many, changes aside.

        Raises StoreUnavailable.

        A result is deleted together with its deliveries, once all of them have been done or dropped for long enough;
        a job once its results are deleted. What is unfinished, parked or dead is never deleted.
        """
        resting = self._paused_until is not None and now < self._paused_until <= now + PASS_INTERVAL
        # No longer than that, wherever the clock was when the rest began.
        self.paused = not self._keep or resting
        if self.paused:
            return 0
        with self._database.write() as connection:
            if is_postgres(connection) and not may_prune(connection):
                self.paused = True
                return 0
            old, more, deleted = self._prune(connection, now - self._keep)
        self._move(old, more=more, now=now)
        return deleted

    def _prune(self, connection: Connection, before: datetime) -> tuple[list[int], bool, int]:
        """The ids of the old rows among those looked at, whether there may be more, and how many were deleted."""
        table = self._tables[self._at]
        limit = CHANGES_PER_STEP if table is changes else ROWS_PER_STEP
        rows = connection.execute(
            # Compared in the database: whatever the column holds, it need not be read.
            select(table.c.id, _SINCE[table] < before)
            .where(table.c.id > self._after)
            .order_by(table.c.id)
            .limit(limit)
        ).all()
        old = [row_id for row_id, is_old in rows if is_old]
        deleted = _delete(connection, table, old, before) if old else 0
        return old, len(rows) == limit and len(old) > 0, deleted

    def _move(self, old: list[int], *, more: bool, now: datetime) -> None:
        """Continue with the next rows, the next table, or a rest."""
        if more:
            self._after = old[-1]
            return
        self._after, self._at = 0, (self._at + 1) % len(self._tables)
        self._paused_until = now + PASS_INTERVAL if self._at == 0 else None


def _delete(connection: Connection, table: Any, old: list[int], before: datetime) -> int:
    if table is results:
        return _delete_results(connection, old, before)
    if table is jobs:
        return _delete_jobs(connection, old, before)
    if table is changes:
        _delete_changes(connection, old)
        return 0
    return connection.execute(delete(quarantine).where(quarantine.c.id.in_(old))).rowcount


# Each query looks up the ids of this step in an index, whatever the planner's statistics say about the tables.


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
    deleted = connection.scalars(
        delete(deliveries).where(deliveries.c.result.in_(ids)).returning(deliveries.c.id)
    )
    connection.execute(delete(attempts).where(attempts.c.delivery.in_(deleted.all())))
    return connection.execute(delete(results).where(results.c.id.in_(ids))).rowcount


def _delete_changes(connection: Connection, old: list[int]) -> None:
    """All but the newest one, by which the feed knows the cursors of this store from those of another one."""
    newest = select(func.max(changes.c.id)).scalar_subquery()
    connection.execute(delete(changes).where(changes.c.id.in_(old), changes.c.id < newest))


def _unfinished(connection: Connection, ids: set[int]) -> set[int]:
    found = select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.finished_at.is_(None))
    return set(connection.scalars(found)) if ids else set()


def _delete_jobs(connection: Connection, old: list[int], before: datetime) -> int:
    needed = set(connection.scalars(select(results.c.job).where(results.c.job.in_(old))))
    ids = [row_id for row_id in old if row_id not in needed]
    return connection.execute(delete(jobs).where(jobs.c.id.in_(ids), jobs.c.finished_at < before)).rowcount
