"""One job can be followed through the log, from the receipt of its message until its delivery is settled."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener.core.errors import Retry, StoreFailureKind, StoreUnavailable
from listener.core.model import LOST, Claim, DecodedMessage, JobResult, Message, RecordSummary, Source
from listener.core.ports import Decide
from listener.intake.poller import Poller
from listener.intake.record_log import BURST
from listener.intake.recorder import NullDeliverySink, Recorder
from listener.rules.routing import Correlation, Match, Rule
from listener.rules.verification import Verification
from listener.runtime.liveness import Heartbeat
from listener.runtime.log_throttle import INTERVAL
from listener.runtime.metrics import Metrics
from listener.store import ingest
from listener.store.sql_store import SqlStore
from tests.support import ROOT
from tests.support.builders import (
    JOB_ID,
    NOON,
    a_callback,
    a_job,
    a_message,
    a_result,
    wrapped,
)
from tests.support.clocks import freeze_time
from tests.support.dispatching import delivery_states, dispatching
from tests.support.logs import above_debug, events
from tests.support.memory_queue import MemoryQueue
from tests.support.sqlite import new_sqlite, new_sqlite_store
from tests.support.waiting import wait_until

QUEUE = "q"
WAIT = timedelta(seconds=5)
RULES = (Rule(name="videos", match=Match(function="VideoH2V"), handlers=("log",)),)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


def a_recorder(store: SqlStore, **options: Any) -> Recorder:
    defaults: dict[str, Any] = {"rules": RULES, "correlation": Correlation(), "sink": NullDeliverySink()}
    return Recorder(store=store, **(defaults | options))


def a_message_of(message_id: str, **members: Any) -> Message:
    return a_message(message_id=message_id, body=wrapped(a_callback(**members)))


def lines_of(recorder: Recorder, *messages: Message) -> Sequence[dict[str, Any]]:
    """The lines about this batch."""
    with capture_logs() as logs:
        recorder.record(QUEUE, messages)
    return [dict(line) for line in logs]


def lines_of_a_job(store: SqlStore) -> Sequence[dict[str, Any]]:
    """All lines about a job whose handler fails once, out of those of a batch of two."""

    def handle(result: JobResult) -> None:
        if result.attempt == 1:
            raise Retry("boom")

    queue = MemoryQueue(a_message_of("m1"), a_message_of("m2", JobId="another"))
    with capture_logs() as logs, dispatching(store, handle, concurrency=1) as dispatcher:
        poller = Poller(
            queue=queue,
            recorder=a_recorder(store, sink=dispatcher),
            stop=threading.Event(),
            meter=Metrics(),
            heartbeat=Heartbeat(WAIT),
            wait=WAIT,
        )
        poller.poll_once()
        wait_until(lambda: delivery_states(store) == {"done": 2})
    return [dict(line) for line in logs if line.get("message_id") == "m1" or line.get("job_id") == JOB_ID]


def test_a_job_can_be_followed_from_the_receipt_of_its_message_to_its_settlement(store: SqlStore) -> None:
    received, recorded, routed, failed, done = lines_of_a_job(store)

    message = {"queue": MemoryQueue.name, "message_id": "m1"}
    job = {"job_id": JOB_ID, "state": "Success"}
    target = {"route": "videos", "handler": "log", "key": f"{JOB_ID}:Success:videos:log"}
    debug = {"log_level": "debug"}
    assert received == {"event": "message.received", "dequeue_count": 1} | message | debug
    assert recorded == {"event": "result.recorded", "status": "routed"} | job | message | debug
    assert routed == {"event": "result.routed"} | job | message | target | debug
    settled = {"event": "delivery.settled"} | job | target
    assert failed.items() >= (settled | {"outcome": "retry", "attempt": 1, "log_level": "warning"}).items()
    assert done == settled | {"outcome": "done", "attempt": 2} | debug


def test_the_example_in_the_docs_has_the_fields_of_the_real_lines(store: SqlStore) -> None:
    section = (ROOT / "docs" / "operations.md").read_text("utf-8").split("### Following one job")[1]
    example = [json.loads(line) for line in section.split("```json\n")[1].split("\n```")[0].splitlines()]
    real = lines_of_a_job(store)

    assert [line["event"] for line in example] == events(real)
    assert [line["level"] for line in example] == [line["log_level"] for line in real]
    assert [line.keys() - {"timestamp", "level"} for line in example] == [
        line.keys() - {"log_level"} for line in real
    ]


def test_a_copy_is_a_duplicate_and_another_terminal_state_a_contradiction(store: SqlStore) -> None:
    recorder = a_recorder(store)
    lines_of(recorder, a_message_of("m1"))
    copy, contradiction = lines_of(recorder, a_message_of("m2"), a_message_of("m3", State="Fail"))

    assert copy == {
        "event": "result.duplicate",
        "job_id": JOB_ID,
        "state": "Success",
        "queue": QUEUE,
        "message_id": "m2",
        "log_level": "debug",
    }
    assert contradiction == {
        "event": "result.contradiction",
        "job_id": JOB_ID,
        "state": "Fail",
        "recorded_state": "Success",
        "queue": QUEUE,
        "message_id": "m3",
        "repeated": 0,
        "log_level": "warning",
    }


def test_an_outcome_after_the_job_was_declared_lost_is_a_contradiction(store: SqlStore) -> None:
    store.add_job(a_job(state=LOST, finished_at=NOON))
    (line,) = lines_of(a_recorder(store), a_message_of("m1"))

    assert (line["event"], line["recorded_state"], line["state"]) == (
        "result.contradiction",
        "Lost",
        "Success",
    )


def test_a_copy_of_an_outcome_that_came_too_late_is_a_duplicate(store: SqlStore) -> None:
    store.add_job(a_job(state=LOST, finished_at=NOON))
    lines = lines_of(a_recorder(store), a_message_of("m1"), a_message_of("m2"))

    assert [(line["event"], line.get("recorded_state")) for line in lines] == [
        ("result.contradiction", "Lost"),
        ("result.duplicate", None),
    ]


def test_a_result_that_no_message_brought_has_its_source(store: SqlStore) -> None:
    with capture_logs() as logs:
        a_recorder(store).record_found([a_result(source=Source.QUERY)])

    recorded, routed = logs
    assert recorded == {
        "event": "result.recorded",
        "job_id": JOB_ID,
        "state": "Success",
        "source": "query",
        "status": "routed",
        "log_level": "debug",
    }
    assert (routed["event"], routed["source"]) == ("result.routed", "query")


def test_a_message_that_is_no_callback_is_quarantined_with_a_warning(store: SqlStore) -> None:
    (line,) = lines_of(a_recorder(store), a_message(message_id="m1", body="garbage"))

    assert (line["event"], line["message_id"], line["queue"], line["log_level"]) == (
        "message.quarantined",
        "m1",
        QUEUE,
        "warning",
    )
    assert line["reason"]


@pytest.mark.parametrize(
    ("options", "members", "event", "level"),
    [
        pytest.param({}, {"FunctionName": "ASR"}, "result.parked", "info", id="parked"),
        pytest.param({"unknown": "drop"}, {}, "result.dropped", "info", id="dropped"),
        pytest.param({"unknown": "dead-letter"}, {}, "result.refused", "warning", id="refused"),
    ],
)
def test_a_result_that_goes_to_no_handler_has_a_line_with_the_reason(
    store: SqlStore, options: dict[str, Any], members: dict[str, Any], event: str, level: str
) -> None:
    recorder = a_recorder(store, correlation=Correlation(**options))
    (line,) = lines_of(recorder, a_message_of("m1", **members))

    assert (line["event"], line["job_id"], line["message_id"], line["log_level"]) == (
        event,
        JOB_ID,
        "m1",
        level,
    )
    assert line["reason"] in ("no route matches", "no job with this id in the store")


@pytest.mark.parametrize(
    ("options", "members", "status"),
    [
        pytest.param({"wait": WAIT}, {}, "waiting", id="waiting"),
        pytest.param(
            {"verification": Verification(policy="always", tenants=frozenset({""}))},
            {},
            "verifying",
            id="verifying",
        ),
        pytest.param({}, {"State": "Processing"}, "progress", id="progress"),
    ],
)
def test_a_result_that_is_not_routed_yet_is_recorded_with_its_status(
    store: SqlStore, options: dict[str, Any], members: dict[str, Any], status: str
) -> None:
    recorder = a_recorder(store, correlation=Correlation(**options))
    (line,) = lines_of(recorder, a_message_of("m1", **members))

    assert (line["event"], line["status"], line["log_level"]) == ("result.recorded", status, "debug")


def test_a_result_that_waited_for_its_job_has_lines_when_it_is_decided_about(store: SqlStore) -> None:
    recorder = a_recorder(store, correlation=Correlation(wait=WAIT))
    with freeze_time() as time:
        lines_of(recorder, a_message_of("m1"), a_message_of("m2", JobId="another", FunctionName="ASR"))
        time.tick(2 * WAIT)
        with capture_logs() as logs:
            recorder.decide_waiting()

    assert sorted((line["event"], line["message_id"]) for line in logs) == [
        ("result.parked", "m2"),
        ("result.recorded", "m1"),
        ("result.routed", "m1"),
    ]


def test_a_flood_of_garbage_is_counted_above_debug_and_complete_at_debug(store: SqlStore) -> None:
    recorder = a_recorder(store)
    with freeze_time() as time, capture_logs() as logs:
        for number in range(100):
            recorder.record(QUEUE, [a_message(message_id=f"m{number}", body="garbage")])
        assert len(above_debug(logs)) == BURST
        assert Counter(events(logs)) == {"message.quarantined": 100}

        time.tick(INTERVAL)
        recorder.record(QUEUE, [a_message(message_id="later", body="garbage")])

    assert (logs[-1]["message_id"], logs[-1]["repeated"]) == ("later", 100 - BURST)


def test_a_flood_in_one_queue_hides_no_line_of_another(store: SqlStore) -> None:
    recorder = a_recorder(store)
    with freeze_time(), capture_logs() as logs:
        for number in range(2 * BURST):
            recorder.record("flooded", [a_message(message_id=f"m{number}", body="garbage")])
        recorder.record("quiet", [a_message(message_id="one", body="garbage")])

    assert above_debug(logs)[-1]["queue"] == "quiet"


class FailingStore(SqlStore):
    """A store whose transactions are rolled back at their end."""

    def record(
        self, batch: Sequence[DecodedMessage], decide: Decide, *, at: datetime, claim: Claim | None = None
    ) -> RecordSummary:
        with self.database.write() as connection:
            ingest.record(connection, batch, decide, at=at, claim=claim)
            raise StoreUnavailable("the commit fails on purpose", kind=StoreFailureKind.CONNECTION)


def test_nothing_is_logged_about_what_was_not_committed(tmp_path: Path) -> None:
    with closing(FailingStore.open(new_sqlite(tmp_path / "store.db"))) as store, capture_logs() as logs:
        for body in (wrapped(a_callback()), "garbage"):
            with pytest.raises(StoreUnavailable):
                a_recorder(store).record(QUEUE, [a_message(body=body)])

    assert logs == []
