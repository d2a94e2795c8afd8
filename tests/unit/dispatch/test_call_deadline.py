from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from listener import JobResult, time_left
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.store.sql_store import SqlStore
from tests.support.dispatching import delivery_states, dispatching, record_results
from tests.support.sqlite import new_sqlite_store
from tests.support.waiting import wait_until

LIMIT = timedelta(minutes=7)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


def test_a_handler_knows_how_long_it_may_take(store: SqlStore) -> None:
    runner, seen = CoroutineRunner(), []

    async def later(_result: JobResult) -> None:
        seen.append(time_left())

    def handle(result: JobResult) -> None:
        seen.append(time_left())
        runner.run(later, result)

    record_results(store)
    with dispatching(store, handle, handler_timeout=LIMIT):
        wait_until(lambda: delivery_states(store) == {"done": 1})
    runner.close()

    assert len(seen) == 2
    assert all(left is not None and LIMIT / 2 < left <= LIMIT for left in seen)


def test_outside_of_a_call_there_is_no_limit() -> None:
    assert time_left() is None
