"""Leases that were not renewed can be rescued whenever they end; those that were renewed cannot."""

from __future__ import annotations

from datetime import datetime, timedelta

from listener.core.model import Delivery, DeliveryState, Done, Lease, RetryAfter, Settlement
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_claim, decoded_messages, routes_all
from tests.support.stores import states

HOUR = timedelta(hours=1)


def claimed(store: SqlStore, number: int, *, until: datetime) -> list[Delivery]:
    store.record(decoded_messages(number), routes_all(), at=NOON)
    return [*store.claim(a_claim(until=until, limit=number), at=NOON)]


def again(_delivery: Delivery) -> RetryAfter:
    return RetryAfter(wait=timedelta(0), reason="not renewed")


def test_leases_that_end_late_are_listed_the_earliest_first(store: SqlStore) -> None:
    early, late, later = claimed(store, 3, until=NOON)
    store.renew([later], until=NOON + 3 * HOUR)
    store.renew([late], until=NOON + 2 * HOUR)

    leases = [Lease(late.id, NOON + 2 * HOUR), Lease(later.id, NOON + 3 * HOUR)]
    assert store.leases(after=NOON, pulled_after=NOON, limit=10) == leases
    assert store.leases(after=NOON, pulled_after=NOON, limit=1) == leases[:1]
    assert len(store.leases(after=NOON - HOUR, pulled_after=NOON - HOUR, limit=10)) == 3
    assert early.lease_until == NOON


def test_only_leases_that_were_not_renewed_are_rescued(store: SqlStore) -> None:
    settled, renewed, stale = claimed(store, 3, until=NOON + HOUR)
    leases = store.leases(after=NOON, pulled_after=NOON, limit=10)
    store.settle([Settlement(delivery=settled, outcome=Done())], at=NOON)
    store.renew([renewed], until=NOON + 2 * HOUR)

    rescued = store.rescue_unrenewed(leases, again, at=NOON)
    assert [entry.delivery.id for entry in rescued] == [stale.id]
    assert store.rescue_unrenewed(leases, again, at=NOON) == []
    assert states(store) == [DeliveryState.DONE, DeliveryState.RUNNING, DeliveryState.PENDING]


def damage_lease(store: SqlStore, delivery: Delivery) -> None:
    """As if a bit of the end of the lease had flipped: it is beyond any time that can be read."""
    with store.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE deliveries SET lease_until = {2**62} WHERE id = {delivery.id}")


def test_a_lease_whose_end_is_damaged_is_rescued_like_any_other(store: SqlStore) -> None:
    damaged, other = claimed(store, 2, until=NOON + HOUR)
    damage_lease(store, damaged)

    leases = store.leases(after=NOON, pulled_after=NOON, limit=10)
    assert [lease.delivery_id for lease in leases] == [other.id, damaged.id]
    assert store.leases(after=NOON, pulled_after=NOON, limit=10) == leases
    rescued = store.rescue_unrenewed(leases[1:], again, at=NOON)

    assert [entry.delivery.id for entry in rescued] == [damaged.id]
    assert states(store) == [DeliveryState.PENDING, DeliveryState.RUNNING]


def test_a_damaged_lease_that_was_renewed_is_not_rescued(store: SqlStore) -> None:
    (delivery,) = claimed(store, 1, until=NOON + HOUR)
    damage_lease(store, delivery)
    leases = store.leases(after=NOON, pulled_after=NOON, limit=10)

    store.renew([delivery], until=NOON + HOUR)

    assert store.rescue_unrenewed(leases, again, at=NOON) == []
    assert states(store) == [DeliveryState.RUNNING]
