"""Attempts at deliveries that did not go well at once, for the timeline of a delivery.

A delivery that was done at its first attempt, as nearly all are, has no row here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, delete, select

from listener.core.model import OUTCOME_NAMES, Attempt, Dead, Done, Offered, RetryAfter, Settlement
from listener.store.compiled import BulkInsert, CompiledWrite, insert_or_update
from listener.store.rows import Columns
from listener.store.tables import attempts, stored_time

#: How many attempts of one delivery are kept, the newest ones: an outage of what its handler needs may last for days.
ATTEMPTS_KEPT: Final = 50

#: A handler that returns after its lease was lost, and its attempt counted as failed, is done all the same; the error
#: stays, since it says why the attempt was counted.
_CORRECTED = ("outcome", "started_at", "seconds", "settled_at")
#: The columns of a row, in the order of ``_values``.
_COLUMNS = ("delivery", "attempt", "outcome", "error", "owner", "started_at", "seconds", "settled_at")
_PUT = BulkInsert(
    attempts,
    _COLUMNS,
    lambda dialect, table: insert_or_update(dialect, table, ["delivery", "attempt"], _CORRECTED),
)
_FORGET = CompiledWrite(
    delete(attempts).where(
        attempts.c.delivery == bindparam("of_delivery"), attempts.c.attempt <= bindparam("up_to")
    )
)


def add(connection: Connection, settlements: Sequence[Settlement], *, at: datetime) -> None:
    """Keep those that failed, and those that followed a failure."""
    kept = {
        (entry.delivery.id, entry.delivery.attempt): entry for entry in settlements if _is_kept(entry, at)
    }
    if not kept:
        return
    now = stored_time(at)
    _PUT.run(connection, [_values(kept[key], now) for key in sorted(kept)])
    forgotten = [
        {"of_delivery": delivery, "up_to": attempt - ATTEMPTS_KEPT}
        for delivery, attempt in sorted(kept)
        if attempt > ATTEMPTS_KEPT
    ]
    if forgotten:
        _FORGET.run(connection, forgotten)


def of_deliveries(ids: Sequence[int], *, newest: int = 0) -> Select[Any]:
    """The attempts at these deliveries, each delivery's in order; all, or so many of the newest ones."""
    of_these = attempts.c.delivery.in_(ids)
    if newest:
        chosen = select(attempts.c.id).where(of_these).order_by(attempts.c.id.desc()).limit(newest).subquery()
        of_these = attempts.c.id.in_(select(chosen.c.id))
    return select(attempts).where(of_these).order_by(attempts.c.delivery, attempts.c.attempt)


def attempt_of(row: Columns) -> Attempt:
    """The attempt in this row."""
    return Attempt(
        delivery_id=row["delivery"],
        attempt=row["attempt"],
        outcome=row["outcome"],
        error=row["error"],
        owner=row["owner"],
        started_at=row["started_at"],
        seconds=row["seconds"],
        settled_at=row["settled_at"],
    )


def _is_kept(entry: Settlement, at: datetime) -> bool:
    delivery = entry.delivery
    if isinstance(entry.outcome, Offered):
        return False  # the application is still to settle this attempt
    if not isinstance(entry.outcome, Done) or delivery.attempt > 1 or delivery.failures:
        return True
    # It may have been rescued meanwhile; a longer handler's lease was renewed, which is not known here.
    return delivery.lease_until is not None and delivery.lease_until < at


def _values(entry: Settlement, now: int | None) -> tuple[Any, ...]:
    reason = entry.outcome.reason if isinstance(entry.outcome, RetryAfter | Dead) else ""
    return (
        entry.delivery.id,
        entry.delivery.attempt,
        OUTCOME_NAMES[type(entry.outcome)],
        reason,
        entry.delivery.owner,
        stored_time(entry.started_at),
        entry.seconds,
        now,
    )
