"""What operators and time do to a store as a whole: looking, shrinking, taking out, forgetting."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, event, text

from listener.core.errors import SettingsError
from listener.core.model import (
    Dead,
    Delivery,
    DeliveryState,
    Done,
    JobState,
    Outcome,
    ResultStatus,
    RoutingDecision,
    Settlement,
    Target,
)
from listener.intake.recorder import decode_again
from listener.rules.routing import Correlation, decider
from listener.store import maintenance, pruner, schema
from listener.store.database import Database
from listener.store.dead_letters import DeadLetters
from listener.store.deliveries import Deliveries
from listener.store.filters import Filters
from listener.store.parked import reroute_parked
from listener.store.pruner import PASS_INTERVAL, ROWS_PER_STEP, Pruner
from listener.store.quarantined_messages import QuarantinedMessages
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore
from listener.store.statistics import Statistics
from tests.support.builders import (
    JOB_ID,
    NOON,
    TOKEN,
    a_claim,
    a_decoded_message,
    a_job,
    a_result,
    decoded_messages,
    routes_all,
)
from tests.support.stores import OpenStore, count, deliveries, jobs, quarantine, results

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
KEEP = 30 * DAY
LATER = NOON + KEEP + SECOND


def handle(
    store: SqlStore, number: int, outcome: Outcome, *, at: datetime = NOON, prefix: str = "job"
) -> None:
    """Record so many results, and let all of them come to this."""
    summary = store.record(
        decoded_messages(number, prefix=prefix), routes_all(), at=at, claim=a_claim(limit=number)
    )
    settle(store, summary.claimed, outcome, at=at)


def settle(store: SqlStore, claimed: Any, outcome: Outcome, *, at: datetime = NOON) -> None:
    assert store.settle([Settlement(delivery=each, outcome=outcome) for each in claimed], at=at) == ()


def clean(store: SqlStore, *, at: datetime = LATER, keep: timedelta = KEEP) -> int:
    """One whole pass; returns how many rows went, deliveries not counted."""
    cleaner, deleted = Pruner(store.database, keep=keep), 0
    for _ in range(100):
        deleted += cleaner.step(at)
    return deleted


class TestPruner:
    def test_what_is_long_done_goes_with_all_that_belongs_to_it(self, store: SqlStore) -> None:
        store.add_job(a_job(job_id="mps-callbacks-job-0"))
        handle(store, 3, Done())
        store.record([a_decoded_message(result=None)], routes_all(), at=NOON)

        assert clean(store) == 5
        assert [count(store, table) for table in (jobs, results, deliveries, quarantine)] == [0, 0, 0, 0]

    def test_what_is_young_stays(self, store: SqlStore) -> None:
        handle(store, 3, Done())
        store.record([a_decoded_message(result=None)], routes_all(), at=NOON)

        assert clean(store, at=NOON + KEEP) == 0
        assert [count(store, table) for table in (results, deliveries, quarantine)] == [3, 3, 1]

    def test_what_was_received_long_ago_and_settled_lately_stays(self, store: SqlStore) -> None:
        store.record(decoded_messages(1), routes_all(), at=NOON)
        late = NOON + 20 * DAY
        settle(store, store.claim(a_claim(until=late + DAY), at=late), Done(), at=late)

        assert clean(store) == 0
        assert clean(store, at=LATER + 20 * DAY) == 1

    def test_unfinished_records_are_never_pruned(self, store: SqlStore) -> None:
        store.record(decoded_messages(1, prefix="pending"), routes_all(), at=NOON)
        store.record(decoded_messages(1, prefix="running"), routes_all(), at=NOON, claim=a_claim(limit=1))
        handle(store, 1, Dead(reason="never"), prefix="dead")
        parked = RoutingDecision(status=ResultStatus.PARKED)
        store.record(decoded_messages(1, prefix="parked"), lambda *_: parked, at=NOON)
        waits = decider((), Correlation(wait=DAY), now=NOON, wait_over=False)
        store.record(decoded_messages(1, prefix="waiting"), waits, at=NOON)
        store.add_job(a_job())

        assert clean(store, at=LATER + 1000 * DAY) == 0
        assert [count(store, table) for table in (jobs, results, deliveries)] == [1, 5, 3]

    def test_a_result_with_one_dead_letter_stays_whole_and_so_does_its_job(self, store: SqlStore) -> None:
        store.add_job(a_job())
        two = routes_all(*(target("done"), target("dead")))
        summary = store.record([a_decoded_message()], two, at=NOON, claim=a_claim())
        settle(store, summary.claimed[:1], Done())
        settle(store, summary.claimed[1:], Dead(reason=""))

        assert clean(store) == 0
        (left,) = DeadLetters(store.database).page()
        DeadLetters(store.database).drop([left.id], at=NOON)
        assert clean(store) == 2

    def test_the_result_of_an_unfinished_job_stays(self, store: SqlStore) -> None:
        store.add_job(a_job())
        progress = a_decoded_message(result=a_result(state="Processing"))
        store.record([progress], lambda *_: RoutingDecision(status=ResultStatus.PROGRESS), at=NOON)

        assert clean(store) == 0
        store.record([a_decoded_message()], routes_all(), at=NOON, claim=a_claim())
        assert clean(store) == 1, "the outcome is still being handled"

    def test_nothing_goes_where_it_is_off(self, store: SqlStore) -> None:
        handle(store, 1, Done())

        assert clean(store, keep=timedelta(0)) == 0

    def test_a_copy_after_its_result_went_is_a_new_result(self, store: SqlStore) -> None:
        handle(store, 1, Done())
        clean(store)

        assert store.record(decoded_messages(1), routes_all(), at=LATER).new == 1

    def test_a_pass_goes_round_what_must_stay_in_bounded_steps(self, store: SqlStore) -> None:
        handle(store, ROWS_PER_STEP + ROWS_PER_STEP // 4, Dead(reason=""), prefix="dead")
        handle(store, ROWS_PER_STEP + ROWS_PER_STEP // 4, Done(), prefix="done")
        cleaner = Pruner(store.database, keep=KEEP)

        deleted = [cleaner.step(LATER) for _ in range(5)]

        assert deleted[0] == 0, "the first step saw nothing but dead letters"
        assert max(deleted) <= ROWS_PER_STEP
        assert sum(deleted) == ROWS_PER_STEP + ROWS_PER_STEP // 4
        assert count(store, results) == ROWS_PER_STEP + ROWS_PER_STEP // 4

    def test_after_a_pass_there_is_a_rest(self, store: SqlStore) -> None:
        cleaner = Pruner(store.database, keep=KEEP)
        for _ in range(10):
            assert cleaner.step(LATER) == 0
        handle(store, 1, Done())

        assert cleaner.step(LATER + PASS_INTERVAL - SECOND) == 0
        assert cleaner.step(LATER + PASS_INTERVAL) == 1

    def test_a_rest_that_began_while_the_clock_was_ahead_is_over(self, store: SqlStore) -> None:
        cleaner = Pruner(store.database, keep=KEEP)
        for _ in range(10):
            assert cleaner.step(LATER + 31 * DAY) == 0
        handle(store, 1, Done())

        assert cleaner.step(LATER) == 1

    def test_replicas_do_not_clean_at_the_same_moment(self, open_store: OpenStore) -> None:
        one, two = open_store(), open_store()
        if not one.database.is_postgres:
            assert one.database.one_writer
            return
        handle(one, 1, Done())
        with one.database.write() as connection:
            assert pruner.may_prune(connection)
            assert Pruner(two.database, keep=KEEP).step(LATER) == 0
        assert Pruner(two.database, keep=KEEP).step(LATER) == 1


def target(name: str) -> Target:
    return Target(name, "log")


class TestStatus:
    def test_it_reports_counts_and_sizes(self, store: SqlStore) -> None:
        store.add_job(a_job())
        handle(store, 2, Done())
        store.record(decoded_messages(1, prefix="pending"), routes_all(), at=NOON + DAY)

        found = maintenance.status(store.database)

        assert (found.schema, found.head, found.hint) == (schema.HEAD, schema.HEAD, "")
        assert found.rows["deliveries"] == {"done": 2, "pending": 1}
        assert found.rows["jobs"] == {"submitted": 1}
        assert found.oldest_pending == NOON + DAY
        assert found.bytes > 10_000
        assert found.bytes_per_job == found.bytes

    def test_an_older_schema_is_shown_with_what_to_run(self, open_store: OpenStore) -> None:
        database = open_store().database
        set_version(database, "0001")

        found = maintenance.status(database)

        assert (found.schema, found.rows) == ("0001", {})
        assert "run `mns-listener store upgrade`" in found.hint

    def test_a_newer_schema_is_shown_with_what_to_install(self, open_store: OpenStore) -> None:
        database = open_store().database
        set_version(database, "9999")

        assert "install the release that created it" in maintenance.status(database).hint

    @pytest.mark.parametrize("found", ["0001", "9999"])
    def test_nothing_is_done_to_a_store_of_another_release(self, open_store: OpenStore, found: str) -> None:
        database = open_store().database
        set_version(database, found)

        with pytest.raises(SettingsError, match=f"schema {found}, this release needs {schema.HEAD}; "):
            maintenance.vacuum(database)
        with pytest.raises(SettingsError, match=f"schema {found}, this release needs"):
            next(maintenance.export(database))

    def test_an_empty_database_says_how_to_begin(self, empty_url: str) -> None:
        with closing(Database(empty_url)) as database:
            if database.is_postgres:
                assert "`mns-listener store upgrade`" in maintenance.status(database).hint
            else:
                with pytest.raises(
                    SettingsError, match=r"store .* does not exist.*`mns-listener store upgrade`"
                ):
                    maintenance.status(database)
                assert not Path(str(database.url.database)).exists()


def set_version(database: Database, version: str) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": version})


def test_vacuum_frees_disk_space_and_the_store_stays_usable(store: SqlStore) -> None:
    handle(store, 400, Done())
    store.record([a_decoded_message(result=a_result(message="x" * 500_000))], routes_all(), at=NOON)
    with store.database.write() as connection:
        connection.execute(delete(deliveries))
        connection.execute(delete(results))

    before, after = maintenance.vacuum(store.database)

    assert after < before
    assert store.record(decoded_messages(1), routes_all(), at=NOON).new == 1


def test_an_export_holds_every_row_as_json_can(store: SqlStore) -> None:
    store.add_job(a_job())
    handle(store, 1200, Done())
    handle(store, 1, Dead(reason="no use"), prefix="dead")
    store.record([a_decoded_message(), a_decoded_message(result=None)], routes_all(), at=NOON)

    rows = list(maintenance.export(store.database))

    assert Counter(row["table"] for row in rows) == {
        "jobs": 1,
        "results": 1202,
        "deliveries": 1202,
        "attempts": 1,
        "quarantine": 1,
    }
    assert rows[0]["token"] == TOKEN
    assert rows[0]["created_at"] == NOON.isoformat()
    assert [row["dedup_key"] for row in rows if row["table"] == "results"][-1] == JOB_ID


def test_an_export_shows_one_moment(store: SqlStore) -> None:
    handle(store, 3, Done())
    export = maintenance.export(store.database)
    next(export)

    handle(store, 3, Done(), prefix="later")

    assert sum(1 for row in export if row["table"] == "results") == 2


class TestGrowth:
    """No statement of the daemon, and no listing, reads a whole table: what it costs does not grow with the store."""

    @pytest.fixture
    def large(self, store: SqlStore) -> SqlStore:
        """Large enough for the planner to prefer indexes where there are any."""
        for batch in range(5):
            handle(store, 200, Done(), prefix=f"old-{batch}")
        store.add_job(a_job())
        maintenance.vacuum(store.database)
        return store

    def test_daily_work_reads_no_table_from_end_to_end(self, large: SqlStore) -> None:
        with explained(large) as plans:
            summary = large.record(
                [*decoded_messages(4), a_decoded_message(), a_decoded_message(result=None)],
                routes_all(),
                at=NOON,
                claim=a_claim(limit=2),
            )
            large.record([a_decoded_message()], routes_all(), at=NOON)
            claimed = [*summary.claimed, *large.claim(a_claim(), at=NOON)]
            large.renew(claimed, until=LATER)
            settle(large, claimed, Done())
            large.rescue_expired(dead_letter, at=LATER, limit=10)
            large.decide_waiting(routes_all(), at=NOON, limit=10)
            large.claim_overdue(at=NOON, until=LATER, limit=10)
            large.accepted_jobs(limit=10)
            large.count_accepted()
            large.accept_jobs([a_job(token="t", job_id="", reference="r", state=JobState.ACCEPTED)])
            large.begin_submission("t", at=NOON)
            large.accept_again("t", begun_at=NOON)
            large.refuse_tenant("", "no", accepted_before=LATER, at=NOON)
            large.find_job(JOB_ID)
            large.probe_write()
            large.outstanding()

        assert plans.scans() == []

    def test_listings_read_no_table_from_end_to_end(self, large: SqlStore) -> None:
        handle(large, 3, Dead(reason=""), prefix="dead")
        queries, dead_letters = Queries(large.database), DeadLetters(large.database)
        listed = Deliveries(large.database)
        with explained(large) as plans:
            queries.jobs(state="success", before=7)
            queries.jobs(filters=Filters(function="none"))
            queries.jobs(filters=Filters(since=LATER))
            queries.jobs(filters=Filters(until=NOON))
            queries.results(status=ResultStatus.PARKED, before=7)
            dead_letters.page(filters=Filters(route="videos"), before=7)
            dead_letters.page(before=7)
            dead_letters.count()
            listed.page(before=7)
            listed.page(states=[DeliveryState.PENDING], filters=Filters(route="videos"), before=7)
            listed.retry([7], at=NOON)
            listed.cancel([7], at=NOON)
            queries.delivery_counts(range(7))
            queries.overdue_waiting(at=NOON, limit=7)
            QuarantinedMessages(large.database).page(before=7)
            QuarantinedMessages(large.database).retry([7], decode_again, routes_all(), at=NOON)
            QuarantinedMessages(large.database).drop([7])
            queries.history(JOB_ID)
            queries.history("nobody")
            queries.history(JOB_ID, limit=7)
            queries.with_outputs(JOB_ID)
            reroute_parked(large.database, routes_all(), at=NOON)
            Statistics(large.database).totals(NOON)
            Statistics(large.database).activity(NOON)

        assert plans.scans() == []

    def test_cleaning_reads_no_table_from_end_to_end(self, large: SqlStore) -> None:
        cleaner = Pruner(large.database, keep=KEEP)
        with explained(large) as plans:
            assert cleaner.step(LATER) == ROWS_PER_STEP
            while cleaner.step(LATER):
                pass
            cleaner.step(LATER)

        assert plans.scans() == []


def dead_letter(_delivery: Delivery) -> Outcome:
    return Dead(reason="")


class explained:  # noqa: N801  # read as a verb: with explained(store)
    """Keeps the plans of all statements that are carried out meanwhile."""

    def __init__(self, store: SqlStore) -> None:
        self._database = store.database
        self._plans: list[tuple[str, str]] = []

    def __enter__(self) -> explained:
        event.listen(self._database.engine, "before_cursor_execute", self._explain)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._database.engine, "before_cursor_execute", self._explain)

    def scans(self) -> list[tuple[str, str]]:
        """Statements that read a whole table, with their plans."""
        assert self._plans, "nothing was explained"
        return [(statement, plan) for statement, plan in self._plans if reads_all(plan)]

    def _explain(self, connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            return
        how = "EXPLAIN " if self._database.is_postgres else "EXPLAIN QUERY PLAN "
        values = parameters[0] if rest[-1] else parameters
        explaining = cursor.connection.cursor()
        if self._database.is_postgres:  # which else reads small tables whole, as it should
            explaining.execute("SET LOCAL enable_seqscan = off")
        lines = explaining.execute(how + statement, values).fetchall()
        explaining.close()
        self._plans.append((statement, "\n".join(str(line[-1]) for line in lines)))


def reads_all(plan: str) -> bool:
    tables = ("jobs", "results", "deliveries", "quarantine")
    for line in plan.splitlines():
        words = line.strip().removeprefix("->").split()
        if words[:1] == ["SCAN"] and words[1] in tables and "INDEX" not in words:
            return True
        if line.strip().removeprefix("->").strip().startswith("Seq Scan"):
            return True
    return False
