"""What only PostgreSQL can get wrong: several processes at once, a restarting server, and how errors are reported."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import pytest

from listener.core.errors import SettingsError, StoreFailureKind, StoreUnavailable
from listener.core.model import Delivery, Done, Job, JobState, Result, RetryAfter, Settlement, Target
from listener.intake.recorder import NullDeliverySink, Recorder, decode_message
from listener.rules.routing import Correlation, Rule
from listener.store import ingest, job_rows
from listener.store.dead_letters import DeadLetters
from listener.store.event_feed import EventFeed
from listener.store.feed_position import Position
from listener.store.notifier import Notifier
from listener.store.rows import values_of_job
from listener.store.sql_store import SqlStore
from listener.store.tables import jobs
from tests.support import ROOT, postgres
from tests.support.builders import (
    ABSENT,
    JOB_ID,
    NOON,
    TOKEN,
    a_callback,
    a_claim,
    a_decoded_message,
    a_job,
    a_message,
    a_result,
    decoded_messages,
    routes_all,
    wrapped,
)
from tests.support.cases import each_case
from tests.support.forked import ForkedProgram
from tests.support.hammer import PROCESSES
from tests.support.postgres import PostgresServer
from tests.support.stores import count, deliveries, results, the_job, the_row
from tests.support.waiting import wait_until

LONG = timedelta(seconds=30)
BRIEF = timedelta(milliseconds=50)
SECOND = timedelta(seconds=1)
#: The statements that this session keeps prepared, and how many parameters each of them has.
PREPARED = "SELECT statement, cardinality(parameter_types) FROM pg_prepared_statements"
#: What is executed for every batch, by its beginning, with the number of such statements.
WRITES = {
    "INSERT INTO results ": 1,
    "INSERT INTO deliveries ": 1,
    "INSERT INTO changes ": 1,
    "UPDATE jobs ": 1,
    "UPDATE deliveries ": 2,
}
#: The driver parses statements with more of them again whenever it executes them.
MOST_PARAMETERS = 50


@pytest.fixture(scope="module")
def fragile() -> Iterator[PostgresServer]:
    """A server that tests may stop."""
    server = PostgresServer(max_connections="20").start()
    yield server
    server.remove()


class TestProcesses:
    def test_processes_that_do_everything_at_once_run_each_delivery_once(
        self, url: str, tmp_path: Path
    ) -> None:
        reported = [tmp_path / str(number) for number in range(PROCESSES)]
        workers = [
            ForkedProgram(
                "tests.support.hammer",
                *(url, str(number)),
                cwd=ROOT,
                env=os.environ,
                stdout=report,
                stderr=tmp_path / "errors",
            )
            for number, report in enumerate(reported)
        ]
        codes = [worker.wait(120) for worker in workers]
        assert codes == [0] * PROCESSES, (tmp_path / "errors").read_text()
        reports = [json.loads(report.read_text()) for report in reported]

        runs = Counter(key for each in reports for key in each["ran"])
        assert set(runs.values()) == {1}
        assert len(runs) == reports[0]["results"]
        assert sum(each["new"] for each in reports) == reports[0]["results"]
        assert sum(1 for each in reports if each["ran"]) > 1, "one process did everything: nothing was proved"

    def test_batches_in_opposite_order_do_not_lock_each_other_out(self, url: str) -> None:
        batch = decoded_messages(16)
        together = threading.Barrier(2)

        def record(order: int) -> int:
            with closing(SqlStore.open(url)) as store:
                together.wait(30)
                return sum(
                    store.record(batch[::order], routes_all(Target(str(turn), "log")), at=NOON).new
                    for turn in range(20)
                )

        with ThreadPoolExecutor(2) as threads:
            assert sum(threads.map(record, (1, -1))) == 16

    def test_two_operators_who_replay_at_once_replay_once(self, url: str) -> None:
        with closing(SqlStore.open(url)) as store:
            store.record(decoded_messages(20), routes_all(), at=NOON, claim=a_claim())
            dead = [row[0] for row in postgres.server().execute(KILL_ALL, database=url_name(url))]
            together = threading.Barrier(2)

            def replay(_number: int) -> int:
                together.wait(30)
                return len(DeadLetters(store.database).replay(dead, routes_all(), at=NOON).ids)

            with ThreadPoolExecutor(2) as threads:
                assert sum(threads.map(replay, range(2))) == 20
            assert len(store.claim(a_claim(), at=NOON)) == 20

    def test_an_outcome_recorded_while_its_job_gets_its_id_finishes_the_job_with_its_next_copy(
        self, store: SqlStore
    ) -> None:
        """Neither of the two transactions sees the other one."""
        store.add_job(a_job(job_id="", state=JobState.INTENT))
        with store.database.write() as connection:
            ingest.record(connection, [a_decoded_message()], routes_all(), at=NOON, claim=None)
            store.bind_job(TOKEN, JOB_ID, NOON)
        assert the_job(store, TOKEN).state == JobState.SUBMITTED

        store.record([a_decoded_message()], routes_all(), at=NOON)

        assert the_job(store, TOKEN).state == JobState.SUCCESS
        assert count(store, deliveries) == 1

    def test_a_result_that_is_recorded_while_its_submitter_learns_the_id_belongs_to_the_job(
        self, store: SqlStore, url: str
    ) -> None:
        """It is looked for before the other transaction is committed, and its token afterwards."""
        store.add_job(a_job(job_id="", state=JobState.INTENT))
        waiting = f"{WAITS} '{url_name(url)}'"

        with ThreadPoolExecutor(1) as thread:
            with store.database.write() as connection:
                job_rows.bind(connection, TOKEN, JOB_ID, at=NOON)
                recorded = thread.submit(
                    store.record, [a_decoded_message(result=a_result(token=TOKEN))], routes_all(), at=NOON
                )
                wait_until(lambda: bool(postgres.server().execute(waiting)))
            recorded.result(30)

        assert the_job(store, TOKEN).state == JobState.SUCCESS


WAITS = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname ="
KILL_ALL = "UPDATE deliveries SET state = 'dead', owner = NULL, lease_until = NULL RETURNING id"


def url_name(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


class TestText:
    @pytest.mark.parametrize(
        "body",
        [
            pytest.param('{"JobId":"a\\u0000b","State":"Success","Message":"\\ud800"}', id="in-json"),
            pytest.param("no callback \0 at all \ud800", id="garbled"),
        ],
    )
    def test_whatever_a_message_holds_can_be_kept(self, store: SqlStore, body: str) -> None:
        text = body.encode("utf-8", "replace").decode()
        found = decode_message("q", a_message(body=wrapped(text), message_id="m"))

        summary = store.record([found], routes_all(), at=NOON)

        assert summary.new + summary.quarantined == 1


class TestStatements:
    def test_batches_of_any_size_are_written_by_the_same_prepared_statements(self, store: SqlStore) -> None:
        for turn, size in enumerate((64, 50, 33, 17, 2, 1, 64, 63, 9, 1)):
            batch = decoded_messages(size, prefix=f"batch-{turn}")
            with store.database.write() as connection:
                rows = [values_of_job(_job_of(each.result, turn)) for each in batch if each.result]
                connection.execute(jobs.insert(), rows)
            store.record(batch, routes_all(), at=NOON)
            claimed = store.claim(a_claim(limit=size), at=NOON)
            assert len(claimed) == size
            store.settle([Settlement(delivery=each, outcome=Done()) for each in claimed], at=NOON)

        with store.database.read() as connection:
            prepared = connection.exec_driver_sql(PREPARED).all()
        texts = {text for text, _ in prepared}
        found = {beginning: sum(text.startswith(beginning) for text in texts) for beginning in WRITES}
        assert found == WRITES
        assert max(parameters for _, parameters in prepared) <= MOST_PARAMETERS


class TestNotifier:
    def test_what_one_process_leaves_another_hears_of(self, store: SqlStore) -> None:
        with closing(Notifier(store.database)) as notifier:
            assert notifier.wait(LONG), "opening the connection counts as a notification"
            assert not notifier.wait(BRIEF)

            store.record(decoded_messages(1), routes_all(), at=NOON)

            assert notifier.wait(LONG)

    def test_deliveries_that_the_recorder_claims_are_not_notified(self, store: SqlStore) -> None:
        with closing(Notifier(store.database)) as notifier:
            notifier.wait(LONG)
            store.record(decoded_messages(3), routes_all(), at=NOON, claim=a_claim())

            assert not notifier.wait(BRIEF)

    def test_released_deliveries_are_notified_and_later_ones_are_not(self, store: SqlStore) -> None:
        store.record(decoded_messages(2), routes_all(), at=NOON)
        first, second = store.claim(a_claim(), at=NOON)
        with closing(Notifier(store.database)) as notifier:
            notifier.wait(LONG)
            settle_for_retry(store, first, after=LONG)
            assert not notifier.wait(BRIEF)

            settle_for_retry(store, second, after=timedelta(0))
            assert notifier.wait(LONG)

    def test_a_server_that_comes_back_is_listened_to_again(self, fragile: PostgresServer) -> None:
        url = fragile.new_store()
        with closing(SqlStore.open(url)) as store, closing(Notifier(store.database)) as notifier:
            notifier.wait(LONG)
            fragile.stop()
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    notifier.wait(LONG)
            fragile.start()

            assert notifier.wait(LONG), "notifications sent meanwhile were missed: check the store"
            store.record(decoded_messages(1), routes_all(), at=NOON)
            assert notifier.wait(LONG)


def settle_for_retry(store: SqlStore, delivery: Delivery, *, after: timedelta) -> None:
    outcome = RetryAfter(wait=after, reason="")
    store.settle([Settlement(delivery=delivery, outcome=outcome)], at=NOON)


class TestEventFeed:
    """What becomes visible after a change with a greater id."""

    def test_what_was_committed_late_is_read_once_also_after_a_restart(self, store: SqlStore) -> None:
        feed = EventFeed(store.database)
        start = feed.end()
        with store.database.write() as connection:
            ingest.record(connection, decoded_messages(2, prefix="slow"), routes_all(), at=NOON, claim=None)
            store.record(decoded_messages(1, prefix="quick"), routes_all(), at=NOON)
            before = feed.after(start)
            again = feed.after(before.position)
        assert [event.job_id for event in before.events] == ["mps-callbacks-quick-0"]
        assert again.events == []

        for position in (again.position, Position.parse(before.events[0].cursor)):
            late = feed.after(position)
            assert [event.job_id for event in late.events] == [f"mps-callbacks-slow-{n}" for n in (0, 1)]
            assert feed.after(late.position).events == []
            assert [event.job_id for event in feed.after(Position.parse(late.events[1].cursor)).events] == []

    def test_whoever_begins_in_the_middle_gets_what_is_committed_from_then_on(self, store: SqlStore) -> None:
        feed = EventFeed(store.database)
        with store.database.write() as connection:
            ingest.record(connection, decoded_messages(1, prefix="slow"), routes_all(), at=NOON, claim=None)
            store.record(decoded_messages(1, prefix="quick"), routes_all(), at=NOON)
            positions = [feed.end(), feed.newest(5).position, feed.since(NOON + SECOND)]

        for position in positions:
            assert [event.job_id for event in feed.after(position).events] == ["mps-callbacks-slow-0"]

    def test_what_is_rolled_back_is_not_looked_for_any_longer(self, store: SqlStore) -> None:
        feed = EventFeed(store.database)
        with store.database.write() as connection:
            ingest.record(connection, decoded_messages(1, prefix="slow"), routes_all(), at=NOON, claim=None)
            store.record(decoded_messages(1, prefix="quick"), routes_all(), at=NOON)
            position = feed.after(Position(0)).position
            assert len(position.open) == 1
            connection.rollback()

        assert feed.after(position).position.open == {}


class TestOutages:
    @pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
    def test_a_server_that_comes_back_is_used_again(
        self, fragile: PostgresServer, how: signal.Signals
    ) -> None:
        with closing(SqlStore.open(fragile.new_store())) as store:
            store.record(decoded_messages(4), routes_all(), at=NOON)
            claimed = store.claim(a_claim(limit=2), at=NOON)
            fragile.stop(how)
            with pytest.raises(StoreUnavailable, match="verify that PostgreSQL is running"):
                store.record(decoded_messages(8), routes_all(), at=NOON)
            fragile.start()

            assert store.record(decoded_messages(8), routes_all(), at=NOON).new == 4
            settled = [Settlement(delivery=each, outcome=Done()) for each in claimed]
            assert store.settle(settled, at=NOON) == ()
            assert len(store.claim(a_claim(), at=NOON)) == 6

    def test_a_crash_within_a_transaction_leaves_nothing_of_it(self, fragile: PostgresServer) -> None:
        with closing(SqlStore.open(fragile.new_store())) as store:
            with pytest.raises(StoreUnavailable):
                crash_while_recording(fragile, store)
            fragile.start()

            assert count(store, results) == 0
            assert store.record(decoded_messages(4), routes_all(), at=NOON).new == 4

    def test_a_session_that_the_server_ends_is_replaced_unnoticed(self, url: str) -> None:
        with closing(SqlStore.open(url)) as store:
            store.record(decoded_messages(1), routes_all(), at=NOON)
            name = url_name(url)
            ended = f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = '{name}'"
            assert postgres.server().execute(ended)

            assert store.record(decoded_messages(2), routes_all(), at=NOON).new == 1

    def test_a_settlement_whose_commit_was_not_confirmed_is_not_late(self, store: SqlStore) -> None:
        store.record(decoded_messages(1), routes_all(), at=NOON)
        settled = [Settlement(delivery=each, outcome=Done()) for each in store.claim(a_claim(), at=NOON)]

        assert [list(store.settle(settled, at=NOON)) for _ in range(2)] == [[], []]
        assert the_row(store, deliveries)["state"] == "done"

    @pytest.mark.parametrize("threads", [1, 30], ids=["one-thread", "more-threads-than-connections"])
    def test_a_server_that_stands_still_ends_no_thread_and_no_call_waits_longer_than_its_timeout(
        self, fragile: PostgresServer, threads: int
    ) -> None:
        with (
            closing(SqlStore.open(fragile.new_store(), timeout=SECOND)) as store,
            ThreadPoolExecutor(threads) as pool,
        ):
            store.record(decoded_messages(1), routes_all(), at=NOON)
            with fragile.frozen():
                calls = [pool.submit(store.outstanding) for _ in range(threads)]
                errors = [call.exception(LONG.total_seconds()) for call in calls]

            assert [type(error) for error in errors] == [StoreUnavailable] * threads
            assert {error.kind for error in errors if isinstance(error, StoreUnavailable)} == {
                StoreFailureKind.TIMEOUT
            }
            assert store.outstanding() == 1

    def test_a_listener_notices_a_server_that_stands_still_when_it_connects(
        self, fragile: PostgresServer
    ) -> None:
        with (
            closing(SqlStore.open(fragile.new_store(), timeout=SECOND)) as store,
            closing(Notifier(store.database)) as notifier,
            fragile.frozen(),
            pytest.raises(StoreUnavailable, match="the server does not answer; verify that PostgreSQL"),
        ):
            notifier.wait(LONG)


def crash_while_recording(server: PostgresServer, store: SqlStore) -> None:
    with store.database.write() as connection:
        ingest.record(connection, decoded_messages(4), routes_all(), at=NOON, claim=None)
        server.stop(signal.SIGQUIT)


class TestWords:
    def test_a_wrong_password_is_reported_without_showing_it(self) -> None:
        server = postgres.server()
        server.execute(f"DROP ROLE IF EXISTS {postgres.GUARDED}")
        server.execute(f"CREATE ROLE {postgres.GUARDED} LOGIN PASSWORD 'right'")
        url = server.url(user=postgres.GUARDED, password="testKeySecret")

        with pytest.raises(StoreUnavailable, match="fix user and password") as error:
            SqlStore.open(url)

        assert "testKeySecret" not in str(error.value)

    @each_case("option", ["password", "sslpassword"])
    def test_a_secret_in_the_options_is_never_shown(self, option: str) -> None:
        url = f"{postgres.server().url('nothing')}&{option}=testKeySecret"

        with pytest.raises(StoreUnavailable, match=rf"{option}=\*\*\*.*does not exist") as error:
            SqlStore.open(url)

        assert "testKeySecret" not in str(error.value)

    @each_case(
        ("change", "way_out"),
        [
            pytest.param({"database": "nothing"}, "create the database with `createdb`", id="database"),
            pytest.param({"user": "nobody_here"}, "create it with `createuser`", id="user"),
        ],
    )
    def test_what_is_missing_is_named_with_the_way_out(self, change: dict[str, str], way_out: str) -> None:
        with pytest.raises(StoreUnavailable, match=way_out):
            SqlStore.open(postgres.server().url(**change))

    @each_case(
        ("place", "way_out"),
        [
            pytest.param("127.0.0.1:1", "verify that PostgreSQL is running", id="port"),
            pytest.param("/name?host=/nonexistent", "verify that PostgreSQL is running", id="socket"),
            pytest.param("no-such-host.invalid", "fix the host in store.url", id="host"),
        ],
    )
    def test_a_refused_connection_is_reported_with_a_hint(self, place: str, way_out: str) -> None:
        target = f"postgresql://u@{place}" if "?" in place else f"postgresql://u@{place}/name"

        with pytest.raises(StoreUnavailable, match=way_out) as refused:
            SqlStore.open(target)
        assert "connection failed" not in str(refused.value)  # what follows says so, too

    def test_missing_privileges_are_reported_with_what_to_grant(self, url: str) -> None:
        server = postgres.server()
        server.execute("CREATE ROLE weak LOGIN")
        weak = url.replace(f"//{postgres.SUPERUSER}@", "//weak@")

        with pytest.raises(StoreUnavailable, match=r"permission denied.*grant the user of store"):
            SqlStore.open(weak)
        server.execute("DROP ROLE weak")

    def test_a_missing_table_is_reported_with_a_hint(self, store: SqlStore, url: str) -> None:
        postgres.server().execute("DROP TABLE deliveries", database=url_name(url))

        with pytest.raises(StoreUnavailable, match="run `mns-listener store upgrade`"):
            store.record(decoded_messages(1), routes_all(), at=NOON)

    def test_a_server_that_is_full_says_what_to_raise(self, fragile: PostgresServer) -> None:
        with (
            ExitStack() as opened,
            pytest.raises(StoreUnavailable, match="set max_connections on the server"),
        ):
            fill(fragile.new_store(), opened)

    def test_a_missing_driver_is_reported_with_what_to_install(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "psycopg", None)

        with pytest.raises(SettingsError, match=r"pip install 'mns-listener\[postgres\]'"):
            SqlStore.open(url)


def fill(url: str, opened: ExitStack) -> None:
    """Take more connections than there are."""
    for _ in range(30):
        store = opened.enter_context(closing(SqlStore.open(url)))
        opened.enter_context(store.database.read())


class TestEncodings:
    @pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
    def test_a_database_that_cannot_hold_every_text_is_refused_with_the_way_out(self, encoding: str) -> None:
        url = postgres.server().new_database(encoding=encoding)

        with pytest.raises(SettingsError, match=f"has the encoding {encoding}, .*createdb --encoding UTF8 "):
            SqlStore.open(url)

    def test_the_client_may_have_any_encoding(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
        with closing(SqlStore.open(f"{url}&client_encoding=latin1")) as store:
            body = a_callback(Message="text").replace("text", "文")
            found = decode_message("q", a_message(body=body))

            assert store.record([found], routes_all(), at=NOON).new == 1
            assert the_row(store, results)["raw"] == body


class TestLongKeys:
    def test_a_key_that_no_index_can_hold_is_recorded_once_among_40_good_ones(self, store: SqlStore) -> None:
        messages = [a_message(message_id=f"m{n}", body=a_callback(JobId=f"job-{n}")) for n in range(40)]
        messages.insert(17, a_message(message_id="wide", body=a_wide_callback(seed=1)))
        recorder = a_recorder(store)

        new = [recorder.record("q", messages[start : start + 16]).new for start in range(0, 41, 16)]
        again = recorder.record("q", messages[16:32])

        assert new == [16, 16, 9]
        assert (again.new, again.duplicates) == (0, 16)

    def test_long_keys_that_differ_are_different_results(self, store: SqlStore) -> None:
        bodies = [a_wide_callback(seed=seed) for seed in (1, 2)]

        summary = a_recorder(store).record("q", [a_message(message_id=body, body=body) for body in bodies])

        assert (summary.new, summary.duplicates) == (2, 0)


def a_wide_callback(*, seed: int) -> str:
    """A callback whose ids and state have 256 characters of four bytes each, which do not compress."""
    chance = random.Random(seed)
    run_id, kind, state = (
        "".join(chr(chance.randrange(0x10000, 0x10FFFF)) for _ in range(256)) for _ in "abc"
    )
    return a_callback(JobId=ABSENT, RunId=run_id, Type=kind, State=state)


def a_recorder(store: SqlStore) -> Recorder:
    rules = (Rule(name="videos", handlers=("log",)),)
    return Recorder(store=store, rules=rules, correlation=Correlation(), sink=NullDeliverySink())


def _job_of(result: Result, turn: int) -> Job:
    """The job of a result, with a token of its own."""
    return a_job(token=f"{turn}-{result.job_id[-19:]}", job_id=result.job_id)
