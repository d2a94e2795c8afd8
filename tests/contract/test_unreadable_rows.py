"""One damaged row stops no other, on each supported database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, literal_column, select, update
from structlog.testing import capture_logs

from listener.core.model import Delivery, Outcome, ResultStatus, RetryAfter, RoutingDecision
from listener.core.ports import Decide
from listener.store.dead_letters import DeadLetters
from listener.store.maintenance import export
from listener.store.parked import reroute_parked
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore
from listener.store.tables import deliveries, results
from tests.support.builders import NOON, a_claim, decoded_messages, routes_all
from tests.support.stores import states

LATER = NOON + timedelta(minutes=1)
#: Where one flipped bit makes a row unreadable: JSON, an enumeration's value, and a row that others refer to.
DAMAGE = pytest.mark.parametrize(
    ("table", "change"),
    [
        pytest.param(results, {"details": "{"}, id="json"),
        pytest.param(results, {"source": "callbacj"}, id="enumeration"),
        pytest.param(deliveries, {"result": 2**40}, id="reference"),
    ],
)


def damage(store: SqlStore, table: Table, change: dict[str, Any], *, place: int = 2) -> int:
    """Change the row in this place (counted from 0); returns its id."""
    with store.database.write() as connection:
        row = connection.scalars(select(table.c.id).order_by(table.c.id).offset(place).limit(1)).one()
        connection.execute(update(table).where(table.c.id == row).values(**change))
    return row


def decides(status: ResultStatus) -> Decide:
    wait_until = NOON if status is ResultStatus.WAITING else None
    return lambda _result, _job, _queue: RoutingDecision(status=status, wait_until=wait_until)


def retry(_delivery: Delivery) -> Outcome:
    return RetryAfter(wait=timedelta(0), reason="its lease has expired")


@DAMAGE
def test_the_leases_of_all_others_expire(store: SqlStore, table: Table, change: dict[str, Any]) -> None:
    store.record(decoded_messages(5), routes_all(), at=NOON, claim=a_claim())
    damage(store, table, change)

    with capture_logs() as logs:
        rescued = store.rescue_expired(retry, at=LATER, limit=100)

    assert len(rescued) == 4
    assert states(store) == ["pending", "pending", "dead", "pending", "pending"]
    assert [line["table"] for line in logs if line["event"] == "row.unreadable"] == ["deliveries"]
    assert store.rescue_expired(retry, at=LATER, limit=100) == []


@DAMAGE
def test_all_others_are_claimed(store: SqlStore, table: Table, change: dict[str, Any]) -> None:
    store.record(decoded_messages(5), routes_all(), at=NOON)
    damage(store, table, change)

    assert len(store.claim(a_claim(), at=NOON)) == 4
    assert states(store) == ["running", "running", "dead", "running", "running"]
    assert "cannot be read" in reasons(store)


def reasons(store: SqlStore) -> str:
    with store.database.read() as connection:
        return " ".join(filter(None, connection.scalars(select(deliveries.c.last_error))))


def test_a_waiting_result_that_cannot_be_read_is_a_dead_letter_and_the_others_are_decided(
    store: SqlStore,
) -> None:
    store.record(decoded_messages(5), decides(ResultStatus.WAITING), at=NOON)
    row = damage(store, results, {"details": "{"})

    assert store.decide_waiting(routes_all(), at=LATER, limit=100).deliveries == 4
    assert sorted(states(store)) == ["dead", *["pending"] * 4]
    assert store.outstanding() == 4

    letters, (dead,) = DeadLetters(store.database), dead_ids(store)
    assert letters.replay([dead], routes_all(), at=LATER).ids == []
    with store.database.write() as connection:
        connection.execute(update(results).where(results.c.id == row).values(details=None))
    assert letters.replay([dead], routes_all(), at=LATER).ids == [dead]
    assert sorted(states(store)) == ["dropped", *["pending"] * 5]


def dead_ids(store: SqlStore) -> list[int]:
    with store.database.read() as connection:
        return list(connection.scalars(select(deliveries.c.id).where(deliveries.c.state == "dead")))


def test_a_parked_result_that_cannot_be_read_stays_parked_and_the_others_are_routed(store: SqlStore) -> None:
    store.record(decoded_messages(5), decides(ResultStatus.PARKED), at=NOON)
    damage(store, results, {"details": "{"})

    assert reroute_parked(store.database, routes_all(), at=NOON, batch=2) == (5, 4)
    assert Queries(store.database).counts()["results"] == {"parked": 1, "routed": 4}


def test_listings_show_all_others(store: SqlStore) -> None:
    store.record(decoded_messages(3), decides(ResultStatus.REFUSED), at=NOON)
    damage(store, results, {"details": "{"}, place=1)
    queries, letters = Queries(store.database), DeadLetters(store.database)

    assert len(queries.results()) == 2
    assert len(letters.page()) == 2
    assert [bool(letters.find(row)) for row in dead_ids(store)] == [True, False, True]
    history = queries.history("mps-callbacks-job-0")
    assert history is not None
    assert len(history.deliveries) == 1


def test_replays_of_others_are_not_stopped(store: SqlStore) -> None:
    store.record(decoded_messages(3), decides(ResultStatus.REFUSED), at=NOON)
    damage(store, results, {"details": "{"}, place=1)
    first, _, last = ids = dead_ids(store)

    assert DeadLetters(store.database).replay(ids, routes_all(), at=NOON).ids == [first, last]


@pytest.mark.parametrize("number", [2**62, -(2**62)])
def test_a_timestamp_that_is_damaged_stops_nothing(store: SqlStore, number: int) -> None:
    store.record(decoded_messages(3), routes_all(), at=NOON)
    value = literal_column(str(number))
    damage(store, deliveries, {"created_at": value, "next_at": value})

    assert store.outstanding() == 3
    assert store.claim(a_claim(), at=NOON)
    assert [row["table"] for row in export(store.database)] == ["results"] * 3 + ["deliveries"] * 3
