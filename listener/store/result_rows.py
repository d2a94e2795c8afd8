"""Rows of results: insert the new ones, count the copies, save later decisions and outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter

from sqlalchemy import Connection, and_, bindparam, case, delete, func, literal, select, update

from listener.core.model import Result, ResultStatus
from listener.store.compiled import BulkInsert, insert_or_ignore
from listener.store.routed_result import RoutedResult
from listener.store.rows import NEW_RESULT, row_of_result
from listener.store.tables import UtcTimestamp, results, stored_time

_INSERT = BulkInsert(
    results,
    NEW_RESULT,
    lambda dialect, table: insert_or_ignore(dialect, table, ["dedup_key"]),
    key=("dedup_key",),
    usually_same=(
        "run_id",
        "media_id",
        "event",
        "details",
        "activities",
        "outputs",
        "output",
        "source",
        "queue",
        "status",
        "wait_until",
        "received_at",
        "copies",
        "contradictions",
    ),
)
_DEDUP_KEY = attrgetter("dedup_key")
#: MPS is asked so soon after another copy of a callback that it has not confirmed. Since only the first of several
#: copies counts until then, a flood of them makes one question in this time.
COPY_DELAY = timedelta(seconds=1)


def insert_new(connection: Connection, first: Sequence[RoutedResult], *, at: datetime) -> dict[str, int]:
    """Insert those that are not recorded yet; returns their row ids by dedup key.

    The unique dedup key is the only compare-and-set: whoever inserts the row has recorded the result.
    """
    if not first:
        return {}
    now = stored_time(at)
    in_order = sorted(first, key=_DEDUP_KEY)
    ids = _INSERT.ids(connection, [row_of_result(entry, at=now) for entry in in_order])
    return {entry.dedup_key: row_id for entry, row_id in zip(in_order, ids, strict=True) if row_id}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is recorded under a dedup key."""

    state: str
    status: str

    @property
    def decided(self) -> bool:
        """False as long as the result waits for its job, or for MPS."""
        return self.status not in (ResultStatus.WAITING, ResultStatus.VERIFYING)

    def contradicts(self, state: str) -> bool:
        """Whether it excludes this state of the same job; what MPS has not confirmed excludes nothing."""
        return self.status != ResultStatus.VERIFYING and self.state != state


def recorded_under(connection: Connection, keys: Collection[str]) -> dict[str, Recorded]:
    """The results that are recorded under these dedup keys."""
    if not keys:
        return {}
    columns = (results.c.dedup_key, results.c.state, results.c.status)
    rows = connection.execute(select(*columns).where(results.c.dedup_key.in_(sorted(keys))))
    return {row.dedup_key: Recorded(row.state, row.status) for row in rows}


def count_copies(connection: Connection, copies: Sequence[RoutedResult], *, at: datetime) -> None:
    """Count copies at the recorded results.

    MPS is asked soon about a callback of which another copy arrives: the first one may have been forged, and premature.
    """
    if not copies:
        return
    confirmed = results.c.status != ResultStatus.VERIFYING
    contradicts = case((and_(confirmed, results.c.state != bindparam("claimed")), 1), else_=0)
    connection.execute(
        update(results)
        .where(results.c.dedup_key == bindparam("of"))
        .values(copies=results.c.copies + 1, contradictions=results.c.contradictions + contradicts),
        [{"of": entry.dedup_key, "claimed": entry.result.state} for entry in sorted(copies, key=_DEDUP_KEY)],
    )
    _hasten(connection, [entry.dedup_key for entry in copies if entry.unverified], at=at)


def add_copies(connection: Connection, dedup_key: str, more: int) -> None:
    """Count further copies of a recorded result."""
    if more:
        connection.execute(
            update(results).where(results.c.dedup_key == dedup_key).values(copies=results.c.copies + more)
        )


def _hasten(connection: Connection, keys: Sequence[str], *, at: datetime) -> None:
    if keys:
        soon = literal(at + COPY_DELAY, UtcTimestamp)
        connection.execute(
            update(results)
            .where(results.c.dedup_key.in_(sorted(set(keys))), results.c.status == ResultStatus.VERIFYING)
            .values(
                wait_until=case((results.c.wait_until < soon, results.c.wait_until), else_=soon),
                received_at=at,
            )
        )


def update_decisions(connection: Connection, routed: Sequence[RoutedResult], ids: Mapping[str, int]) -> None:
    """Save new decisions about recorded results, whose row ids are ``ids``, with the jobs that are known by now."""
    if not routed:
        return
    connection.execute(
        update(results)
        .where(results.c.id == bindparam("row_id"))
        .values(status=bindparam("to"), wait_until=bindparam("until"), job=bindparam("job_row")),
        [
            {
                "row_id": ids[entry.dedup_key],
                "to": entry.decision.status,
                "until": entry.decision.wait_until,
                "job_row": entry.known.id if entry.known else None,
            }
            for entry in routed
        ],
    )


def make_unverified(
    connection: Connection, routed: Sequence[RoutedResult], ids: Mapping[str, int], *, at: datetime
) -> None:
    """MPS is to be asked about these recorded results, whose row ids are ``ids`` by their present dedup keys.

    Their rows are replaced, since they must not keep the keys of outcomes.
    """
    if routed:
        rows = [ids[entry.result.dedup_key] for entry in routed]
        connection.execute(delete(results).where(results.c.id.in_(rows)))
        insert_new(connection, routed, at=at)


def save_outputs(connection: Connection, result: Result, outputs: str, *, output: str) -> None:
    """See ``OutputStore.save_outputs``."""
    connection.execute(
        update(results).where(results.c.dedup_key == result.dedup_key).values(outputs=outputs, output=output)
    )


def count_waiting(connection: Connection) -> int:
    """How many results wait for their jobs, or for MPS."""
    waiting = select(func.count()).select_from(results).where(results.c.wait_until.is_not(None))
    return connection.scalar(waiting) or 0
