"""The log of changes, which the event feed reads: what each transaction recorded, finished or settled.

A row lists everything of one kind that one transaction changed, so that a batch costs one row, however large it is.
It is written last in its transaction: on PostgreSQL its id is then visible soon after it was assigned, and the
transaction has a number by which readers can tell whether it has ended (see ``event_feed``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, insert

from listener.core.model import Dead, Done, Offered, Outcome, RetryAfter, Settlement
from listener.store.compiled import BulkInsert
from listener.store.tables import changes, stored_time


class ChangeKind(StrEnum):
    """What was done to the rows that a change lists."""

    RECORDED = "recorded"  #: results
    DECIDED = "decided"  #: results that waited, were verified or parked
    FINISHED = "finished"  #: jobs
    DONE = "done"  #: deliveries, as all kinds below
    RETRY = "retry"
    DEAD = "dead"
    DROPPED = "dropped"
    REPLAYED = "replayed"


#: Between the rows of a change, and between a delivery and its attempt, which is left out if it is the first.
SEPARATOR: Final = ","
ATTEMPT: Final = "/"
_KIND_OF: Final[Mapping[type[Outcome], ChangeKind]] = {
    Done: ChangeKind.DONE,
    RetryAfter: ChangeKind.RETRY,
    Dead: ChangeKind.DEAD,
}
_INSERT = BulkInsert(changes, ("at", "kind", "row_ids"), lambda _dialect, table: insert(table))


def add(connection: Connection, changed: Mapping[ChangeKind, Iterable[int | str]], *, at: datetime) -> None:
    """Log that these rows were changed, by kind; kinds without any are left out."""
    by_kind = {kind: SEPARATOR.join(map(str, rows)) for kind, rows in changed.items()}
    now = stored_time(at)
    if rows := [(now, kind.value, ids) for kind, ids in by_kind.items() if ids]:
        _INSERT.run(connection, rows)


def add_settled(connection: Connection, settlements: Sequence[Settlement], *, at: datetime) -> None:
    """Log how these attempts ended."""
    changed: dict[ChangeKind, list[str]] = {}
    for entry in settlements:
        if isinstance(entry.outcome, Offered):
            continue  # the attempt goes on
        changed.setdefault(_KIND_OF[type(entry.outcome)], []).append(_text(entry))
    add(connection, changed, at=at)


def add_dead(connection: Connection, ids: Iterable[int], *, at: datetime) -> None:
    """Log that these deliveries became dead letters without an attempt."""
    add(connection, {ChangeKind.DEAD: [f"{row_id}{ATTEMPT}0" for row_id in ids]}, at=at)


def _text(entry: Settlement) -> str:
    """The id of the delivery, with the number of the attempt unless it is the first."""
    delivery = entry.delivery
    return str(delivery.id) if delivery.attempt == 1 else f"{delivery.id}{ATTEMPT}{delivery.attempt}"
