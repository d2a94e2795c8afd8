"""What can be wrong with a SQLite file, and how it is reported."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from listener.core.errors import SettingsError, StoreFailureKind, StoreUnavailable
from listener.core.model import Dead, Done, ResultStatus, RetryAfter, RoutingDecision, Settlement
from listener.intake.recorder import NullDeliverySink, Recorder
from listener.rules.routing import Correlation, Rule
from listener.store import database, maintenance
from listener.store.database import Database
from listener.store.group_commit import GroupCommit
from listener.store.pruner import Pruner
from listener.store.quarantined_messages import QuarantinedMessages
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore
from tests.support.builders import (
    NOON,
    a_callback,
    a_claim,
    a_decoded_message,
    a_job,
    a_message,
    decoded_messages,
    routes_all,
)
from tests.support.cases import each_case
from tests.support.sqlite import new_sqlite, new_sqlite_store
from tests.support.waiting import wait_until

SECOND = timedelta(seconds=1)
LATER = NOON + timedelta(minutes=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def opened(file: Path, options: str = "") -> SqlStore:
    if not file.exists() and file.parent.exists():
        new_sqlite(file)  # as its first opening would make it
    return SqlStore.open(f"sqlite:///{file}{options}")


def test_a_file_that_cannot_be_opened_is_named_with_the_way_out(file: Path) -> None:
    file.mkdir()

    with pytest.raises(
        StoreUnavailable, match=r"store\.db: unable to open database file; check that .*writable"
    ):
        opened(file)


def test_a_file_that_cannot_be_written_is_named_with_the_way_out(file: Path) -> None:
    with closing(opened(file)) as store:
        with store.database.engine.connect() as connection:  # the pool's only one; root may write everywhere
            connection.exec_driver_sql("PRAGMA query_only = ON")

        with pytest.raises(StoreUnavailable, match=r"store\.db.*readonly database; check that .*writable"):
            store.record([a_decoded_message()], routes_all(), at=NOON)


def test_a_file_that_is_no_database_is_named_with_the_way_out(file: Path) -> None:
    file.write_text("These are the minutes of our meeting. " * 100)

    with pytest.raises(
        StoreUnavailable, match=r"store\.db: file is not a database; set store.url to another file"
    ):
        opened(file)
    assert file.read_text().startswith("These are the minutes")


def test_a_folder_that_is_not_there_is_a_matter_of_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"the folder .*missing does not exist; create it"):
        opened(tmp_path / "missing" / "store.db")


def test_a_file_that_another_process_holds_is_unavailable(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_MS", 20)
    with closing(opened(file)) as store, closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            StoreUnavailable, match=r"database is locked; another process has locked the database"
        ):
            store.record([a_decoded_message()], routes_all(), at=NOON)
        assert store.outstanding() == 0  # readers are not held up
        other.execute("ROLLBACK")

        assert store.record([a_decoded_message()], routes_all(), at=NOON).new == 1


def test_another_process_that_writes_to_a_new_file_is_waited_for(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_MS", 200)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        before = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"database is locked"):
            opened(file)
        assert time.monotonic() - before >= 0.2
        other.execute("ROLLBACK")

        opened(file).close()


def test_a_transaction_that_takes_too_long_is_interrupted(file: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with closing(SqlStore.open(f"sqlite:///{file}", timeout=timedelta(milliseconds=100))) as store:
        with (
            pytest.raises(StoreUnavailable, match=r"interrupted; .*longer than store\.timeout") as caught,
            store.database.write() as connection,
        ):
            connection.exec_driver_sql(endless)
        assert caught.value.kind == StoreFailureKind.TIMEOUT

        assert store.outstanding() == 0


def test_writers_that_wait_for_a_lock_fail_together_and_not_one_after_the_other(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_MS", 200)
    with (
        closing(opened(file)) as store,
        closing(sqlite3.connect(file, isolation_level=None)) as other,
        ThreadPoolExecutor(20) as threads,
    ):
        counting = CountingDatabase(store.database)
        group = GroupCommit(counting)  # type: ignore[arg-type]  # the part of a Database that it uses
        other.execute("BEGIN IMMEDIATE")
        failed = [threads.submit(group.run, lambda _connection: None) for _ in range(20)]
        kinds = [getattr(each.exception(), "kind", None) for each in failed]

    assert kinds == [StoreFailureKind.LOCKED] * 20
    assert counting.transactions < 20, "each was tried on its own"


@pytest.fixture
def locker(file: Path) -> Iterator[Callable[[], None]]:
    """Locks the file in another process, until the test ends."""
    program = (
        "import sqlite3, sys\n"
        "other = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "other.execute('BEGIN IMMEDIATE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with ExitStack() as started:

        def lock() -> None:
            command = [sys.executable, "-S", "-c", program, str(file)]
            other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            started.enter_context(other)  # closes its input, so that it ends, and waits for it
            assert other.stdout is not None
            assert other.stdout.readline() == "locked\n"

        yield lock


class Begun:
    """Counts the calls of the store that have begun."""

    def __init__(self) -> None:
        self.calls = 0

    def began(self) -> None:
        self.calls += 1

    def ended(self, failed: StoreUnavailable | None) -> None: ...


def test_the_end_of_all_transactions_ends_waits_for_a_lock_of_another_process_at_once(
    file: Path, locker: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = 60.0
    monkeypatch.setattr(database, "SQLITE_BUSY_MS", busy * 1000)
    with closing(opened(file)) as store, ThreadPoolExecutor(2) as threads:
        locker()
        store.database.observer = begun = Begun()

        def write() -> None:
            with store.database.write():
                raise AssertionError("another process has the lock")

        # One waits for the other process, and one for the other thread.
        failed = [threads.submit(write) for _ in range(2)]
        wait_until(lambda: begun.calls == 2)
        before = time.monotonic()
        store.database.deadline.end_all(before)
        kinds = [getattr(each.exception(), "kind", None) for each in failed]
        took = time.monotonic() - before

    assert (kinds, took < busy / 2) == ([StoreFailureKind.LOCKED] * 2, True)


def test_a_lock_that_another_process_releases_in_time_is_waited_for(file: Path) -> None:
    with (
        closing(opened(file)) as store,
        closing(sqlite3.connect(file, isolation_level=None)) as other,
        ThreadPoolExecutor(1) as threads,
    ):
        store.database.observer = begun = Begun()
        other.execute("BEGIN IMMEDIATE")
        waiting = threads.submit(store.record, [a_decoded_message()], routes_all(), at=NOON)
        wait_until(lambda: begun.calls == 1)
        other.execute("ROLLBACK")

        assert waiting.result().new == 1


class CountingDatabase:
    """Counts the transactions that are begun."""

    one_writer = True

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = 0
        self.call = database.call

    def write(self) -> AbstractContextManager[Connection]:
        self.transactions += 1
        return self._database.write()


def test_a_full_disk_is_unavailable_and_the_batch_is_not_half_there(file: Path) -> None:
    with closing(opened(file)) as store:
        with store.database.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        big = a_decoded_message(result=None, message=a_decoded_message().message, reason="x" * 200_000)

        with pytest.raises(StoreUnavailable, match=r"disk is full; free disk space"):
            store.record([a_decoded_message(), big], routes_all(), at=NOON)

        assert store.outstanding() == 0


def test_whoever_writes_again_takes_no_connection_from_the_pool(file: Path) -> None:
    taken: list[object] = []
    with closing(opened(file)) as store:
        store.record(decoded_messages(1), routes_all(), at=NOON)
        event.listen(store.database.engine, "checkout", lambda *_: taken.append(1))
        store.record(decoded_messages(2), routes_all(), at=NOON)
        assert not taken
        assert store.outstanding() == 2
        assert taken
    assert not file.with_name(f"{file.name}-wal").exists()  # no connection is open


def test_an_emptied_store_reports_how_to_fix_it(file: Path) -> None:
    with closing(opened(file)) as store, closing(sqlite3.connect(file)) as other:
        other.execute("DROP TABLE results")
        other.commit()

        with pytest.raises(
            StoreUnavailable, match="no such table: results; run `mns-listener store upgrade`"
        ):
            store.record([a_decoded_message()], routes_all(), at=NOON)


class TestDamagedText:
    """SQLite does not return a row at all if one of its texts is not UTF-8."""

    def test_other_overdue_jobs_are_queried(self, file: Path) -> None:
        with closing(opened(file)) as store:
            add_jobs(store)
            break_text(store, "jobs", "input")

            claimed = store.claim_overdue(at=NOON, until=LATER, limit=10)

            assert [job.job_id for job in claimed] == ["job-0", "job-2"]

    def test_other_rows_are_listed_and_exported(self, file: Path) -> None:
        with closing(opened(file)) as store:
            add_jobs(store)
            quarantined = replace(a_decoded_message(), result=None, reason="no callback")
            store.record([quarantined], routes_all(), at=NOON)
            break_text(store, "jobs", "input")
            break_text(store, "quarantine", "body")
            queries = Queries(store.database)

            assert [job.job_id for _, job in queries.jobs()] == ["job-2", "job-0"]
            assert QuarantinedMessages(store.database).page() == []
            assert [row["job_id"] for row in maintenance.export(store.database)] == ["job-0", "job-2"]

    def test_a_result_for_a_job_that_cannot_be_read_is_quarantined_and_the_others_are_recorded(
        self, file: Path
    ) -> None:
        with closing(opened(file)) as store:
            add_jobs(store)
            break_text(store, "jobs", "input")
            messages = [a_message(message_id=f"m{n}", body=a_callback(JobId=f"job-{n}")) for n in range(3)]
            rules = (Rule(name="videos", handlers=("log",)),)
            recorder = Recorder(store=store, rules=rules, correlation=Correlation(), sink=NullDeliverySink())

            summary = recorder.record("q", messages)

            assert (summary.new, summary.quarantined) == (2, 1)

    def test_others_are_claimed_and_their_leases_expire(self, file: Path) -> None:
        with closing(opened(file)) as store:
            store.record(decoded_messages(3), routes_all(), at=NOON)
            break_text(store, "results", "raw")

            assert len(store.claim(a_claim(), at=NOON)) == 2
            assert len(store.rescue_expired(lambda _delivery: Dead(reason=""), at=LATER, limit=9)) == 2

    @pytest.mark.parametrize("end", ["'1714564800000000x'", "x'ff'"], ids=["text", "bytes"])
    def test_a_lease_whose_end_is_no_number_is_rescued(self, file: Path, end: str) -> None:
        with closing(opened(file)) as store:
            store.record(decoded_messages(2), routes_all(), at=NOON, claim=a_claim())
            with store.database.write() as connection:
                connection.exec_driver_sql(f"UPDATE deliveries SET lease_until = {end} WHERE id = 1")
            leases = store.leases(after=NOON, pulled_after=NOON, limit=9)

            assert [lease.delivery_id for lease in leases] == [2, 1]
            store.rescue_unrenewed(leases[1:], lambda _delivery: Dead(reason=""), at=LATER)
            with store.database.read() as connection:
                found = connection.exec_driver_sql("SELECT state FROM deliveries ORDER BY id").scalars()
                assert list(found) == ["dead", "running"]

    def test_others_are_pruned(self, file: Path) -> None:
        with closing(opened(file)) as store:
            store.record(
                decoded_messages(3), lambda *_: RoutingDecision(status=ResultStatus.DROPPED), at=NOON
            )
            with store.database.write() as connection:
                connection.exec_driver_sql("UPDATE results SET received_at = 'x' WHERE id = 2")

            assert Pruner(store.database, keep=SECOND).step(LATER) == 2


def add_jobs(store: SqlStore) -> None:
    for number in range(3):
        store.add_job(a_job(token=f"{number:022d}", job_id=f"job-{number}", deadline_at=NOON))


def break_text(store: SqlStore, table: str, column: str) -> None:
    """The second row of the table, or else the last one."""
    with store.database.write() as connection:
        where = f"id = (SELECT max(id) FROM {table} WHERE id <= 2)"
        connection.exec_driver_sql(f"UPDATE {table} SET {column} = CAST(x'ff' AS TEXT) WHERE {where}")


def test_a_commit_survives_a_power_cut(file: Path) -> None:
    with closing(opened(file)) as store, store.database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


@each_case(
    ("url", "message"),
    [
        pytest.param(
            "listener.db",
            r"store\.url = 'listener\.db' is not a valid database URL; use sqlite:///",
            id="path",
        ),
        pytest.param("mysql://u@h/n", r"'mysql', which is not supported; use sqlite:///", id="mysql"),
        pytest.param(
            "sqlite://", r"is not persistent; use a file, e\.g\. sqlite:///listener\.db", id="memory"
        ),
        pytest.param("sqlite:///:memory:", r"is not persistent; use a file", id="memory-too"),
        pytest.param("postgresql+pg8000://u:hidden@h/n", r"u:\*\*\*@h/n requires a driver", id="no-driver"),
        pytest.param("postgresql+pg8000://h/n?password=hidden", r"password=\*\*\* requires", id="in-query"),
        pytest.param(
            "postgresql:/h/n?password=hidden&x=1", r"password=\*\*\*&x=1' is not a valid", id="invalid"
        ),
        pytest.param("postgresql://u:a@hidden@h/n", r"write %40 for an @", id="at-sign-in-password"),
        pytest.param("postgresql://u:a@b/hidden@h/n", r"write %40 for an @", id="at-sign-and-slash"),
        pytest.param("sqlite:////nowhere/l.db?password=hidden", r"password=\*\*\*: the folder", id="sqlite"),
    ],
)
def test_an_unusable_url_is_reported_with_a_hint(url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        SqlStore.open(url)
    assert "hidden" not in str(caught.value)


def test_a_search_by_the_beginning_of_a_name_reads_no_table_as_a_whole(tmp_path: Path) -> None:
    plans: list[str] = []

    def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.startswith("SELECT"):
            explained = cursor.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(str(row[-1]) for row in explained)

    with new_sqlite_store(tmp_path) as store:
        event.listen(store.database.engine, "before_cursor_execute", explain)
        Queries(store.database).names_starting_with("job-", limit=9)

    assert len(plans) == 7
    assert [plan for plan in plans if not re.match("SEARCH (jobs|results) USING", plan)] == []


def test_transactions_one_after_the_other_share_a_connection_and_its_cache(file: Path) -> None:
    with closing(opened(file)) as store:
        with store.database.read(), ThreadPoolExecutor(1) as pool:
            pool.submit(store.outstanding).result()  # a second connection
        used = [_driver_of(store.database) for _ in range(4)]

    assert len(set(used)) == 1


def test_the_statements_of_every_batch_are_prepared_once(file: Path) -> None:
    outcomes = 4 * (Done(), RetryAfter(wait=SECOND, reason="busy"), Dead(reason="broken"))
    prepared: list[object] = []

    def is_allowed(action: int, *names: object) -> int:
        if action != sqlite3.SQLITE_TRANSACTION:  # the driver prepares each COMMIT
            prepared.append(names)
        return sqlite3.SQLITE_OK

    def record_and_settle(store: SqlStore, prefix: str) -> None:
        messages = decoded_messages(12, prefix=prefix)
        claimed = store.record(messages, routes_all(), at=NOON, claim=a_claim()).claimed
        pairs = zip(claimed, outcomes, strict=True)
        store.settle([Settlement(delivery=each, outcome=outcome) for each, outcome in pairs], at=NOON)

    with closing(opened(file)) as store:
        for name in (f"{prefix}-{number}" for prefix in ("first", "second", "third") for number in range(12)):
            store.add_job(a_job(job_id=f"mps-callbacks-{name}", token=name))
        record_and_settle(store, "first")
        with store.database.write() as connection:
            driver: Any = connection.connection.driver_connection
        # SQLite asks while it prepares a statement; after this, all are prepared once more.
        driver.set_authorizer(is_allowed)
        record_and_settle(store, "second")
        assert prepared
        prepared.clear()
        record_and_settle(store, "third")
        assert prepared == []


def _driver_of(database: Database) -> int:
    """The driver's connection that a transaction uses."""
    with database.write() as connection:
        return id(connection.connection.driver_connection)
