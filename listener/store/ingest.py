"""Records one batch in one transaction: find the jobs, judge the results, write the new, count the rest.

Results are written in the order of their keys, so that processes which record the same things at the same moment wait
for each other and not in a circle. Where two come to wait in a circle all the same, one is undone and done again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, case, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from listener.core.model import (
    TERMINAL_STATES,
    Claim,
    DecodedMessage,
    Delivery,
    DeliveryState,
    Job,
    JobState,
    RecordSummary,
    Result,
    ResultStatus,
    RoutingDecision,
    Source,
    Target,
)
from listener.core.ports import Decide
from listener.store.compiled import BulkInsert, ByValues, Select
from listener.store.postgres import notify
from listener.store.rows import (
    delivery_of,
    job_of,
    mapping,
    result_of,
    values_of_quarantined,
    values_of_result,
)
from listener.store.tables import Instant, deliveries, jobs, quarantine, results, results_named

# Statements of every batch, built once.
_JOBS_BY_ID = Select(jobs.c.job_id)
_FINISH = ByValues(
    lambda marks: (
        update(jobs)
        .where(jobs.c.id.in_(marks), jobs.c.finished_at.is_(None))
        .values(
            state=bindparam("to"),
            error=bindparam("text"),
            finished_at=bindparam("now", type_=Instant),
            next_query_at=None,
        )
    )
)
_INSERT_RESULTS = BulkInsert(
    results,
    lambda dialect: insert_ignoring(dialect, results, ["dedup_key"]).returning(
        results.c.dedup_key, results.c.id
    ),
)
_INSERT_DELIVERIES = BulkInsert(
    deliveries,
    lambda _dialect: insert(deliveries).returning(
        deliveries.c.id, deliveries.c.result, deliveries.c.route, deliveries.c.handler
    ),
)


_DEDUP_KEY = attrgetter("dedup_key")


@dataclass(frozen=True, slots=True)
class KnownJob:
    id: int
    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedResult:
    """One result with its job, where known, and what is to become of it."""

    result: Result
    queue: str
    message_id: str
    known: KnownJob | None
    decision: RoutingDecision
    dedup_key: str
    activities: Sequence[tuple[KnownJob, str]] = ()  #: jobs that ended within this workflow, and how

    @property
    def job(self) -> Job | None:
        return self.known.job if self.known else None


def record(
    connection: Connection,
    batch: Sequence[DecodedMessage],
    decide: Decide,
    *,
    at: datetime,
    claim: Claim | None,
) -> RecordSummary:
    """See ``Store.record``."""
    routed = _route(connection, batch, decide, at=at)
    first: dict[str, RoutedResult] = {}
    for entry in routed:
        first.setdefault(entry.dedup_key, entry)
    ids = _insert_results(connection, list(first.values()), at=at)
    new = [entry for dedup_key, entry in first.items() if dedup_key in ids]
    copies = _without(routed, new)
    states = _recorded_states(connection, copies)
    _finish_jobs(connection, [*new, *_overlooked(copies, states)], at=at)
    written, claimed = insert_deliveries(connection, new, ids, at=at, claim=claim)
    return RecordSummary(
        new=len(new),
        duplicates=len(copies),
        contradictions=_count_copies(connection, copies, states) + sum(map(_comes_too_late, new)),
        quarantined=_quarantine(connection, batch, at=at),
        waiting=_count(new, ResultStatus.WAITING),
        parked=_count(new, ResultStatus.PARKED),
        deliveries=written,
        claimed=claimed,
    )


def decide_waiting(connection: Connection, decide: Decide, *, at: datetime, limit: int) -> RecordSummary:
    """See ``Store.decide_waiting``."""
    due = (
        select(results)
        .where(results.c.wait_until.is_not(None), results.c.wait_until <= at)
        .order_by(results.c.wait_until)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = [mapping(row) for row in connection.execute(due)]
    if not rows:
        return RecordSummary()
    return route_again(connection, rows, decide, at=at)


def route_again(
    connection: Connection, rows: Sequence[RowMapping], decide: Decide, *, at: datetime
) -> RecordSummary:
    """Decide anew about results that are in the store already, and write their deliveries."""
    ids = {row["dedup_key"]: row["id"] for row in rows}
    found = [result_of(row) for row in rows]
    known = _find_jobs(connection, found, at=at)
    routed = [
        _routed(result, row["queue"], row["message_id"], known, decide)
        for result, row in zip(found, rows, strict=True)
    ]
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
    _finish_jobs(connection, routed, at=at)
    written, _ = insert_deliveries(connection, routed, ids, at=at, claim=None)
    return RecordSummary(parked=_count(routed, ResultStatus.PARKED), deliveries=written)


def insert_deliveries(
    connection: Connection,
    routed: Sequence[RoutedResult],
    ids: Mapping[str, int],
    *,
    at: datetime,
    claim: Claim | None,
) -> tuple[int, Sequence[Delivery]]:
    """Write the deliveries that the verdicts ask for; the first ones belong to the claim's owner at once."""
    wanted = [(entry, target) for entry in routed for target in _targets(entry.decision)]
    if not wanted:
        return 0, ()
    mine = min(claim.limit, claim.capacity_for(wanted[0][0].queue), len(wanted)) if claim else 0
    rows = [
        _delivery_values(entry, target, ids, at=at, claim=claim if place < mine else None)
        for place, (entry, target) in enumerate(wanted)
    ]
    claimed = _insert_claimed(connection, wanted[:mine], rows[:mine])
    if rows[mine:]:
        connection.execute(insert(deliveries), rows[mine:])
        notify(connection)
    return len(wanted), claimed


