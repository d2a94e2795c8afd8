"""Rows of results: insert the new ones, count the copies, save later decisions and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter

from sqlalchemy import Connection, bindparam, case, func, select, update

from listener.core.model import Result
from listener.store.compiled import BulkInsert, insert_or_ignore
from listener.store.routed_result import RoutedResult
from listener.store.rows import values_of_result
from listener.store.tables import results

_INSERT = BulkInsert(
    results,
    lambda dialect: insert_or_ignore(dialect, results, ["dedup_key"]).returning(
        results.c.dedup_key, results.c.id
    ),
)
_DEDUP_KEY = attrgetter("dedup_key")


def insert_new(connection: Connection, first: Sequence[RoutedResult], *, at: datetime) -> dict[str, int]:
    """Insert those that are not recorded yet; returns their row ids by dedup key.

    The unique dedup key is the only compare-and-set: whoever inserts the row has recorded the result.
    """
    if not first:
        return {}
    rows = _INSERT.run(
        connection,
        [
            values_of_result(
                entry.result,
                entry.decision,
                job=entry.known.id if entry.known else None,
                queue=entry.queue,
                message_id=entry.message_id,
                at=at,
            )
            for entry in sorted(first, key=_DEDUP_KEY)
        ],
    )
    return {row[0]: row[1] for row in rows}


def recorded_states(connection: Connection, copies: Sequence[RoutedResult]) -> dict[str, str]:
    """The states that are recorded under the dedup keys of these copies."""
    if not copies:
        return {}
    keys = sorted({entry.dedup_key for entry in copies})
    rows = connection.execute(
        select(results.c.dedup_key, results.c.state).where(results.c.dedup_key.in_(keys))
    )
    return {row.dedup_key: row.state for row in rows}


def count_copies(connection: Connection, copies: Sequence[RoutedResult], states: Mapping[str, str]) -> int:
    """Count copies at the recorded results; returns how many of them contradict the recorded state."""
    if not copies:
        return 0
    contradicts = case((results.c.state != bindparam("claimed"), 1), else_=0)
    connection.execute(
        update(results)
        .where(results.c.dedup_key == bindparam("of"))
        .values(copies=results.c.copies + 1, contradictions=results.c.contradictions + contradicts),
        [{"of": entry.dedup_key, "claimed": entry.result.state} for entry in sorted(copies, key=_DEDUP_KEY)],
    )
    return sum(1 for entry in copies if states.get(entry.dedup_key, entry.result.state) != entry.result.state)


def update_decisions(connection: Connection, routed: Sequence[RoutedResult], ids: Mapping[str, int]) -> None:
    """Save new decisions about recorded results, whose row ids are ``ids``, with the jobs that are known by now."""
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


def save_outputs(connection: Connection, result: Result, outputs: str) -> None:
    """See ``OutputStore.save_outputs``."""
    connection.execute(update(results).where(results.c.dedup_key == result.dedup_key).values(outputs=outputs))


def count_waiting(connection: Connection) -> int:
    """How many results wait for their jobs."""
    waiting = select(func.count()).select_from(results).where(results.c.wait_until.is_not(None))
    return connection.scalar(waiting) or 0
