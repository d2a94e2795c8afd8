"""Inserts the deliveries of newly routed results: pending, already claimed, or dead from the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, insert

from listener.core.model import (
    Claim,
    Delivery,
    DeliveryState,
    ResultStatus,
    RoutingDecision,
    Target,
    make_delivery,
)
from listener.store import changes
from listener.store.compiled import BulkInsert
from listener.store.postgres import notify
from listener.store.routed_result import RoutedResult
from listener.store.tables import deliveries, stored_time

_Lease = tuple[str | None, int | None]
"""Owner and end, as rows have them."""
_NO_LEASE: Final[_Lease] = (None, None)
#: The columns that a new delivery has, in the order of ``_row``; the others are set later.
_NEW: Final = (
    "result",
    "route",
    "handler",
    "queue",
    "state",
    "attempt",
    "failures",
    "next_at",
    "owner",
    "lease_until",
    "last_error",
    "created_at",
    "settled_at",
)
_INSERT = BulkInsert(
    deliveries,
    _NEW,
    lambda _dialect, table: insert(table),
    key=("result", "route", "handler"),
    usually_same=_NEW[_NEW.index("queue") :],
)
# Plain text: SQLite's driver looks for an adapter of the values of all other classes.
_PENDING, _RUNNING, _DEAD = (
    state.value for state in (DeliveryState.PENDING, DeliveryState.RUNNING, DeliveryState.DEAD)
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
    now, lease = stored_time(at), _lease(claim)
    rows = [
        _row(entry, target, ids[entry.dedup_key], now=now, lease=lease if place < mine else _NO_LEASE)
        for place, (entry, target) in enumerate(wanted)
    ]
    row_ids = _INSERT.ids(connection, rows)
    if mine < len(rows):
        notify(connection)
    written = list(zip(row_ids, wanted, strict=True))
    changes.add_dead(
        connection, sorted(row_id for row_id, (entry, _) in written if _is_refused(entry)), at=at
    )
    if not claim:
        return len(wanted), ()
    claimed = [
        _running(row_id, entry, target, claim=claim, at=at)
        for row_id, (entry, target) in written[:mine]
        if not _is_refused(entry)
    ]
    return len(wanted), claimed


def _is_refused(entry: RoutedResult) -> bool:
    return entry.decision.status is ResultStatus.REFUSED


def _targets(decision: RoutingDecision) -> Sequence[Target]:
    """A refused result without a route still gets a dead letter, so that somebody sees it."""
    if decision.status is ResultStatus.REFUSED:
        return decision.targets or (Target("", ""),)
    return decision.targets


def _lease(claim: Claim | None) -> _Lease:
    return (claim.owner, stored_time(claim.until)) if claim else _NO_LEASE


def _row(
    entry: RoutedResult, target: Target, result: int, *, now: int | None, lease: _Lease
) -> tuple[Any, ...]:
    """The row of a new delivery, _NEW: dead from the start, running if there is a lease for it, or else pending."""
    owner, until = lease
    refused = _is_refused(entry)
    state = _DEAD if refused else _RUNNING if owner else _PENDING
    started = state is _RUNNING
    return (
        result,
        target.route,
        target.handler,
        entry.queue,
        state,
        int(started),
        0,
        now if state is _PENDING else None,
        owner if started else None,
        until if started else None,
        entry.decision.reason or None,
        now,
        now if refused else None,
    )


def _running(row_id: int, entry: RoutedResult, target: Target, *, claim: Claim, at: datetime) -> Delivery:
    """The delivery in a row that was written with the lease of this claim."""
    return make_delivery(
        id=row_id,
        target=target,
        result=entry.result,
        job=entry.job,
        received_at=at,
        queue=entry.queue,
        attempt=1,
        failures=0,
        state=DeliveryState.RUNNING,
        created_at=at,
        lease_until=claim.until,
        owner=claim.owner,
        last_error=entry.decision.reason,
    )