def _route(
    connection: Connection, batch: Sequence[DecodedMessage], decide: Decide, *, at: datetime
) -> list[RoutedResult]:
    decoded = [(entry, entry.result) for entry in batch if entry.result is not None]
    known = _find_jobs(connection, [result for _, result in decoded], at=at)
    return [
        _routed(result, entry.queue, entry.message.message_id, known, decide)
        for entry, result in decoded
        if not _is_moot(result, known)
    ]


def _is_moot(result: Result, known: Mapping[str, KnownJob]) -> bool:
    """Our own verdict on a job of which something was heard while we made it."""
    if result.source is not Source.LISTENER:
        return False
    entry = _job_for(result, known)
    return entry is None or entry.job.finished_at is not None


def _routed(
    result: Result, queue: str, message_id: str, known: Mapping[str, KnownJob], decide: Decide
) -> RoutedResult:
    job = _job_for(result, known)
    return RoutedResult(
        result=result,
        queue=queue,
        message_id=message_id,
        known=job,
        decision=decide(result, job.job if job else None, queue),
        dedup_key=result.dedup_key,
        activities=_ended_activities(result, known) if result.activity_job_ids else (),
    )


def _ended_activities(result: Result, known: Mapping[str, KnownJob]) -> Sequence[tuple[KnownJob, str]]:
    return [
        (known[job_id], state)
        for job_id, state in zip(result.activity_job_ids, result.activity_states, strict=False)
        if job_id in known and state in TERMINAL_STATES
    ]


def _job_for(result: Result, known: Mapping[str, KnownJob]) -> KnownJob | None:
    return next((known[name] for name in _names(result) if name in known), None)


def _names(result: Result) -> Sequence[str]:
    """What the job may be called by: its id, or the ids of the workflow and of its activities."""
    return [name for name in (result.job_id, result.run_id, *result.activity_job_ids) if name]


def _find_jobs(connection: Connection, found: Sequence[Result], *, at: datetime) -> dict[str, KnownJob]:
    """The jobs that these results speak of, by job id.

    A token brings the id of a job whose submitter never heard it. A token on a job id that is not its own is
    somebody's copy of the user data and counts for nothing.
    """
    wanted = {name for result in found for name in _names(result)}
    known = {row["job_id"]: KnownJob(row["id"], job_of(row)) for row in _JOBS_BY_ID.run(connection, wanted)}
    known |= _given_up(connection, found)
    tokens: dict[str, str] = {}
    for result in found:
        if result.token and result.job_id and result.job_id not in known:
            tokens.setdefault(result.token, result.job_id)
    for token, job_id in sorted(tokens.items()):
        # Two tokens may claim one job id, and the first one has it by then.
        if job_id not in known and (entry := bind_job(connection, token, job_id, at=at)):
            known[job_id] = entry
    return known


