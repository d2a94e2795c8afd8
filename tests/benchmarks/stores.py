"""Stores of any size: rows that the store itself wrote, multiplied by SQL."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
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
from tests.benchmarks.series import job_id
from tests.support.builders import a_decoded_message, a_job, a_message, a_result, routes_all

#: Results of each job in a large store; each of them has one delivery.
RESULTS_EACH: Final = 3
#: One delivery in so many is a dead letter.
DEAD_EVERY: Final = 100
#: The job of an open store that has very many results, and how many.
LONG_JOB: Final = "long"
LONG_JOB_RESULTS: Final = 10_000
#: For how long the deliveries of an open store are not due.
PENDING_SECONDS: Final = 20 * 86_400
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


def newest_delivery(database: Database) -> int:
    """Its id; 0 if there is none."""
    with database.read() as connection:
        return connection.scalar(select(func.max(deliveries.c.id))) or 0


def settled(database: Database, *, after: int = 0) -> Settled:
    """Of the deliveries with greater ids than this."""
    counted = select(func.count(), func.max(deliveries.c.settled_at))
    done = counted.where(deliveries.c.id > after, deliveries.c.state == "done")
    with database.read() as connection:
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
    return _kept(f"mns-listener-bench-{HEAD}-{count}-", lambda path: _grow(path, count))


def read_through(path: Path) -> None:
    """Let the system have the file in memory, as that of a store in use is."""
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass


def open_store(count: int) -> Path:
    """The same with a third of its deliveries pending for an hour, a third of its results parked, a message in
    quarantine for every job, and a job with very many results. Made once, kept beside it."""

    def make(path: Path) -> None:
        shutil.copyfile(large_store(count), path)
        _reopen(path, count)

    return _kept(f"mns-listener-open-{HEAD}-{count}-", make)


def _kept(kind: str, make: Callable[[Path], None]) -> Path:
    folder = Path(tempfile.gettempdir())
    path = folder / f"{kind}{int(time.time() // RETENTION_SECONDS)}.db"
    if not path.exists():
        for older in folder.glob(f"{kind}*"):
            older.unlink()
        unfinished = path.with_suffix(".unfinished")
        make(unfinished)
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


def _reopen(path: Path, count: int) -> None:
    _write_long_templates(url_of(path))
    due = f"(strftime('%s', 'now') + {PENDING_SECONDS}) * 1000000 + id"
    with _bulk(path, "open") as connection:
        every = f"WHERE id % {RESULTS_EACH} = 0"
        connection.execute(
            f"UPDATE deliveries SET state = 'pending', next_at = {due}, last_error = 'busy' {every}"
        )
        connection.execute(f"UPDATE results SET status = 'parked' {every}")
        multiply(connection, "quarantine", "message_id = 'template'", count, message_id="bench_id(n)")
        first = {table: _last(connection, table) + 1 for table in ("results", "deliveries")}
        multiply(
            connection,
            "results",
            f"job_id = '{LONG_JOB}'",
            LONG_JOB_RESULTS,
            dedup_key=f"'{LONG_JOB}#' || n",
        )
        of_long = f"result = (SELECT id FROM results WHERE dedup_key = '{LONG_JOB}')"
        multiply(
            connection,
            "deliveries",
            of_long,
            LONG_JOB_RESULTS,
            result=f"{first['results']} + n",
        )
        connection.execute(
            "INSERT INTO attempts (delivery, attempt, outcome, error, owner, seconds, settled_at) "
            "SELECT id, number, 'retry', 'busy', 'bench', 0.1, created_at FROM deliveries, "
            "(SELECT 1 AS number UNION ALL SELECT 2) WHERE deliveries.id >= ?",
            (first["deliveries"],),
        )


def _last(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0])


def _write_long_templates(url: str) -> None:
    """A job with a result and a delivery that is done, and a message in quarantine."""
    now = clock.now()
    claim = Claim(owner="bench", until=now + timedelta(minutes=1), limit=1)
    broken = a_decoded_message(result=None, message=a_message(message_id="template"))
    with closing(SqlStore.open(url)) as store:
        token = job_id("token-long", 0)[:22]
        store.add_job(a_job(job_id=LONG_JOB, token=token, created_at=now, submitted_at=now))
        long = a_decoded_message(result=a_result(job_id=LONG_JOB))
        summary = store.record([long, broken], routes_all(), at=now, claim=claim)
        store.settle([Settlement(delivery=each, outcome=Done()) for each in summary.claimed], at=now)


def _write_templates(url: str) -> None:
    """A job, its result and its delivery, done, as the store itself writes them."""
    now = clock.now()
    claim = Claim(owner="bench", until=now + timedelta(minutes=1), limit=1)
    decode_message = a_decoded_message(result=a_result(job_id="template"))
    with closing(SqlStore.open(url)) as store:
        store.add_job(a_job(job_id="template", created_at=now, submitted_at=now))
        summary = store.record([decode_message], routes_all(), at=now, claim=claim)
        store.settle([Settlement(delivery=each, outcome=Done()) for each in summary.claimed], at=now)
