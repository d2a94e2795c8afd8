"""One message or outcome that the database rejects affects no other, on each supported database."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs

from listener.core.errors import StoreRejected, StoreUnavailable, UsageError
from listener.core.model import Job, JobResult, RecordSummary, Result, RoutingDecision
from listener.intake.isolation import record_one_by_one
from listener.intake.recorder import NullDeliverySink, Recorder
from listener.rules.retry import RetryPolicy
from listener.rules.routing import Correlation, Rule
from listener.store.sql_store import SqlStore
from tests.support.builders import (
    NOON,
    a_callback,
    a_decoded_message,
    a_job,
    a_message,
    a_result,
    decoded_messages,
    routes_all,
    wrapped,
)
from tests.support.dispatching import NO_BACKOFF, delivery_rows, dispatching
from tests.support.rejecting import POISON, REJECTION, reject
from tests.support.stores import count, deliveries, quarantine, results, states, the_row

QUEUE = "mps-callbacks"


def a_recorder(store: SqlStore) -> Recorder:
    rules = (Rule(name="videos", handlers=("log",)),)
    return Recorder(store=store, rules=rules, correlation=Correlation(), sink=NullDeliverySink())


def record(store: SqlStore, *bodies: str) -> RecordSummary:
    """Record one batch of messages with these bodies."""
    messages = [a_message(message_id=f"m{place}", body=body) for place, body in enumerate(bodies)]
    return a_recorder(store).record(QUEUE, messages)


def a_body(job_id: str) -> str:
    return a_callback(JobId=job_id, Message="text").replace("text", "文")  # not escaped


class TestMessages:
    def test_a_rejected_result_is_quarantined_verbatim_and_the_others_are_recorded(
        self, store: SqlStore
    ) -> None:
        reject(store, "results", "job_id")

        with capture_logs() as logs:
            summary = record(store, a_body("one"), a_body(POISON), a_body("two"))

        assert (summary.new, summary.quarantined, summary.deliveries) == (2, 1, 2)
        kept = the_row(store, quarantine)
        assert kept["body"] == a_body(POISON)
        assert kept["message_id"] == "m1"
        assert REJECTION in kept["reason"]
        (line,) = [line for line in logs if line["event"] == "message.quarantined"]
        assert (line["message_id"], line["job_id"], line["log_level"]) == ("m1", POISON, "warning")
        assert REJECTION in line["reason"]

    def test_a_body_that_quarantine_cannot_hold_is_kept_as_base64(self, store: SqlStore) -> None:
        reject(store, "results", "job_id")
        reject(store, "quarantine", "body", when="LIKE '%文%'")

        record(store, a_body("one"), a_body(POISON))

        assert the_row(store, quarantine)["body"] == "base64:" + wrapped(a_body(POISON))

    def test_a_message_that_comes_again_is_counted_and_not_quarantined_twice(self, store: SqlStore) -> None:
        reject(store, "results", "job_id")
        for _ in range(2):
            record(store, a_body(POISON))

        assert the_row(store, quarantine)["copies"] == 2

    def test_a_store_that_rejects_everything_is_unavailable(self, store: SqlStore) -> None:
        reject(store, "deliveries", "queue", when="IS NOT NULL")

        with pytest.raises(StoreUnavailable, match=f"rejects every result: .*{REJECTION}"):
            record(store, a_body("one"), a_body("two"))

        assert count(store, results) == count(store, quarantine) == 0

    def test_a_quarantine_that_rejects_everything_is_unavailable(self, store: SqlStore) -> None:
        reject(store, "results", "job_id")
        reject(store, "quarantine", "queue", when="IS NOT NULL")

        with (
            capture_logs() as logs,
            pytest.raises(StoreUnavailable, match=f"nothing in quarantine: .*{REJECTION}"),
        ):
            record(store, a_body("one"), a_body(POISON), a_body("two"))

        # What was committed before is in the log, and nothing else.
        assert [(line["event"], line["message_id"]) for line in logs if "message_id" in line] == [
            ("result.recorded", "m0"),
            ("result.routed", "m0"),
            ("message.rejected", "m1"),
        ]

    def test_a_dequeue_count_of_any_size_can_be_kept(self, store: SqlStore) -> None:
        message = a_message(body="no callback", dequeue_count=10**17)

        assert a_recorder(store).record(QUEUE, [message]).quarantined == 1

    def test_a_message_id_of_any_length_can_be_kept(self, store: SqlStore) -> None:
        wide = "".join(map(chr, range(0x10000, 0x10000 + 1000)))

        assert (
            a_recorder(store).record(QUEUE, [a_message(message_id=wide, body="no callback")]).quarantined == 1
        )

    def test_batches_that_are_committed_together_do_not_affect_each_other(self, store: SqlStore) -> None:
        reject(store, "results", "job_id")
        together = threading.Barrier(8)
        committed: list[RecordSummary] = []

        def record_batch(number: int) -> RecordSummary:
            together.wait(30)
            culprit = a_decoded_message(message=a_message(message_id=POISON), result=a_result(job_id=POISON))
            batch = [*decoded_messages(4, prefix=str(number)), *[culprit][: number == 3]]
            try:
                return store.record(batch, routes_all(), at=NOON)
            except StoreRejected:
                return record_one_by_one(store, batch, routes_all(), at=NOON, on_recorded=committed.append)

        with ThreadPoolExecutor(8) as threads:
            summaries = list(threads.map(record_batch, range(8)))

        assert [each.new for each in summaries] == [4] * 8
        assert [each.quarantined for each in summaries] == [0, 0, 0, 1, 0, 0, 0, 0]
        assert RecordSummary.total(committed).kinds == {"routed": 4, "quarantined": 1}

    def test_a_bug_that_one_message_meets_affects_no_other(self, store: SqlStore) -> None:
        decide = routes_all()

        def stumbles(result: Result, job: Job | None, queue: str) -> RoutingDecision:
            if result.job_id == "job-1":
                raise ZeroDivisionError
            return decide(result, job, queue)

        batch = [
            a_decoded_message(message=a_message(message_id=f"m{n}"), result=a_result(job_id=f"job-{n}"))
            for n in range(3)
        ]

        committed: list[RecordSummary] = []
        summary = record_one_by_one(store, batch, stumbles, at=NOON, on_recorded=committed.append)

        assert (summary.new, summary.quarantined) == (2, 1)
        entries = summary.entries()
        assert entries == [entry for each in committed for entry in each.entries()]
        assert [(each.message_id, each.kind) for each in entries] == [
            ("m0", "routed"),
            ("m1", "quarantined"),
            ("m2", "routed"),
        ]

    def test_a_bug_that_every_message_meets_quarantines_none(self, store: SqlStore) -> None:
        def stumbles(_result: Result, _job: Job | None, _queue: str) -> RoutingDecision:
            raise ZeroDivisionError

        committed: list[RecordSummary] = []
        with pytest.raises(ZeroDivisionError):
            record_one_by_one(store, decoded_messages(3), stumbles, at=NOON, on_recorded=committed.append)

        assert (count(store, quarantine), committed) == (0, [])

    def test_an_answer_of_mps_that_is_rejected_is_quarantined_with_its_text(self, store: SqlStore) -> None:
        reject(store, "results", "job_id")

        summary = a_recorder(store).record_found([a_result(job_id=POISON, raw="{}"), a_result()])

        assert (summary.new, summary.quarantined) == (1, 1)
        assert the_row(store, quarantine)["body"] == "{}"


class TestSettlements:
    def test_an_outcome_whose_reason_is_rejected_is_written_in_plain_text(self, store: SqlStore) -> None:
        reject(store, "deliveries", "last_error", when="LIKE '%文%'")
        store.record(decoded_messages(4), routes_all(), at=NOON)

        run_all(store, fails_on="job-1", message="文")

        rows = {row.id: row for row in delivery_rows(store)}
        assert sorted(row.state for row in rows.values()) == ["dead", "done", "done", "done"]
        assert [row.last_error for row in rows.values() if row.state == "dead"] == [
            "no attempts left (failures: 1, max_attempts: 1); last error: ValueError: \\u6587"
        ]

    def test_an_outcome_that_is_rejected_altogether_blocks_no_other(self, store: SqlStore) -> None:
        store.record(decoded_messages(4), routes_all(), at=NOON)
        reject(store, "deliveries", "state", when="= 'dead'")

        with capture_logs() as logs:
            run_all(store, fails_on="job-1", message="")

        assert sorted(states(store)) == ["done", "done", "done", "running"]
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["settlement.rejected"]
        settled = [line for line in logs if line["event"] == "delivery.settled"]
        assert [line["outcome"] for line in settled] == ["done"] * 3
        assert "job-1" not in [line["job_id"] for line in settled]


def run_all(store: SqlStore, *, fails_on: str, message: str) -> None:
    """Run all deliveries; the handler fails on one job for good."""
    finished = threading.Semaphore(0)

    def handle(result: JobResult) -> None:
        finished.release()
        if result.job_id.endswith(fails_on):
            raise ValueError(message)

    policy = RetryPolicy(backoff=NO_BACKOFF, max_attempts=1)
    with dispatching(store, handle, policy=policy):
        for _ in range(count(store, deliveries)):
            assert finished.acquire(timeout=60)


class TestSubmissions:
    def test_a_job_that_is_rejected_was_not_submitted(self, store: SqlStore) -> None:
        reject(store, "jobs", "function")

        with pytest.raises(UsageError, match=f"cannot be stored, so it was not submitted: .*{REJECTION}"):
            store.add_job(a_job(function=POISON))

        store.add_job(a_job())