def _given_up(connection: Connection, found: Sequence[Result]) -> dict[str, KnownJob]:
    """Intents that are declared lost, by their tokens; locked, so that none gets an id at the same moment."""
    tokens = {result.run_id for result in found if result.source is Source.LISTENER and result.run_id}
    if not tokens:
        return {}
    rows = connection.execute(
        select(jobs).where(jobs.c.token.in_(tokens), jobs.c.job_id.is_(None)).with_for_update()
    )
    return {row.token: KnownJob(row.id, job_of(mapping(row))) for row in rows}


def bind_job(connection: Connection, token: str, job_id: str, *, at: datetime) -> KnownJob | None:
    """Give a job its id, unless it has one; returns the job if it got it. A job that was told to be lost stays so."""
    is_lost = jobs.c.state == JobState.LOST
    row = connection.execute(
        update(jobs)
        .where(jobs.c.token == token, jobs.c.job_id.is_(None))
        .values(
            job_id=job_id,
            state=case((is_lost, jobs.c.state), else_=JobState.SUBMITTED),
            submitted_at=at,
            finished_at=case((is_lost, jobs.c.finished_at), else_=None),
            error=case((is_lost, jobs.c.error), else_=""),
            next_query_at=case((is_lost, None), else_=jobs.c.deadline_at),
        )
        .returning(jobs)
    ).first()
    if row is None:
        return None
    adopt(connection, token, job_id, at=at)
    return KnownJob(row.id, job_of(mapping(row)))


def adopt(connection: Connection, token: str, job_id: str, *, at: datetime) -> None:
    """Give a job the results that came before it was known, which need not wait any longer; an outcome among them has
    finished it."""
    own = select(jobs.c.id).where(jobs.c.token == token).scalar_subquery()
    sooner = case((results.c.wait_until.is_not(None), literal(at, Instant)), else_=None)
    for theirs in results_named(job_id):
        connection.execute(
            update(results).where(theirs, results.c.job.is_(None)).values(job=own, wait_until=sooner)
        )
    outcome = connection.execute(select(results).where(results.c.dedup_key == job_id)).first()
    if outcome is not None:
        result = result_of(mapping(outcome))
        connection.execute(
            update(jobs)
            .where(jobs.c.token == token, jobs.c.finished_at.is_(None))
            .values(state=result.state, error=_complaint(result), finished_at=at, next_query_at=None)
        )


def insert_ignoring(dialect: str, table: Any, conflict: list[str]) -> Any:
    """INSERT … ON CONFLICT DO NOTHING, in the database's own dialect."""
    flavour: Any = postgresql if dialect == "postgresql" else sqlite
    return flavour.insert(table).on_conflict_do_nothing(index_elements=conflict)


