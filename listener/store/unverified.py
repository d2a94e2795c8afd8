"""Callbacks that wait for MPS to confirm them: claim them for a question, and carry out what follows from the answer.

Each is a row of its own in ``results``, under a dedup key that no outcome has, so that it does not take the place of
its job's outcome. Whoever deletes that row has carried out what follows, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, update

from listener.core.model import (
    Claim,
    DecodedMessage,
    Message,
    RecordSummary,
    Result,
    ResultStatus,
    Unverified,
)
from listener.core.ports import Decide
from listener.store import ingest, quarantine, result_rows, waiting
from listener.store.changes import ChangeKind
from listener.store.rows import job_of, result_of
from listener.store.selects import rows_by_id, rows_in_order
from listener.store.tables import jobs, results
from listener.store.unreadable import each_of, result_aside

Load = Callable[[Connection, Sequence[int]], Sequence[Unverified]]
"""How callbacks are read: ``load``, or ``load_readable``."""


def claim(
    connection: Connection,
    *,
    at: datetime,
    until: datetime,
    limit: int,
    takes: Callable[[str], bool],
    load: Load,
) -> Sequence[Unverified]:
    """See ``VerificationStore.claim_unverified``."""
    ids = waiting.due(connection, ResultStatus.VERIFYING, at=at, limit=limit, takes=takes)
    if not ids:
        return ()
    connection.execute(update(results).where(results.c.id.in_(ids)).values(wait_until=until))
    return load(connection, ids)


def load(connection: Connection, ids: Sequence[int]) -> Sequence[Unverified]:
    """Callbacks with their jobs by the ids of their rows, in this order."""
    rows = rows_in_order(connection, results, ids)
    known = rows_by_id(connection, jobs, {row["job"] for row in rows if row["job"]})
    return [
        Unverified(
            id=row["id"],
            result=result_of(row),
            job=job_of(known[row["job"]]) if row["job"] in known else None,
            queue=row["queue"],
            message_id=row["message_id"],
            received_at=row["received_at"],
            claimed_until=row["wait_until"],
        )
        for row in rows
    ]


def load_readable(connection: Connection, ids: Sequence[int], *, at: datetime) -> Sequence[Unverified]:
    """The same without those that cannot be read, which become dead letters."""
    set_aside = result_aside(connection, at=at)
    found = each_of(connection, results, ids, lambda row_id: load(connection, [row_id]), set_aside=set_aside)
    return [unverified for one in found for unverified in one]


def postpone(connection: Connection, unverified: Unverified, *, until: datetime) -> None:
    """See ``VerificationStore.postpone_verification``."""
    unchanged = results.c.wait_until == unverified.claimed_until
    connection.execute(update(results).where(*_is_open(unverified), unchanged).values(wait_until=until))


def believe(
    connection: Connection,
    unverified: Unverified,
    result: Result,
    decide: Decide,
    *,
    at: datetime,
    claim: Claim | None,
) -> RecordSummary:
    """See ``VerificationStore.believe``."""
    copies = _take(connection, unverified)
    if not copies:
        return RecordSummary()
    entry = DecodedMessage(queue=unverified.queue, message=_message(unverified), result=result)
    # It was logged as recorded when the callback was: this is the decision about it.
    summary = ingest.record(connection, [entry], decide, at=at, claim=claim, change=ChangeKind.DECIDED)
    result_rows.add_copies(connection, result.dedup_key, copies - 1)
    return summary


def refuse(connection: Connection, unverified: Unverified, reason: str, *, at: datetime) -> bool:
    """See ``VerificationStore.refuse``."""
    if not _take(connection, unverified):
        return False
    entry = DecodedMessage(queue=unverified.queue, message=_message(unverified), result=None, reason=reason)
    quarantine.add(connection, [entry], at=at)
    return True


def _take(connection: Connection, unverified: Unverified) -> int:
    """Delete the row; returns how many copies of the callback it counted, 0 if another process has deleted it."""
    taken = delete(results).where(*_is_open(unverified)).returning(results.c.copies)
    return connection.scalar(taken) or 0


def _is_open(unverified: Unverified) -> Sequence[Any]:
    return results.c.id == unverified.id, results.c.status == ResultStatus.VERIFYING


def _message(unverified: Unverified) -> Message:
    """The message, as far as it is stored: its body is the callback without its wrappers."""
    return Message(message_id=unverified.message_id, receipt_handle="", body=unverified.result.raw)
