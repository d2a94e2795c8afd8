"""What a page reads depends on what it shows, not on how much is open: SQLite's instructions are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import event

from listener.core.model import Dead, DeliveryState, ResultStatus, RoutingDecision, Settlement
from listener.store import job_rows, past_rows, pulls
from listener.store.deliveries import Deliveries
from listener.store.filters import Filters
from listener.store.quarantined_messages import QuarantinedMessages
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_claim, a_job, decoded_messages, events_of_medium, routes_all
from tests.support.sqlite import new_sqlite_store

ROWS: Final = 1000
#: No row of many can be looked at within so many instructions.
FEW: Final = 2 * ROWS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


def steps(store: SqlStore, read: Callable[[], Any]) -> int:
    """How many instructions SQLite carries out, to about a hundred."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 100
        return 0

    def begin(_connection: Any, cursor: Any, *_rest: Any) -> None:
        cursor.connection.set_progress_handler(count, 100)

    with listening(store, begin):
        read()
    return counted


@contextmanager
def listening(store: SqlStore, begin: Callable[..., None]) -> Iterator[None]:
    event.listen(store.database.engine, "before_cursor_execute", begin)
    try:
        yield
    finally:
        event.remove(store.database.engine, "before_cursor_execute", begin)


def test_deliveries_of_jobs_are_counted_without_looking_at_what_else_is_parked(store: SqlStore) -> None:
    parked = RoutingDecision(status=ResultStatus.PARKED)
    store.record(decoded_messages(ROWS), lambda _result, _job, _queue: parked, at=NOON)
    store.add_job(a_job(job_id="mps-callbacks-job-7"))
    queries = Queries(store.database)

    assert queries.delivery_counts([1]) == {1: {"parked": 1}}
    assert steps(store, lambda: queries.delivery_counts([1])) < FEW
    assert steps(store, lambda: queries.delivery_counts([])) == 0


def test_what_applications_may_pull_is_counted_without_looking_at_what_else_is_pending(
    store: SqlStore,
) -> None:
    store.record(decoded_messages(ROWS), routes_all(), at=NOON)

    with store.database.read() as connection:
        assert steps(store, lambda: pulls.count_offered(connection)) < FEW


def test_dead_letters_are_listed_among_deliveries_in_the_order_of_their_ids(store: SqlStore) -> None:
    store.record(decoded_messages(ROWS), routes_all(), at=NOON)
    claimed = store.claim(a_claim(limit=ROWS), at=NOON)
    dead = Dead(reason="no")
    store.settle([Settlement(delivery=each, outcome=dead) for each in claimed], at=NOON)
    found = Deliveries(store.database)

    assert steps(store, lambda: found.page(states=[DeliveryState.DEAD], limit=1)) < FEW


def test_jobs_until_now_are_listed_without_looking_at_all_times(store: SqlStore) -> None:
    with store.database.write() as connection:
        for number in range(ROWS):
            name = f"{number:022}"
            job_rows.add(connection, a_job(token=name, job_id=name, created_at=NOON))
    later = Filters(until=NOON + timedelta(hours=1))
    queries = Queries(store.database)

    assert steps(store, lambda: queries.jobs(filters=later, limit=1)) < FEW


def test_the_newest_times_are_found_without_sorting_those_of_all_jobs(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.database.write() as connection:
        for number in range(ROWS):
            name = f"{number:022}"
            job_rows.add(connection, a_job(token=name, job_id=name, created_at=NOON))
    monkeypatch.setattr(past_rows, "NEWEST", 3)

    assert store.newest_times() == [[], [NOON] * 3]
    assert steps(store, store.newest_times) < FEW


def test_the_quarantine_of_a_queue_is_listed_without_sorting_all_of_it(store: SqlStore) -> None:
    broken = [replace(message, result=None, reason="no callback") for message in decoded_messages(ROWS)]
    store.record(broken, routes_all(), at=NOON)
    of_queue = Filters(queue="mps-callbacks")
    messages = QuarantinedMessages(store.database)

    assert len(messages.page(filters=of_queue, limit=1)) == 1
    assert steps(store, lambda: messages.page(filters=of_queue, limit=1)) < FEW


def test_a_page_of_a_history_reads_no_other_results(store: SqlStore) -> None:
    store.record(events_of_medium(ROWS), routes_all(), at=NOON)
    queries = Queries(store.database)

    assert steps(store, lambda: queries.history("v", limit=2)) < FEW
    assert steps(store, lambda: queries.history("v", before=ROWS // 2, limit=2)) < FEW
    assert steps(store, lambda: queries.is_known("v")) < FEW


def test_outputs_are_found_without_loading_a_long_history(store: SqlStore) -> None:
    store.add_job(a_job(job_id="v"))
    events = events_of_medium(ROWS)
    of_job = [replace(each, result=replace(each.result, job_id="v")) for each in events if each.result]
    store.record(of_job, routes_all(), at=NOON)
    queries = Queries(store.database)
    whole = steps(store, lambda: queries.history("v"))

    assert queries.with_outputs("v") is None
    assert 0 < steps(store, lambda: queries.with_outputs("v")) < whole / 5
