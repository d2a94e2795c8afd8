"""How the rows of the hot path are read from SQLite: by one document, unless a damaged value does not fit into it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from listener.store.selects import SelectByValues
from listener.store.sql_store import SqlStore
from listener.store.tables import jobs
from tests.support.builders import a_job
from tests.support.sqlite import new_sqlite_store

BY_ID = SelectByValues(
    jobs.c.job_id, lambda found: select(jobs.c.job_id, jobs.c.user_data, jobs.c.queries).where(found)
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as opened:
        for number in range(3):
            opened.add_job(a_job(token=f"t{number}", job_id=f"job-{number}", user_data="{}"))
        yield opened


def rows(connection: Connection) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, BY_ID.run(connection, ["job-0", "job-1", "job-2", "unknown"])))


def test_all_rows_come_as_one(store: SqlStore) -> None:
    with store.database.read() as connection:
        fetched = []
        driver: Any = connection.connection.driver_connection
        driver.row_factory = lambda cursor, row: fetched.append(row) or row
        found = rows(connection)
        driver.row_factory = None

    assert [row[0] for row in found] == ["job-0", "job-1", "job-2"]
    assert len(fetched) == 1


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        pytest.param("x'00ff'", b"\x00\xff", id="bytes"),
        pytest.param("9e999", float("inf"), id="an infinite number"),
        pytest.param("'many'", "many", id="a text"),
    ],
)
def test_a_damaged_value_is_read_as_the_driver_returns_it(store: SqlStore, sql: str, value: object) -> None:
    with store.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE jobs SET queries = {sql} WHERE job_id = 'job-1'")

    with store.database.read() as connection:
        found = rows(connection)

    assert found == [("job-0", "{}", 0), ("job-1", "{}", value), ("job-2", "{}", 0)]
