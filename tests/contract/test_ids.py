"""The id of a deleted row never comes back, so an id that somebody noted cannot mean another row later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from sqlalchemy import func, select

from listener.core.model import RetryAfter, Settlement, Target
from listener.store.sql_store import SqlStore
from listener.store.tables import metadata
from tests.support.builders import (
    NOON,
    a_claim,
    a_decoded_message,
    a_job,
    a_message,
    decoded_messages,
    routes_all,
)

TABLES = [table for table in metadata.sorted_tables if "id" in table.c]


def fill(store: SqlStore, name: str) -> None:
    """Write rows to every table."""
    store.add_job(a_job(token=name, job_id=f"mps-callbacks-{name}-0", reference=name))
    undecodable = a_decoded_message(message=a_message(message_id=name), result=None, reason="no JSON")
    store.record([*decoded_messages(2, prefix=name), undecodable], routes_all(), at=NOON)
    failed = RetryAfter(wait=NOON - NOON, reason="connection refused")
    for delivery in store.claim(a_claim(limit=2), at=NOON):
        store.settle([Settlement(delivery=delivery, outcome=failed, started_at=NOON, seconds=1)], at=NOON)


def first_and_last(store: SqlStore) -> Mapping[str, tuple[int, int]]:
    with store.database.read() as connection:
        ids = {
            table.name: connection.execute(select(func.min(table.c.id), func.max(table.c.id))).one()
            for table in TABLES
        }
    return {name: (int(first), int(last)) for name, (first, last) in ids.items()}


def delete_all(store: SqlStore) -> None:
    with store.database.write() as connection:
        for table in TABLES:
            connection.execute(table.delete())


def test_no_id_is_assigned_again(store: SqlStore) -> None:
    fill(store, "before")
    deleted = first_and_last(store)
    delete_all(store)
    fill(store, "after")

    assert [name for name, (first, _) in first_and_last(store).items() if first <= deleted[name][1]] == []


@pytest.mark.parametrize("known", [(), (1, 4, 18)], ids=["all-new", "some-copies"])
def test_a_claimed_delivery_has_the_id_of_its_own_row(store: SqlStore, known: Sequence[int]) -> None:
    batch = decoded_messages(19)[::-1]  # not in the order in which results are written
    store.record([batch[number] for number in known], routes_all(), at=NOON)
    targets = [Target("videos", "log"), Target("videos", "mail"), Target("audit", "log")]

    claimed = store.record(batch, routes_all(*targets), at=NOON, claim=a_claim()).claimed

    stored = [store.find_delivery(delivery.id) for delivery in claimed]
    assert [(each.target, each.result.job_id) for each in stored if each] == [
        (each.target, each.result.job_id) for each in claimed
    ]
    assert len(stored) == 3 * (19 - len(known))
