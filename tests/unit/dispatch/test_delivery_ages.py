"""Deliveries that a replica wrote while its clock was behind are not as old as they seem."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from listener.core.errors import StoreFailureKind, StoreUnavailable
from listener.core.model import Delivery
from listener.dispatch.delivery_ages import AFTER, BEFORE, DeliveryAges
from listener.rules.retry import RetryPolicy
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_claim, decoded_messages, routes_all
from tests.support.clocks import RIGHT, UNKNOWN, freeze_time
from tests.support.dispatching import LONG, a_dispatcher
from tests.support.sqlite import new_sqlite_store
from tests.support.stores import states

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


class Looking:
    """The times of a store, and how often they were looked at."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self.looks = 0
        self.away = False

    def delivery_times(self, *, first: int, last: int) -> Sequence[tuple[int, datetime]]:
        if self.away:
            raise StoreUnavailable("away", kind=StoreFailureKind.CONNECTION)
        self.looks += 1
        return self._store.delivery_times(first=first, last=last)


def record(store: SqlStore, prefix: str, *, at: datetime, count: int = 2) -> Sequence[Delivery]:
    """So many deliveries of another process, whose leases end at once."""
    claim = a_claim(owner="other", until=at + SECOND, limit=count)
    return store.record(decoded_messages(count, prefix=prefix), routes_all(), at=at, claim=claim).claimed


def test_a_delivery_between_newer_ones_is_newer_than_it_seems(store: SqlStore) -> None:
    honest = [
        *record(store, "old", at=NOON - 3 * DAY),
        *record(store, "before", at=NOON - SECOND),
    ]
    behind = record(store, "behind", at=NOON - 2 * DAY + SECOND)
    with freeze_time(NOON):
        ages = DeliveryAges(store, RIGHT)
        certain = [[ages.are_certain(each, limit=DAY) for each in some] for some in (honest, behind)]

    assert certain == [[True] * 4, [False] * 2]


def test_a_delivery_that_the_limit_does_not_concern_is_not_looked_at(store: SqlStore) -> None:
    looking = Looking(store)
    (delivery,) = record(store, "job", at=NOON - DAY + SECOND, count=1)
    with freeze_time(NOON):
        assert DeliveryAges(looking, RIGHT).are_certain(delivery, limit=DAY)
        assert not DeliveryAges(looking, UNKNOWN).are_certain(delivery, limit=DAY)

    assert looking.looks == 0


def test_what_is_written_after_a_look_is_looked_at(store: SqlStore) -> None:
    looking = Looking(store)
    ages = DeliveryAges(looking, RIGHT)
    with freeze_time(NOON):
        (honest,) = record(store, "before", at=NOON - 2 * DAY, count=1)
        record(store, "later", at=NOON)
        assert ages.are_certain(honest, limit=DAY)
        (behind,) = record(store, "behind", at=NOON - 2 * DAY, count=1)
        assert not ages.are_certain(behind, limit=DAY)

    assert looking.looks == 2


def test_nothing_is_certain_while_the_store_is_unavailable(store: SqlStore) -> None:
    looking = Looking(store)
    (delivery,) = record(store, "job", at=NOON - 2 * DAY, count=1)
    with freeze_time(NOON):
        ages = DeliveryAges(looking, RIGHT)
        looking.away = True
        assert not ages.are_certain(delivery, limit=DAY)
        looking.away = False
        assert ages.are_certain(delivery, limit=DAY)


def test_many_that_are_too_old_need_few_queries(store: SqlStore) -> None:
    looking = Looking(store)
    many = record(store, "old", at=NOON - 2 * DAY, count=BEFORE + AFTER)
    with freeze_time(NOON):
        ages = DeliveryAges(looking, RIGHT)
        assert all(ages.are_certain(each, limit=DAY) for each in many)

    assert looking.looks == 2


@pytest.mark.parametrize(("before", "state"), [(NOON - SECOND, "pending"), (NOON - 2 * DAY, "dead")])
def test_the_rescue_of_another_process_that_was_behind_ends_no_retries(
    store: SqlStore, before: datetime, state: str
) -> None:
    record(store, "before", at=before, count=1)
    record(store, "behind", at=NOON - 2 * DAY + SECOND, count=1)
    record(store, "after", at=NOON + SECOND, count=1)
    dispatcher = a_dispatcher(store, lambda _result: None, policy=RetryPolicy())
    with freeze_time(NOON + 2 * SECOND) as time:
        for _ in range(3):
            dispatcher.maintain_leases()
            time.tick(LONG / 4 + SECOND)

    assert states(store)[1] == state
