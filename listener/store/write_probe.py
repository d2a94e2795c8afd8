"""Finds out whether the store can be written to again."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import Connection, delete, insert

from listener.store.tables import quarantine

#: A full disk still accepts what fits into pages that are allocated already; this does not fit into one.
_PROBE_CHARACTERS = 64 * 1024


def write_and_remove(connection: Connection, *, at: datetime) -> None:
    """Write a row that only this transaction sees, as large as a message, and remove it."""
    name = uuid.uuid4().hex
    connection.execute(
        insert(quarantine).values(
            queue="",
            message_id=name,
            body="x" * _PROBE_CHARACTERS,
            reason="write probe",
            dequeue_count=0,
            received_at=at,
            copies=1,
        )
    )
    connection.execute(delete(quarantine).where(quarantine.c.queue == "", quarantine.c.message_id == name))
