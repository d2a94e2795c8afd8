"""The fields that log lines of users' handlers carry, and that they never reach another delivery's lines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import update
from structlog.contextvars import bind_contextvars, get_contextvars, merge_contextvars
from structlog.testing import LogCapture, capture_logs

from listener.core import clock
from listener.core.errors import Reject
from listener.core.model import Dead, Delivery, Done, JobResult, Outcome, RetryAfter, Settlement
from listener.dispatch.attempt import HandlerBinding
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.dispatch.delivery_log import log_error, log_fields, log_settlement
from listener.store.sql_store import SqlStore
from listener.store.tables import EPOCH, deliveries
from tests.support.builders import JOB_ID, a_claim, a_delivery, a_result
from tests.support.cases import each_case
from tests.support.dispatching import (
    QUICK,
    TARGET,
    a_dispatcher,
    delivery_rows,
    delivery_states,
    dispatching,
    record_results,
)
from tests.support.logs import above_debug
from tests.support.sqlite import new_sqlite_store
from tests.support.waiting import wait_until

#: What the lines of the handler of the nth delivery carry.
FIELDS = [
    {
        "job_id": f"mps-callbacks-job-{n}",
        "state": "Success",
        "route": "videos",
        "handler": "log",
        "attempt": 1,
    }
    for n in range(8)
]


class UsersLog:
    """A logger as a user's handler would have it, with the lines that it wrote."""

    def __init__(self) -> None:
        self._capture = LogCapture()
        self.log = structlog.wrap_logger(None, processors=[merge_contextvars, self._capture])

    def lines(self, event: str) -> Sequence[dict[str, Any]]:
        """The fields of the lines with this event, by job."""
        lines = [dict(entry) for entry in self._capture.entries if entry["event"] == event]
        for line in lines:
            del line["event"], line["log_level"]
        return sorted(lines, key=lambda line: (line["job_id"], line["attempt"]))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


@pytest.fixture
def runner() -> Iterator[CoroutineRunner]:
    runner = CoroutineRunner()
    yield runner
    runner.close()


def run_all(store: SqlStore, handle: Callable[[JobResult], None], count: int, **options: Any) -> None:
    """Run this handler for so many deliveries until all are done."""
    record_results(store, count)
    with dispatching(store, handle, **options):
        wait_until(lambda: delivery_states(store) == {"done": count})


def test_lines_of_a_plain_handler_carry_the_deliverys_fields(store: SqlStore) -> None:
    users = UsersLog()

    run_all(store, lambda result: users.log.info("uploaded", size=1), 8)

    assert users.lines("uploaded") == [{"size": 1} | fields for fields in FIELDS]


def test_lines_of_coroutines_that_share_the_loop_carry_their_own_deliverys_fields(
    store: SqlStore, runner: CoroutineRunner
) -> None:
    users, all_here = UsersLog(), asyncio.Barrier(8)

    async def handle(result: JobResult) -> None:
        users.log.info("began")
        await all_here.wait()  # passed only if all eight run at the same time
        users.log.info("ended")

    run_all(store, lambda result: runner.run(handle, result), 8, concurrency=8)

    assert users.lines("began") == users.lines("ended") == FIELDS


def test_lines_of_each_attempt_carry_its_number(store: SqlStore) -> None:
    users = UsersLog()

    def handle(result: JobResult) -> None:
        users.log.info("tried")
        if result.attempt < 3:
            raise ValueError("boom")

    run_all(store, handle, 1, concurrency=1)

    assert users.lines("tried") == [FIELDS[0] | {"attempt": attempt} for attempt in (1, 2, 3)]


def test_a_users_field_of_the_same_name_wins(store: SqlStore) -> None:
    users = UsersLog()

    run_all(store, lambda result: users.log.info("uploaded", state="mine"), 1)

    assert users.lines("uploaded") == [FIELDS[0] | {"state": "mine"}]


def test_nothing_bound_in_a_handler_reaches_the_next_delivery_of_the_same_worker(
    store: SqlStore, runner: CoroutineRunner
) -> None:
    users = UsersLog()

    async def nested(result: JobResult) -> None:
        bind_contextvars(**{f"nested_{result.job_id}": True})

    def handle(result: JobResult) -> None:
        users.log.info("began")
        bind_contextvars(**{f"own_{result.job_id}": True})
        runner.run(nested, result)
        if result.attempt == 1:
            raise ValueError("boom")

    run_all(store, handle, 4, concurrency=1)

    assert users.lines("began") == [
        fields | {"attempt": attempt} for fields in FIELDS[:4] for attempt in (1, 2)
    ]


