"""Stores of any size: rows that the store itself wrote, multiplied by SQL."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from listener.core import clock
from listener.core.model import Claim, Done, Job, Settlement
from listener.store.database import Database
from listener.store.rows import values_of_job
from listener.store.schema import HEAD
from listener.store.sql_store import SqlStore
from listener.store.tables import deliveries, jobs
from tests.benchmarks.callbacks import job_id
from tests.support.builders import a_decoded_message, a_job, a_result, routes_all

#: Results of each job in a large store; each of them has one delivery.
RESULTS_EACH: Final = 3
#: One delivery in so many is a dead letter.
DEAD_EVERY: Final = 100
#: Rows in one statement.
INSERTED_AT_ONCE: Final = 5000
#: A large store is made anew before the daemon would begin to delete what is in it.
RETENTION_SECONDS: Final = 20 * 86_400


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def new_store(folder: Path, series: str, count: int) -> str:
    """The URL of a store with today's schema that knows the jobs of this series."""
    url = url_of(folder / "listener.db")
    register(url, series, count)
    return url


def register(url: str, series: str, count: int) -> None:
    """Add the jobs of a series, as if they had been submitted just now; makes the store where there is none."""
    store = SqlStore.open(url)
    rows = [values_of_job(_job(series, number)) for number in range(count)]
    with closing(store), store.database.write() as connection:
        for start in range(0, count, INSERTED_AT_ONCE):
            connection.execute(jobs.insert(), rows[start : start + INSERTED_AT_ONCE])


def _job(series: str, number: int) -> Job:
    now = clock.now()
    token = job_id(f"token-{series}", number)[:22]
    # Submitted by another program, so that handlers get the user data of the callback.
    external = {"input": "", "output": "", "params": ""}
    return a_job(token=token, job_id=job_id(series, number), created_at=now, submitted_at=now, **external)


@dataclass(frozen=True)
class Settled:
    """How many deliveries are done, and when the last of them was, in seconds since 1970."""

    count: int
    last: float


def settled(url: str) -> Settled:
    database = Database(url)
    done = select(func.count(), func.max(deliveries.c.settled_at)).where(deliveries.c.state == "done")
    with closing(database), database.read() as connection:
        count, last = connection.execute(done).one()
    return Settled(count, last.timestamp() if last else 0.0)


def results_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM results").fetchone()[0])


@contextmanager
def _bulk(path: Path, series: str) -> Iterator[sqlite3.Connection]:
    """A connection that knows the ids of a series; everything is committed at the end."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")  # what fails is thrown away
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1000000")
        connection.create_function("bench_id", 1, lambda n: job_id(series, n), deterministic=True)
        connection.create_function("bench_token", 1, lambda n: job_id(f"token-{series}", n)[:22])
        with connection:
            yield connection


def multiply(connection: sqlite3.Connection, table: str, template: str, count: int, **values: str) -> None:
    """Copy one row so many times; ``values`` are SQL over the copy's number ``n``.

    The row was written by the store itself, so this needs to know the changing columns only.
    """
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "id"]
    chosen = ", ".join(f"{values[name]} AS {name}" if name in values else f"t.{name}" for name in columns)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) "
        "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :count) "
        f"SELECT {chosen} FROM numbers, (SELECT * FROM {table} WHERE {template} LIMIT 1) AS t",
        {"count": count},
    )


def large_store(count: int) -> Path:
    """A store that has grown to so many jobs, three results and deliveries each; made once, kept in the temp dir.

    What is drained into it stays: it grows by that little with every run.
    """
    kind = f"mns-listener-bench-{HEAD}-{count}-"
    folder = Path(tempfile.gettempdir())
    path = folder / f"{kind}{int(time.time() // RETENTION_SECONDS)}.db"
    if not path.exists():
        for older in folder.glob(f"{kind}*"):
            older.unlink()
        unfinished = path.with_suffix(".unfinished")
        _grow(unfinished, count)
        unfinished.replace(path)
    return path


def _grow(path: Path, count: int) -> None:
    _write_templates(url_of(path))
    with _bulk(path, "large") as connection:
        first = {table: _last(connection, table) + 1 for table in ("jobs", "results")}
        made = "strftime('%s', 'now') * 1000000"
        multiply(
            connection,
            "jobs",
            "job_id = 'template'",
            count,
            token="bench_token(n)",
            job_id="bench_id(n)",
            finished_at=made,
            next_query_at="NULL",
            state="iif(n % 50, 'Success', 'Fail')",
        )
        multiply(
            connection,
            "results",
            "job_id = 'template'",
            count * RESULTS_EACH,
            dedup_key=f"bench_id(n / {RESULTS_EACH}) || '#' || (n % {RESULTS_EACH})",
            job_id=f"bench_id(n / {RESULTS_EACH})",
            job=f"{first['jobs']} + n / {RESULTS_EACH}",
        )
        multiply(
            connection,
            "deliveries",
            "result = 1",
            count * RESULTS_EACH,
            result=f"{first['results']} + n",
            state=f"iif(n % {DEAD_EVERY}, 'done', 'dead')",
        )


def _last(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0])


def _write_templates(url: str) -> None:
    """A job, its result and its delivery, done, as the store itself writes them."""
    now = clock.now()
    claim = Claim(owner="bench", until=now + timedelta(minutes=1), limit=1)
    decode_message = a_decoded_message(result=a_result(job_id="template"))
    with closing(SqlStore.open(url)) as store:
        store.add_job(a_job(job_id="template", created_at=now, submitted_at=now))
        summary = store.record([decode_message], routes_all(), at=now, claim=claim)
        store.settle([Settlement(delivery=each, outcome=Done()) for each in summary.claimed], at=now)
