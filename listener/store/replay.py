"""Replays dead letters: where each one goes by the current routes, and what is written for that.

A dead letter stays the same delivery under the same key, also if its route or handler has another name by now: it may
have had an effect, which its handler recognizes by the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, update

from listener.core.idempotency_key import idempotency_key
from listener.core.model import DeliveryState, Replayed, Result, ResultStatus, RoutingDecision, Target
from listener.core.ports import Decide
from listener.store import changes, delivery_rows, ingest, job_matching
from listener.store.changes import ChangeKind
from listener.store.postgres import notify
from listener.store.routed_result import KnownJob, RoutedResult
from listener.store.rows import Columns, result_of
from listener.store.selects import rows_in_order
from listener.store.tables import deliveries, results

NO_ROUTE = "no route matches its result"

_MAKE_PENDING = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("row_id"))
    .values(
        route=bindparam("to_route"),
        handler=bindparam("to_handler"),
        first_key=bindparam("key"),
        state=DeliveryState.PENDING,
        failures=0,
        next_at=bindparam("now"),
        pull_at=None,
        settled_at=None,
        no_handler_since=None,
        # Its age counts from now, or a delivery that exceeded retry.max_elapsed could never be replayed.
        replayed_at=bindparam("now"),
    )
)


@dataclass(frozen=True, slots=True)
class _Sibling:
    """One of the deliveries of a result."""

    id: int
    target: Target
    first_key: str
    dead: bool

    def key(self, result: Result) -> str:
        return self.first_key or _key(result, self.target)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """The result of dead letters, the decision about it by the current routes, and all of its deliveries by age."""

    row: Columns
    result: Result
    known: KnownJob | None
    decision: RoutingDecision
    siblings: list[_Sibling] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Done:
    """Where each dead letter went, and why others were refused, by row id."""

    targets: dict[int, Sequence[Target]]
    refused: dict[int, str]


def replay(connection: Connection, ids: Sequence[int], decide: Decide, *, at: datetime) -> Replayed:
    """See ``DeadLetters.replay``."""
    given, done = set(ids), _Done({}, {})
    for each in _recorded(connection, _results_of(connection, ids), decide, at=at):
        wanted = [sibling for sibling in each.siblings if sibling.dead and sibling.id in given]
        one = _replay(connection, each, wanted, decide, at=at)
        done.targets.update(one.targets)
        done.refused.update(one.refused)
    notify(connection)
    in_order = list(dict.fromkeys(ids))
    changes.add(connection, {ChangeKind.REPLAYED: sorted(done.targets)}, at=at)
    return Replayed(
        ids=[row_id for row_id in in_order if row_id in done.targets],
        targets=done.targets,
        refused={row_id: done.refused[row_id] for row_id in in_order if row_id in done.refused},
    )


def _results_of(connection: Connection, ids: Sequence[int]) -> Sequence[int]:
    """The results of those that are dead letters; locked, so that two replays do not give one to the same handler."""
    dead = select(deliveries.c.result).where(
        deliveries.c.id.in_(ids), deliveries.c.state == DeliveryState.DEAD
    )
    locked = select(results.c.id).where(results.c.id.in_(dead)).order_by(results.c.id).with_for_update()
    return list(connection.scalars(locked))


def _recorded(
    connection: Connection, ids: Sequence[int], decide: Decide, *, at: datetime
) -> Sequence[_Recorded]:
    rows = rows_in_order(connection, results, ids)
    read = [result_of(row) for row in rows]
    known = job_matching.find_jobs(connection, read, at=at)
    found: dict[int, _Recorded] = {}
    for row, result in zip(rows, read, strict=True):
        entry = job_matching.job_for(result, known)
        decision = decide(result, entry.job if entry else None, row["queue"])
        found[row["id"]] = _Recorded(row, result, None if decision.ignores_job else entry, decision)
    columns = deliveries.c
    for each in connection.execute(
        select(columns.id, columns.result, columns.route, columns.handler, columns.first_key, columns.state)
        .where(columns.result.in_(ids))
        .order_by(columns.id)
        .with_for_update()
    ):
        dead = each.state == DeliveryState.DEAD
        sibling = _Sibling(each.id, Target(each.route, each.handler), each.first_key or "", dead)
        found[each.result].siblings.append(sibling)
    return list(found.values())


def _replay(
    connection: Connection, of: _Recorded, letters: Sequence[_Sibling], decide: Decide, *, at: datetime
) -> _Done:
    """Replay these dead letters of one result."""
    if of.decision.status is not ResultStatus.ROUTED:
        reason = of.decision.reason if of.decision.status is ResultStatus.DROPPED else NO_ROUTE
        return _Done({}, {letter.id: reason for letter in letters})
    by_handler = {target.handler: target for target in of.decision.targets}
    done, moving = _Done({}, {}), list[_Sibling]()
    for letter in letters:
        if not letter.target.handler:
            _route(connection, of, letter, decide, at=at)
            done.targets[letter.id] = of.decision.targets
        elif target := by_handler.get(letter.target.handler):
            _make_pending(connection, of, letter, target, at=at)
            done.targets[letter.id] = (target,)
        else:
            moving.append(letter)
    if moving:
        _replace_handlers(connection, of, moving, done, at=at)
    return done


def _replace_handlers(
    connection: Connection, of: _Recorded, letters: Sequence[_Sibling], done: _Done, *, at: datetime
) -> None:
    """Give dead letters whose handlers are gone to the handlers that have not got the result, in their order."""
    taken = {sibling.target.handler for sibling in of.siblings}
    free = [target for target in of.decision.targets if target.handler not in taken]
    for letter, target in zip(letters, free, strict=False):
        _make_pending(connection, of, letter, target, at=at)
        done.targets[letter.id] = (target,)
    keys = {sibling.key(of.result) for sibling in of.siblings}
    if added := [target for target in free[len(letters) :] if _key(of.result, target) not in keys]:
        _insert(connection, of, added, at=at)
        done.targets[letters[-1].id] = (free[len(letters) - 1], *added)
    route = of.decision.targets[0].route
    reason = f"the route {route!r} has given its result to all of its handlers already"
    done.refused.update({letter.id: reason for letter in letters[len(free) :]})


def _make_pending(
    connection: Connection, of: _Recorded, letter: _Sibling, target: Target, *, at: datetime
) -> None:
    key = letter.first_key if target == letter.target else letter.key(of.result)
    values = {"row_id": letter.id, "to_route": target.route, "to_handler": target.handler}
    connection.execute(_MAKE_PENDING, values | {"key": key or None, "now": at})


def _insert(connection: Connection, of: _Recorded, targets: Sequence[Target], *, at: datetime) -> None:
    entry = RoutedResult(
        result=of.result,
        queue=of.row["queue"],
        message_id=of.row["message_id"],
        known=of.known,
        decision=RoutingDecision(status=ResultStatus.ROUTED, targets=targets),
        dedup_key=of.row["dedup_key"],
        ends=of.result.terminal_id,
    )
    delivery_rows.insert_deliveries(connection, [entry], {entry.dedup_key: of.row["id"]}, at=at, claim=None)


def _route(connection: Connection, of: _Recorded, letter: _Sibling, decide: Decide, *, at: datetime) -> None:
    """Route the result of a dead letter that never had a route; the letter is dropped, others take its place."""
    ingest.reroute(connection, [of.row], decide, at=at)
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == letter.id)
        .values(state=DeliveryState.DROPPED, settled_at=at)
    )


def _key(result: Result, target: Target) -> str:
    return idempotency_key(result.key, result.state, target.route, target.handler)
