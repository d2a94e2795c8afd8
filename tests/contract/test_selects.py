"""The rows that the hot path reads have exactly the values that were written, on each supported database."""

from __future__ import annotations

from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from listener.store.selects import SelectByValues
from listener.store.sql_store import SqlStore
from listener.store.tables import jobs
from tests.support.builders import a_job

#: What PostgreSQL stores, too.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
NUMBERS = st.integers(0, 2**31 - 1)
BY_ID = SelectByValues(
    jobs.c.job_id,
    lambda found: select(
        jobs.c.job_id, jobs.c.user_data, jobs.c.params, jobs.c.queries, jobs.c.deadline_at
    ).where(found),
)
UNIQUE = count()


@given(rows=st.lists(st.tuples(st.none() | TEXTS, TEXTS, NUMBERS), max_size=20))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_is_read_as_it_was_written(
    store: SqlStore, rows: list[tuple[str | None, str, int]]
) -> None:
    written = []
    for user_data, params, queries in rows:
        job_id = f"job-{next(UNIQUE)}"
        store.add_job(a_job(token=job_id, job_id=job_id, user_data=user_data, params=params, queries=queries))
        written.append((job_id, user_data, params, queries, None))

    with store.database.read() as connection:
        found = BY_ID.run(connection, [row[0] for row in written])

    assert sorted(map(tuple, found)) == sorted(written)
