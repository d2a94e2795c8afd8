"""Keeps the messages that could not be decoded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, update

from listener.core.model import DecodedMessage
from listener.store.compiled import insert_or_ignore
from listener.store.rows import values_of_quarantined
from listener.store.tables import quarantine


def add(connection: Connection, batch: Sequence[DecodedMessage], *, at: datetime) -> Sequence[DecodedMessage]:
    """Keep the messages of this batch that have no result; returns these.

    A message that is redelivered is counted, not stored again.
    """
    undecodable = [entry for entry in batch if entry.result is None]
    rows = [
        values_of_quarantined(entry.queue, entry.message, reason=entry.reason, at=at)
        for entry in undecodable
        if entry.message is not None
    ]
    for values in sorted(rows, key=lambda each: (each["queue"], each["message_id"])):
        seen = connection.execute(
            update(quarantine)
            .where(quarantine.c.queue == values["queue"], quarantine.c.message_id == values["message_id"])
            .values(copies=quarantine.c.copies + 1)
        )
        if not seen.rowcount:
            connection.execute(
                insert_or_ignore(connection.dialect.name, quarantine, ["queue", "message_id"]), values
            )
    return undecodable
