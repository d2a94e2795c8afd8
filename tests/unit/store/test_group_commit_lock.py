"""Who writes for all holds the compute lock, and nobody waits for the store with it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from listener.core import compute_lock
from listener.store.group_commit import GroupCommit
from listener.store.sql_store import SqlStore
from tests.support.sqlite import new_sqlite_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


def is_held() -> bool:
    return compute_lock._lock.locked()


def test_work_is_executed_with_the_lock(store: SqlStore) -> None:
    group = GroupCommit(store.database)

    assert group.run(lambda _connection: is_held())
    assert not is_held()
    with compute_lock.held():
        assert group.run(lambda _connection: is_held())
        assert is_held()


def test_threads_that_hold_the_lock_do_not_wait_for_each_other_for_good(store: SqlStore) -> None:
    group = GroupCommit(store.database)

    def write(number: int) -> int:
        with compute_lock.held():
            return group.run(lambda connection: connection.scalars(select(number)).one())

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(write, range(100), timeout=60)) == list(range(100))


def test_the_lock_is_free_while_another_thread_writes(store: SqlStore) -> None:
    """The first one writes outside the group, as maintenance does; the second one waits for it to end."""
    group = GroupCommit(store.database)
    waiting = threading.Event()

    def write() -> bool:
        with compute_lock.held():
            waiting.set()
            return group.run(_something)

    with ThreadPoolExecutor(1) as threads:
        with store.database.write() as connection:
            second = threads.submit(write)
            assert waiting.wait(30)
            with compute_lock.held():  # which the second one released in order to wait
                _something(connection)
        assert second.result(30)


def _something(connection: Connection) -> bool:
    return connection.scalars(select(1)).one() == 1
