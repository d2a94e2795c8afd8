"""Which plans PostgreSQL makes of what pages read, and how the schema becomes that of these plans."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import event, func, select

from listener.store import schema
from listener.store.database import Database
from listener.store.deliveries import Deliveries
from listener.store.filters import Filters
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore
from listener.store.tables import jobs, results
from tests.support import postgres
from tests.support.stores import migrate_to
from tests.support.waiting import wait_until

WAITS = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname ="


def plans_of(store: SqlStore, read: Callable[[], Any]) -> list[str]:
    """Of each query that this makes. No table is read as a whole if there is any other way."""
    plans: list[str] = []

    def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.startswith("SELECT"):
            own = cursor.connection.cursor()
            own.execute("SET LOCAL enable_seqscan = off")
            explained = own.execute(f"EXPLAIN {statement}", parameters)
            plans.append("\n".join(line for (line,) in explained))

    event.listen(store.database.engine, "before_cursor_execute", explain)
    read()
    return plans


def test_names_are_searched_by_their_beginning_in_their_indexes(store: SqlStore) -> None:
    plans = plans_of(store, lambda: Queries(store.database).names_starting_with("job-", limit=9))

    assert len(plans) == 7
    assert [plan for plan in plans if "Index Cond: ((" not in plan or "~>=~" not in plan] == []
    assert [plan for plan in plans if "Sort" in plan] == [], "all that begin like this would be read"


@pytest.mark.parametrize(
    "filters",
    [
        pytest.param(Filters(route="covers"), id="route"),
        pytest.param(Filters(queue="q"), id="queue"),
        pytest.param(Filters(kind="Transcode"), id="kind"),
        pytest.param(Filters(reference="talk-*"), id="reference"),
    ],
)
def test_rows_of_other_tables_are_looked_up_for_rows_that_are_looked_at(
    store: SqlStore, filters: Filters
) -> None:
    queries, found = Queries(store.database), Deliveries(store.database)

    for read in (queries.jobs, queries.results, found.page):
        plans = plans_of(store, lambda read=read: read(filters=filters))  # type: ignore[misc]  # one loop's variable
        joined = ("Semi Join", "HashAggregate", "hashed SubPlan")
        assert [plan for plan in plans if any(each in plan for each in joined)] == []


def test_a_migration_and_whoever_reads_two_tables_do_not_lock_each_other_out() -> None:
    url = postgres.server().new_database()
    name = url.partition("@/")[2].partition("?")[0]
    with (
        closing(Database(url)) as reader,
        closing(Database(url)) as migrated,
        ThreadPoolExecutor(1) as thread,
    ):
        with reader.write() as connection:
            migrate_to(connection, "0016")
        with reader.read() as connection:
            connection.scalar(select(func.count()).select_from(results))
            upgraded = thread.submit(schema.upgrade, migrated)
            wait_until(lambda: bool(postgres.server().execute(f"{WAITS} '{name}'")))
            connection.scalar(select(func.count()).select_from(jobs))

        assert upgraded.result(30)