def test_nothing_is_bound_outside_handlers(store: SqlStore) -> None:
    bound: list[dict[str, Any]] = []

    def enrich(delivery: Delivery) -> Delivery:
        bound.append(get_contextvars())
        return delivery

    binding = HandlerBinding(run=lambda _result: None, policy=QUICK, enrich=enrich)
    run_all(store, binding.run, 4, concurrency=1, bindings={TARGET: binding})

    assert bound == [{}] * 4
    assert len(delivery_rows(store)) == 4


def test_a_workflow_is_named_by_its_run(store: SqlStore) -> None:
    fields = log_fields(a_delivery(result=a_result(job_id="", run_id="run", type="Report")))

    assert fields["job_id"] == "run/Report"


RETRY = RetryAfter(wait=timedelta(seconds=2), reason="ValueError: boom")
CUT_SHORT = RetryAfter(wait=timedelta(seconds=2), reason="stopped", spent=False, failed=False)


@each_case(
    ("outcome", "late", "level", "facts"),
    [
        pytest.param(Done(), False, "debug", {"outcome": "done"}, id="done"),
        pytest.param(
            RETRY,
            False,
            "warning",
            {"outcome": "retry", "reason": RETRY.reason, "wait": 2.0, "spent": True},
            id="failed",
        ),
        pytest.param(
            CUT_SHORT,
            False,
            "info",
            {"outcome": "retry", "reason": "stopped", "wait": 2.0, "spent": False},
            id="cut-short",
        ),
        pytest.param(
            Dead(reason="no"), False, "warning", {"outcome": "dead", "reason": "no"}, id="dead-letter"
        ),
        pytest.param(Done(), True, "info", {"outcome": "late", "ignored": "done"}, id="late"),
        pytest.param(Dead(reason="no"), True, "info", {"outcome": "late", "ignored": "dead"}, id="late-dead"),
    ],
)
def test_a_settlement_names_its_job_route_handler_and_key(
    outcome: Outcome, late: bool, level: str, facts: dict[str, Any]
) -> None:
    with capture_logs() as logs:
        log_settlement(Settlement(delivery=a_delivery(), outcome=outcome), late=late)

    assert logs == [
        {
            "event": "delivery.settled",
            "log_level": level,
            "job_id": JOB_ID,
            "state": "Success",
            "route": "videos",
            "handler": "log",
            "attempt": 1,
            "key": f"{JOB_ID}:Success:videos:log",
        }
        | facts
    ]


def test_deliveries_that_a_stop_gives_back_did_not_fail(store: SqlStore) -> None:
    running, go_on = threading.Event(), threading.Event()

    def handle(_result: JobResult) -> None:
        running.set()
        go_on.wait(60)

    record_results(store, 2)
    dispatcher = a_dispatcher(store, handle, concurrency=1)
    dispatcher.claim_once()
    dispatcher.start()
    assert running.wait(60)
    with capture_logs() as logs:
        dispatcher.stop(timedelta(0))
        dispatcher.end()
    go_on.set()

    assert {(line["job_id"], line["outcome"], line["log_level"]) for line in logs} == {
        (fields["job_id"], "retry", "info") for fields in FIELDS[:2]
    }


def test_the_outcome_of_an_attempt_that_another_process_has_begun_again_is_logged_as_late(
    store: SqlStore,
) -> None:
    record_results(store)
    running, go_on = threading.Event(), threading.Event()

    def handle(_result: JobResult) -> None:
        running.set()
        go_on.wait(60)

    with capture_logs() as logs:
        with dispatching(store, handle, concurrency=1):
            assert running.wait(60)
            with store.database.write() as connection:
                connection.execute(update(deliveries).values(lease_until=EPOCH))
            now = clock.now()
            store.rescue_expired(
                lambda _delivery: RetryAfter(wait=timedelta(0), reason="lost"), at=now, limit=9
            )
            assert store.claim(a_claim(owner="another"), at=now)
            go_on.set()
        late = [line for line in above_debug(logs) if line["event"] == "delivery.settled"]

    assert [(line["outcome"], line["ignored"], line["attempt"]) for line in late] == [("late", "done", 1)]


@each_case(
    ("error", "logged"),
    [(KeyError("nope"), ["handler.raised"]), (Reject("no"), [])],
    ids=["error", "decision"],
)
def test_a_handler_that_raises_leaves_a_traceback(error: Exception, logged: list[str]) -> None:
    with capture_logs() as logs:
        log_error(a_delivery(), error)

    assert [entry["event"] for entry in logs] == logged
    assert [entry["exc_info"] for entry in logs] == [error] * len(logged)
    assert all(entry["job_id"] == JOB_ID and entry["log_level"] == "debug" for entry in logs)
