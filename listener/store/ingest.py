"""Records one batch in one transaction: match the jobs, route the results, insert the new ones, count the copies.

Results are written in the order of their dedup keys, so that processes which record the same results at the
same time wait for each other instead of deadlocking. If two deadlock all the same, one of them is rolled back and
retried (``group_commit``).

Next to this file: ``job_matching`` (which job a result belongs to, which jobs it finishes), ``result_rows``,
``delivery_rows`` and ``quarantine`` (what is written).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from listener.core.model import (
    Claim,
    DecodedMessage,
    JobState,
    RecordKind,
    RecordSummary,
    Result,
    ResultStatus,
    RoutingDecision,
    Source,
    Target,
)
from listener.core.ports import Decide
from listener.store import changes, delivery_rows, job_matching, quarantine, result_rows
from listener.store.changes import ChangeKind
from listener.store.recorded_entries import RecordedBatch
from listener.store.result_rows import Recorded
from listener.store.routed_result import KnownJob, RoutedResult, make_routed_result
from listener.store.rows import Columns, result_of
from listener.store.selects import rows_in_order
from listener.store.tables import results
from listener.store.unreadable import each_of, result_aside


def record(
    connection: Connection,
    batch: Sequence[DecodedMessage],
    decide: Decide,
    *,
    at: datetime,
    claim: Claim | None,
    change: ChangeKind = ChangeKind.RECORDED,
) -> RecordSummary:
    """See ``ResultWriter.record``. The new results are logged as this change."""
    routed = _route(connection, batch, decide, at=at)
    late = _outcome_recorded(connection, routed)
    first: dict[str, RoutedResult] = {}
    for entry in _without(routed, late):
        first.setdefault(entry.dedup_key, entry)
    ids = result_rows.insert_new(connection, list(first.values()), at=at)
    new = [entry for dedup_key, entry in first.items() if dedup_key in ids]
    copies = [*_without(routed, [*new, *late]), *map(_as_outcome, late)]
    recorded = result_rows.recorded_under(connection, {entry.dedup_key for entry in copies})
    finished = job_matching.finish_jobs(connection, [*new, *_missed_by_job(copies, recorded)], at=at)
    written, claimed = delivery_rows.insert_deliveries(connection, new, ids, at=at, claim=claim)
    result_rows.count_copies(connection, copies, at=at)
    done = RecordedBatch(
        new=new, copies=copies, recorded=recorded, quarantined=quarantine.add(connection, batch, at=at)
    )
    logged = {change: sorted(ids.values()), ChangeKind.FINISHED: finished}
    changes.add(connection, logged, at=at)
    kinds = done.kinds()
    return RecordSummary(
        new=len(new),
        duplicates=len(copies),
        contradictions=kinds.get(RecordKind.CONTRADICTION, 0),
        quarantined=len(done.quarantined),
        waiting=kinds.get(RecordKind.WAITING, 0),
        verifying=kinds.get(RecordKind.VERIFYING, 0),
        parked=kinds.get(RecordKind.PARKED, 0),
        deliveries=written,
        claimed=claimed,
        kinds=kinds,
        ended=done.ended(at),
        entries=done.entries,
    )


def record_trial(connection: Connection, decide: Decide, *, at: datetime) -> None:
    """Record two made-up results, one as ``decide`` says and one with a delivery; the caller rolls them back."""
    routed = RoutingDecision(status=ResultStatus.ROUTED, targets=(Target("", ""),))
    for number, each in enumerate((decide, lambda _result, _job, _queue: routed)):
        trial = Result(job_id=f"mns-listener-trial-{number}-{at.isoformat()}", state=JobState.SUCCESS)
        record(connection, [DecodedMessage(result=trial)], each, at=at, claim=None)


def decide_waiting(
    connection: Connection, ids: Sequence[int], decide: Decide, *, at: datetime
) -> RecordSummary:
    """See ``ResultStore.decide_waiting``; ``ids`` are the rows that are due."""
    rows = rows_in_order(connection, results, ids)
    return reroute(connection, rows, decide, at=at) if rows else RecordSummary()


def decide_each_waiting(
    connection: Connection, ids: Sequence[int], decide: Decide, *, at: datetime
) -> RecordSummary:
    """The same, one by one; those that cannot be read become dead letters."""
    summary = reroute_each(connection, ids, decide, at=at, set_aside=result_aside(connection, at=at))
    return replace(summary, decided=len(ids))


def reroute_each(
    connection: Connection,
    ids: Sequence[int],
    decide: Decide,
    *,
    at: datetime,
    set_aside: Callable[[int, str], None] | None = None,
) -> RecordSummary:
    """``reroute`` for each of these rows alone."""

    def one(row_id: int) -> RecordSummary:
        return reroute(connection, rows_in_order(connection, results, [row_id]), decide, at=at)

    done = each_of(connection, results, ids, one, set_aside=set_aside)
    return RecordSummary.total(done)


def reroute(
    connection: Connection, rows: Sequence[Columns], decide: Decide, *, at: datetime
) -> RecordSummary:
    """Decide again about results that are already recorded (rows of the table), and write their deliveries."""
    recorded = [result_of(row) for row in rows]
    ids = {result.dedup_key: row["id"] for result, row in zip(recorded, rows, strict=True)}
    known = job_matching.find_jobs(connection, recorded, at=at)
    routed = [
        _routed(result, known, decide, queue=row["queue"], message_id=row["message_id"])
        for result, row in zip(recorded, rows, strict=True)
    ]
    unverified = [entry for entry in routed if entry.unverified]
    result_rows.update_decisions(connection, _without(routed, unverified), ids)
    result_rows.make_unverified(connection, unverified, ids, at=at)
    finished = job_matching.finish_jobs(connection, routed, at=at)
    written, _ = delivery_rows.insert_deliveries(connection, routed, ids, at=at, claim=None)
    decided = sorted(ids[entry.dedup_key] for entry in _without(routed, unverified))
    changes.add(connection, {ChangeKind.DECIDED: decided, ChangeKind.FINISHED: finished}, at=at)
    done = RecordedBatch(new=routed, recorded={})
    kinds = done.kinds()
    return RecordSummary(
        decided=len(routed),
        verifying=len(unverified),
        parked=kinds.get(RecordKind.PARKED, 0),
        deliveries=written,
        kinds=kinds,
        ended=done.ended(at),
        entries=done.entries,
    )


def _route(
    connection: Connection, batch: Sequence[DecodedMessage], decide: Decide, *, at: datetime
) -> list[RoutedResult]:
    decoded = [(entry, entry.result) for entry in batch if entry.result is not None]
    known = job_matching.find_jobs(connection, [result for _, result in decoded], at=at)
    return [
        _routed(
            result,
            known,
            decide,
            queue=entry.queue,
            message_id=entry.message.message_id if entry.message else "",
        )
        for entry, result in decoded
        if not _is_moot(result, known)
    ]


def _is_moot(result: Result, known: Mapping[str, KnownJob]) -> bool:
    """Whether we declare a job lost that has got an id, or an outcome, in the meantime."""
    if result.source is not Source.LISTENER:
        return False
    entry = job_matching.job_for(result, known)
    return entry is None or entry.job.finished_at is not None


def _routed(
    result: Result, known: Mapping[str, KnownJob], decide: Decide, *, queue: str, message_id: str
) -> RoutedResult:
    entry = job_matching.job_for(result, known)
    decision = decide(result, entry.job if entry else None, queue)
    unverified = decision.status is ResultStatus.VERIFYING
    return make_routed_result(
        result=result,
        queue=queue,
        message_id=message_id,
        known=None if decision.ignores_job else entry,
        decision=decision,
        dedup_key=result.unverified_key if unverified else result.dedup_key,
        ends=result.terminal_id,
        unverified=unverified,
        activities=job_matching.ended_activities(result, known) if result.activity_job_ids else (),
    )


def _without(routed: Sequence[RoutedResult], new: Sequence[RoutedResult]) -> Sequence[RoutedResult]:
    if not new:
        return routed
    taken = {id(entry) for entry in new}
    return [entry for entry in routed if id(entry) not in taken]


def _outcome_recorded(connection: Connection, routed: Sequence[RoutedResult]) -> Sequence[RoutedResult]:
    """Those that need no verification any more: the outcome of their job is recorded."""
    unverified = [entry for entry in routed if entry.unverified]
    if not unverified:
        return ()
    recorded = result_rows.recorded_under(connection, {entry.result.dedup_key for entry in unverified})
    return [entry for entry in unverified if entry.result.dedup_key in recorded]


def _as_outcome(entry: RoutedResult) -> RoutedResult:
    """A copy of the outcome of its job, whatever it reports."""
    return replace(entry, dedup_key=entry.result.dedup_key, unverified=False)


def _missed_by_job(copies: Sequence[RoutedResult], recorded: Mapping[str, Recorded]) -> list[RoutedResult]:
    """Copies of an outcome that is recorded while its job is still unfinished.

    This happens if one process recorded the outcome while another one, in a concurrent transaction, gave the job its
    id: neither saw what the other wrote.
    """
    unfinished = [entry for entry in copies if entry.job and entry.job.finished_at is None]
    found = [(entry, recorded.get(entry.dedup_key)) for entry in unfinished]
    return [entry for entry, known in found if known and known.decided and known.state == entry.result.state]
