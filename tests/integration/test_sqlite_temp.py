"""What SQLite keeps for the time of a statement: in memory, unless there may be any amount of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, event

from listener.core.errors import StoreUnavailable
from listener.core.model import DecodedMessage
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_decoded_message, a_result, routes_all
from tests.support.sqlite import new_sqlite_store

#: So many that each of a batch changes another page of the index on dedup keys.
RECORDED = 10_000
TOGETHER = 64


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path_factory.mktemp("temp")) as store:
        for start in range(0, RECORDED, 1000):
            store.record(results_of_random_jobs(start, 1000), routes_all(), at=NOON)
        yield store


def results_of_random_jobs(start: int, count: int) -> list[DecodedMessage]:
    ids = (hashlib.sha256(str(number).encode()).hexdigest() for number in range(start, start + count))
    return [a_decoded_message(result=a_result(job_id=job_id)) for job_id in ids]


def temporary_files() -> list[str]:
    """Those of SQLite that this process has open; they have no name any more."""
    links = [f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd")]
    return [name for link in links if os.path.islink(link) and "etilqs_" in (name := os.readlink(link))]


def test_recording_creates_no_temporary_file(store: SqlStore) -> None:
    found: list[list[str]] = []

    def note(connection: Connection) -> None:
        found.append(temporary_files())

    event.listen(store.database.engine, "commit", note)
    store.record(results_of_random_jobs(RECORDED, TOGETHER), routes_all(), at=NOON)
    event.remove(store.database.engine, "commit", note)

    assert found == [[]]


def test_a_statement_for_any_number_of_rows_uses_a_file(store: SqlStore) -> None:
    files = {}
    for unlimited in (False, True):
        with store.database.write(unlimited=unlimited) as connection:
            connection.exec_driver_sql("UPDATE results SET queue = queue || 'x'")
            files[unlimited] = len(temporary_files())
            connection.rollback()

    assert files == {False: 0, True: 1}


def test_a_connection_that_recorded_sorts_in_files_for_whoever_gets_it_next(store: SqlStore) -> None:
    def place(connection: Connection) -> object:
        return connection.exec_driver_sql("PRAGMA temp_store").scalar()

    def write_and_fail() -> None:
        with store.database.write() as connection:
            assert place(connection) == in_memory
            connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")

    in_memory, as_usual = 2, 0
    with pytest.raises(StoreUnavailable):
        write_and_fail()

    with store.database.read() as connection:  # the pool hands out the one that was returned last
        assert place(connection) == as_usual
    with store.database.migrate() as connection:
        assert place(connection) == as_usual
