"""What operators do about quarantined messages: list them, decode them again, delete them permanently."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, delete, select

from listener.core.errors import StoreRejected, StoreUnavailable
from listener.core.model import DecodedMessage, Quarantined, RecordSummary
from listener.core.ports import Decide
from listener.store import ingest
from listener.store.database import Database
from listener.store.filters import NO_FILTERS, Filters, search_quarantine
from listener.store.group_commit import GroupCommit
from listener.store.queries import read_listed, read_rows
from listener.store.rows import mapping, quarantined_of
from listener.store.searching import Page, existing
from listener.store.tables import quarantine
from listener.store.unreadable import either, log_unreadable

Decode = Callable[[Quarantined], DecodedMessage]
"""Decodes a message from quarantine again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """Which messages left quarantine, why others did not, and what recording them led to; other ids are in neither."""

    ids: Sequence[int] = ()
    refused: Mapping[int, str] = field(default_factory=dict)
    summary: RecordSummary = field(default_factory=RecordSummary)


class QuarantinedMessages:
    """Messages that could not be decoded, or recorded. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._group_commit = GroupCommit(database)

    def page(self, *, filters: Filters = NO_FILTERS, before: int = 0, limit: int = 50) -> Page[Quarantined]:
        """Newest first; ``before`` takes ``next`` of the previous page. The time is that of the receipt."""
        search = search_quarantine(filters)
        return read_listed(
            self._database, quarantine, lambda _: search, quarantined_of, before=before, limit=limit
        )

    def find(self, message: int) -> Quarantined | None:
        """The message with this id of a row."""
        wanted = select(quarantine).where(quarantine.c.id == message)
        found = read_rows(self._database, quarantine, wanted, quarantined_of)
        return found[0] if found else None

    def existing(self, ids: Sequence[int]) -> Sequence[int]:
        """Those of these ids that are there."""
        return existing(self._database, quarantine, ids)

    def retry(
        self, ids: Sequence[int], decode: Decode, decide: Decide, *, at: datetime, dry_run: bool = False
    ) -> Retried:
        """Decode messages again, and record their results as if the messages had just been received.

        A message leaves quarantine in the transaction that records its result, so that neither a crash nor another
        process that retries it can lose or repeat it. One that cannot be decoded, recorded or read is refused and
        stays.

        ``dry_run``: change nothing, and return what would be done.
        """
        return either(
            lambda: self._retry(ids, decode, decide, at=at, dry_run=dry_run),
            lambda: _joined([self._retry_alone(row, decode, decide, at=at, dry_run=dry_run) for row in ids]),
        )

    def _retry_alone(
        self, row: int, decode: Decode, decide: Decide, *, at: datetime, dry_run: bool
    ) -> Retried:
        try:
            return self._retry([row], decode, decide, at=at, dry_run=dry_run)
        except StoreUnavailable:
            raise
        except StoreRejected as error:
            return Retried(refused={row: f"the store rejects it: {error}"})
        except Exception as error:  # whatever is wrong with this row, the others are retried
            reason = log_unreadable(quarantine, row, error)
            return Retried(refused={row: f"it cannot be read: {reason}"})

    def _retry(
        self, ids: Sequence[int], decode: Decode, decide: Decide, *, at: datetime, dry_run: bool
    ) -> Retried:
        def work(connection: Connection) -> Retried:
            retried = _retry(connection, ids, decode, decide, at=at)
            if dry_run:
                connection.rollback()
            return retried

        return self._group_commit.run(work)

    def drop(self, ids: Sequence[int]) -> Sequence[int]:
        """Delete messages permanently; returns the ids of those that were there."""
        with self._database.write() as connection:
            dropped = delete(quarantine).where(quarantine.c.id.in_(ids)).returning(quarantine.c.id)
            return sorted(connection.scalars(dropped))


def _retry(
    connection: Connection, ids: Sequence[int], decode: Decode, decide: Decide, *, at: datetime
) -> Retried:
    # Locked, so that another process that retries the same messages waits, and then finds them gone.
    wanted = select(quarantine).where(quarantine.c.id.in_(ids)).order_by(quarantine.c.id).with_for_update()
    found = [quarantined_of(mapping(row)) for row in connection.execute(wanted)]
    decoded = {entry.id: decode(entry) for entry in found}
    good = [row for row, message in decoded.items() if message.result is not None]
    summary = ingest.record(connection, [decoded[row] for row in good], decide, at=at, claim=None)
    connection.execute(delete(quarantine).where(quarantine.c.id.in_(good)))
    refused = {row: message.reason for row, message in decoded.items() if message.result is None}
    return Retried(ids=good, refused=refused, summary=summary)


def _joined(each: Sequence[Retried]) -> Retried:
    return Retried(
        ids=[row for one in each for row in one.ids],
        refused={row: reason for one in each for row, reason in one.refused.items()},
        summary=RecordSummary.total([one.summary for one in each]),
    )