def _insert_results(connection: Connection, first: Sequence[RoutedResult], *, at: datetime) -> dict[str, int]:
    """Row ids of those that were new, by slot. The unique slot is the one compare-and-set of the ledger."""
    if not first:
        return {}
    rows = _INSERT_RESULTS.run(
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


def _without(routed: Sequence[RoutedResult], new: Sequence[RoutedResult]) -> list[RoutedResult]:
    taken = {id(entry) for entry in new}
    return [entry for entry in routed if id(entry) not in taken]


def _recorded_states(connection: Connection, copies: Sequence[RoutedResult]) -> dict[str, str]:
    """What is recorded in the slots of these copies."""
    if not copies:
        return {}
    slots = sorted({entry.dedup_key for entry in copies})
    rows = connection.execute(
        select(results.c.dedup_key, results.c.state).where(results.c.dedup_key.in_(slots))
    )
    return {row.dedup_key: row.state for row in rows}


def _overlooked(copies: Sequence[RoutedResult], states: Mapping[str, str]) -> list[RoutedResult]:
    """Copies of an outcome whose job does not know of it.

    That happens where one process recorded it while another one, in a transaction at the same moment, gave the job
    its id: neither saw the other.
    """
    return [
        entry
        for entry in copies
        if entry.job and entry.job.finished_at is None and states.get(entry.dedup_key) == entry.result.state
    ]


def _count_copies(connection: Connection, copies: Sequence[RoutedResult], states: Mapping[str, str]) -> int:
    """Count copies where they belong; returns how many of them contradict what is recorded."""
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


def _comes_too_late(entry: RoutedResult) -> bool:
    """An outcome of a job that was told to be lost before it had an id."""
    told = entry.job is not None and entry.job.state == JobState.LOST
    return told and entry.decision.status is ResultStatus.DROPPED and bool(entry.result.terminal_id)


def _finish_jobs(connection: Connection, routed: Sequence[RoutedResult], *, at: datetime) -> None:
    finished = {known.id: (state, text) for entry in routed for known, state, text in _finished_by(entry)}
    by_end = sorted(finished, key=lambda row_id: (finished[row_id], row_id))
    for (state, text), alike in groupby(by_end, key=finished.__getitem__):
        _FINISH.run(connection, list(alike), to=state, text=text, now=at)


def _finished_by(entry: RoutedResult) -> Iterator[tuple[KnownJob, str, str]]:
    """The jobs that end with this result: how, and what there is to say."""
    result = entry.result
    for known, state in entry.activities:
        text = "" if state == JobState.SUCCESS else f"so ended the activity of workflow {result.run_id}"
        yield known, state, text
    if entry.known and result.terminal_id and _is_about(result, entry.known.job):
        yield entry.known, result.state, _complaint(result)


def _is_about(result: Result, job: Job) -> bool:
    return result.terminal_id == (job.job_id or job.token)


def _complaint(result: Result) -> str:
    return "" if result.state == JobState.SUCCESS else f"{result.code}: {result.message}".strip(": ")


def _targets(decision: RoutingDecision) -> Sequence[Target]:
    if decision.status is ResultStatus.REFUSED:
        return decision.targets or (Target("", ""),)
    return decision.targets


def _delivery_values(
    entry: RoutedResult, target: Target, ids: Mapping[str, int], *, at: datetime, claim: Claim | None
) -> dict[str, Any]:
    """The row of a new delivery: pending, running for a claim's owner, or dead from the start."""
    refused = entry.decision.status is ResultStatus.REFUSED
    started = claim is not None and not refused
    state = DeliveryState.DEAD if refused else DeliveryState.RUNNING if started else DeliveryState.PENDING
    return {
        "result": ids[entry.dedup_key],
        "queue": entry.queue,
        "route": target.route,
        "handler": target.handler,
        "state": state,
        "attempt": int(started),
        "failures": 0,
        "next_at": at if state is DeliveryState.PENDING else None,
        "owner": claim.owner if claim and started else None,
        "lease_until": claim.until if claim and started else None,
        "last_error": entry.decision.reason or None,
        "created_at": at,
        "settled_at": at if refused else None,
    }


def _insert_claimed(
    connection: Connection, wanted: Sequence[tuple[RoutedResult, Target]], rows: Sequence[dict[str, Any]]
) -> Sequence[Delivery]:
    """Write these; returns the ones that run from now on, whole."""
    if not rows:
        return ()
    written = _INSERT_DELIVERIES.run(connection, rows)
    ids = {(row[1], row[2], row[3]): row[0] for row in written}
    return [
        delivery_of({**row, "id": ids[row["result"], row["route"], row["handler"]]}, entry.result, entry.job)
        for (entry, _), row in zip(wanted, rows, strict=True)
        if row["state"] is DeliveryState.RUNNING
    ]


def _quarantine(connection: Connection, batch: Sequence[DecodedMessage], *, at: datetime) -> int:
    """Keep what could not be decoded; a message that comes again is counted, not kept twice."""
    garbled = [values_of_quarantined(entry, at=at) for entry in batch if entry.result is None]
    for values in sorted(garbled, key=lambda each: (each["queue"], each["message_id"])):
        seen = connection.execute(
            update(quarantine)
            .where(quarantine.c.queue == values["queue"], quarantine.c.message_id == values["message_id"])
            .values(copies=quarantine.c.copies + 1)
        )
        if not seen.rowcount:
            connection.execute(
                insert_ignoring(connection.dialect.name, quarantine, ["queue", "message_id"]), values
            )
    return len(garbled)


def _count(routed: Sequence[RoutedResult], status: ResultStatus) -> int:
    return sum(1 for entry in routed if entry.decision.status is status)
