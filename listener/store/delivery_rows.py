"""Inserts the deliveries of newly routed results: pending, already claimed, or dead from the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from listener.core.model import Claim, Delivery, DeliveryState, ResultStatus, RoutingDecision, Target
from listener.store import changes
from listener.store.compiled import BulkInsert
from listener.store.postgres import notify
from listener.store.routed_result import RoutedResult
from listener.store.rows import delivery_of
from listener.store.tables import deliveries

_INSERT = BulkInsert(
    deliveries,
    lambda _dialect: insert(deliveries).returning(
        deliveries.c.id, deliveries.c.result, deliveries.c.route, deliveries.c.handler
    ),
)


def insert_deliveries(
    connection: Connection,
    routed: Sequence[RoutedResult],
    ids: Mapping[str, int],
    *,
    at: datetime,
    claim: Claim | None,
) -> tuple[int, Sequence[Delivery]]:
    """Write the deliveries that the decisions ask for; the first ones are claimed at once, as far as ``claim`` goes.

    Returns how many were written, and those that are claimed.
    """
    wanted = [(entry, target) for entry in routed for target in _targets(entry.decision)]
    if not wanted:
        return 0, ()
    mine = min(claim.limit, claim.capacity_for(wanted[0][0].queue), len(wanted)) if claim else 0
    rows = [
        _values(entry, target, ids, at=at, claim=claim if place < mine else None)
        for place, (entry, target) in enumerate(wanted)
    ]
    claimed = _insert_claimed(connection, wanted[:mine], rows[:mine], at=at)
    if rows[mine:]:
        connection.execute(insert(deliveries), rows[mine:])
        notify(connection)
    if refused := [ids[entry.dedup_key] for entry in routed if _is_refused(entry)]:
        _log_dead(connection, refused, at=at)
    return len(wanted), claimed


def _log_dead(connection: Connection, results: Sequence[int], *, at: datetime) -> None:
    """The deliveries of these results, which are dead letters from the start."""
    dead = select(deliveries.c.id).where(deliveries.c.result.in_(results)).order_by(deliveries.c.id)
    changes.add_dead(connection, connection.scalars(dead), at=at)


def _is_refused(entry: RoutedResult) -> bool:
    return entry.decision.status is ResultStatus.REFUSED


def _targets(decision: RoutingDecision) -> Sequence[Target]:
    """A refused result without a route still gets a dead letter, so that somebody sees it."""
    if decision.status is ResultStatus.REFUSED:
        return decision.targets or (Target("", ""),)
    return decision.targets


def _values(
    entry: RoutedResult, target: Target, ids: Mapping[str, int], *, at: datetime, claim: Claim | None
) -> dict[str, Any]:
    """The row of a new delivery: pending, running for the claim's owner, or dead from the start."""
    refused = _is_refused(entry)
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
        "no_handler_since": None,
        "first_key": None,
        "replayed_at": None,
        "pull_at": None,
    }


def _insert_claimed(
    connection: Connection,
    wanted: Sequence[tuple[RoutedResult, Target]],
    rows: Sequence[dict[str, Any]],
    *,
    at: datetime,
) -> Sequence[Delivery]:
    """Insert these rows; returns those that are running, with their results and jobs."""
    if not rows:
        return ()
    written = _INSERT.run(connection, rows)
    ids = {(row[1], row[2], row[3]): row[0] for row in written}
    return [
        delivery_of(
            {**row, "id": ids[row["result"], row["route"], row["handler"]]},
            entry.result,
            entry.job,
            received_at=at,
        )
        for (entry, _), row in zip(wanted, rows, strict=True)
        if row["state"] is DeliveryState.RUNNING
    ]
