"""Deliveries that applications pull: which are offered, who has pulled them, and until when.

An offered delivery is pending and has a ``pull_at`` instead of a ``next_at``, so that no dispatcher claims it. It keeps
its ``pull_at`` while an application has it: after a failure it is offered again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, case, func, select, type_coerce, update

from listener.core.model import Claim, Delivery, Target
from listener.store.claims import IS_PENDING, IS_RUNNING, RUNNING, Load
from listener.store.in_turn import queues_of, select_queues
from listener.store.postgres import notify
from listener.store.tables import MICROSECOND, UtcTimestamp, deliveries

#: How many deliveries one transaction gives back to the dispatchers.
WITHDRAW_BATCH = 1000

_PULLED = deliveries.c.pull_at.is_not(None)
_OFFERED = IS_PENDING & _PULLED
_OF_TARGET = (deliveries.c.route == bindparam("of_route")) & (deliveries.c.handler == bindparam("of_handler"))
_DUE = (
    select(deliveries.c.id)
    .where(IS_PENDING, _OF_TARGET, deliveries.c.pull_at <= bindparam("now"))
    .order_by(deliveries.c.pull_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_ANY_DUE = (
    select(deliveries.c.id).where(IS_PENDING, _OF_TARGET, deliveries.c.pull_at <= bindparam("now")).limit(1)
)
_CLAIM = (
    update(deliveries)
    .where(deliveries.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        state=RUNNING,
        owner=bindparam("new_owner"),
        lease_until=bindparam("until"),
        next_at=None,
        # The first pull continues the attempt in which it was offered.
        attempt=deliveries.c.attempt + case((deliveries.c.owner.is_(None), 1), else_=0),
    )
)
_EXTEND = (
    update(deliveries)
    .where(
        deliveries.c.id == bindparam("row_id"),
        deliveries.c.attempt == bindparam("of_attempt"),
        deliveries.c.state == RUNNING,
        _PULLED,
    )
    .values(lease_until=bindparam("until"))
)
_ROUTES = select_queues(deliveries.c.route, _OFFERED)
_HANDLERS = select_queues(deliveries.c.handler, _OFFERED & (deliveries.c.route == bindparam("of_route")))
_WITHDRAWN = select(deliveries.c.id).where(_OFFERED, _OF_TARGET).limit(bindparam("most"))
_WITHDRAW = (
    update(deliveries)
    .where(IS_PENDING, deliveries.c.id.in_(bindparam("ids", expanding=True)))
    .values(next_at=deliveries.c.pull_at, pull_at=None, owner=None)
)


def claim(
    connection: Connection, target: Target, wanted: Claim, *, at: datetime, load: Load
) -> Sequence[Delivery]:
    """See ``PullStore.claim_offered``."""
    ids = list(connection.scalars(_DUE, {**_of(target), "now": at, "most": wanted.limit}))
    if not ids:
        return ()
    connection.execute(_CLAIM, {"ids": ids, "new_owner": wanted.owner, "until": wanted.until})
    return load(connection, ids)


def extend(connection: Connection, delivery: Delivery, *, until: datetime) -> bool:
    """See ``PullStore.extend``."""
    current = {"row_id": delivery.id, "of_attempt": delivery.attempt, "until": until}
    return bool(connection.execute(_EXTEND, current).rowcount)


def shift_leases(connection: Connection, by: timedelta, *, daemon: str) -> int:
    """See ``DeliveryStore.shift_pulled_leases``."""
    moved = type_coerce(deliveries.c.lease_until, BigInteger) + by // MICROSECOND
    pulled_from = deliveries.c.owner.endswith(f"@{daemon}", autoescape=True)
    shifted = update(deliveries).where(IS_RUNNING, _PULLED, pulled_from)
    return connection.execute(shifted.values(lease_until=type_coerce(moved, UtcTimestamp))).rowcount


def due_targets(connection: Connection, targets: Sequence[Target], *, at: datetime) -> Sequence[Target]:
    """See ``PullStore.due_targets``."""
    return [
        target for target in targets if connection.scalar(_ANY_DUE, {**_of(target), "now": at}) is not None
    ]


def offered_targets(connection: Connection) -> Sequence[Target]:
    """See ``PullStore.offered_targets``."""
    return [
        Target(route, handler)
        for route in queues_of(connection, _ROUTES)
        for handler in connection.scalars(_HANDLERS, {"of_route": route})
        if handler is not None
    ]


def withdraw(connection: Connection, target: Target) -> int:
    """See ``PullStore.withdraw``."""
    ids = list(connection.scalars(_WITHDRAWN, {**_of(target), "most": WITHDRAW_BATCH}))
    if ids:
        connection.execute(_WITHDRAW, {"ids": ids})
        notify(connection)
    return len(ids)


def count_offered(connection: Connection) -> int:
    """How many deliveries are offered to applications."""
    # Without the condition on routes, SQLite looks at all that are pending.
    offered = select(func.count()).select_from(deliveries).where(_OFFERED, deliveries.c.route >= "")
    return connection.scalar(offered) or 0


def count_left_to_applications(connection: Connection) -> int:
    """How many deliveries are offered to applications, or have been pulled and not been settled yet."""
    pulled = connection.scalar(select(func.count()).select_from(deliveries).where(IS_RUNNING, _PULLED))
    return count_offered(connection) + (pulled or 0)


def _of(target: Target) -> dict[str, Any]:
    return {"of_route": target.route, "of_handler": target.handler}
