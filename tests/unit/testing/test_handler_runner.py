"""A runner reports what the dispatcher would record; docs/testing-handlers.md shows how it is used."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from listener import JobResult, Reject, Retry, SettingsError, Unavailable, time_left
from listener.core.model import DeliveryState
from listener.rules.retry import RetryPolicy
from listener.testing import AttemptReport, HandlerRunner, make_result
from tests.support import ROOT
from tests.support.cases import each_case
from tests.support.dispatching import NO_BACKOFF, delivery_rows, dispatching, record_results
from tests.support.sqlite import new_sqlite_store
from tests.support.waiting import wait_until

PAGE = (ROOT / "docs" / "testing-handlers.md").read_text("utf-8")


def raises(error: BaseException) -> Callable[[JobResult], None]:
    def handle(_result: JobResult) -> None:
        raise error

    return handle


def report(handler: Any, result: JobResult | None = None, **options: Any) -> AttemptReport:
    with HandlerRunner(handler, **options) as runner:
        return runner.run(result or make_result())


def test_a_handler_that_returns_is_done_and_gets_the_result_itself() -> None:
    taken: list[JobResult] = []
    result = make_result(key="mine")

    assert report(taken.append, result) == AttemptReport(outcome="done")
    assert taken == [result]


@each_case(
    ("error", "outcome", "after", "spent"),
    [
        pytest.param(Retry("later", after=30), "retry", timedelta(seconds=30), True, id="retry"),
        pytest.param(Retry("later"), "retry", timedelta(seconds=1), True, id="retry-with-back-off"),
        pytest.param(Unavailable("down", after=5), "retry", timedelta(seconds=5), False, id="unavailable"),
        pytest.param(Reject("never"), "dead", None, True, id="reject"),
        pytest.param(LookupError("why"), "retry", timedelta(seconds=1), True, id="any-other"),
    ],
)
def test_what_a_handler_raises_decides(
    error: Exception, outcome: str, after: timedelta | None, spent: bool
) -> None:
    found = report(raises(error))

    assert (found.outcome, found.after, found.spent) == (outcome, after, spent)
    assert (found.reason, found.error) == (f"{type(error).__name__}: {error}", error)


def test_a_handler_that_exits_does_not_end_the_test() -> None:
    assert report(raises(SystemExit(3))).reason == "RuntimeError: the handler called exit(3)"


def test_an_interrupt_of_the_test_is_passed_on() -> None:
    with pytest.raises(KeyboardInterrupt):
        report(raises(KeyboardInterrupt()))


def test_a_coroutine_is_cancelled_after_the_time_limit() -> None:
    async def handle(_result: JobResult) -> None:
        await asyncio.Event().wait()

    assert report(handle, timeout=0.01).reason.startswith("TimeoutError: ")


def test_a_handler_knows_its_time_limit_and_the_test_has_none() -> None:
    left: list[timedelta | None] = []

    report(lambda _result: left.append(time_left()), timeout=3600)

    assert left[0] is not None
    assert timedelta(0) < left[0] <= timedelta(hours=1)
    assert time_left() is None


def test_the_last_attempt_leads_to_a_dead_letter() -> None:
    found = report(raises(LookupError("why")), make_result(attempt=2), retry={"max_attempts": 2})

    assert found.reason == "no attempts left (failures: 2, max_attempts: 2); last error: LookupError: why"


def test_deliver_repeats_until_the_handler_returns() -> None:
    def handle(result: JobResult) -> None:
        if result.attempt < 3:
            raise Retry("later")

    with HandlerRunner(handle, retry={"initial_backoff": "1h", "max_backoff": "1d"}) as runner:
        reports = runner.deliver(make_result())

    assert [each.outcome for each in reports] == ["retry", "retry", "done"]
    assert [each.after for each in reports] == [timedelta(hours=1), timedelta(hours=2), None]


def test_deliver_ends_an_outage_when_the_time_is_over() -> None:
    with HandlerRunner(raises(Unavailable("down", after=600)), retry={"max_elapsed": "1h"}) as runner:
        reports = runner.deliver(make_result())

    assert [each.outcome for each in reports] == ["retry"] * 7 + ["dead"]
    assert reports[-1].reason.startswith("retry.max_elapsed exceeded (1:00:00)")


def test_a_handler_is_made_from_options_as_in_the_settings(tmp_path: Path) -> None:
    with HandlerRunner.from_options("jsonl", {"path": str(tmp_path / "results.jsonl")}) as runner:
        assert runner.run(make_result()).outcome == "done"
    with pytest.raises(SettingsError, match=r"^HandlerRunner: handler 'jsonl': option 'path' is missing$"):
        HandlerRunner.from_options("jsonl")


def test_a_factory_need_not_be_installed() -> None:
    pauses: list[timedelta] = []

    def waits(*, pause: timedelta) -> Callable[[JobResult], None]:
        return lambda _result: pauses.append(pause)

    with HandlerRunner.from_options(waits, {"pause": "PT30S"}) as runner:
        runner.run(make_result())

    assert pauses == [timedelta(seconds=30)]
    with pytest.raises(SettingsError, match="handler 'waits': option 'pasue' is unknown"):
        HandlerRunner.from_options(waits, {"pause": 1, "pasue": 1})


def test_closing_the_runner_closes_the_handler_once() -> None:
    class Handler:
        closed = 0

        async def __call__(self, _result: JobResult) -> None:
            assert not self.closed

        async def close(self) -> None:
            self.closed += 1

    handler = Handler()

    assert report(handler).outcome == "done"
    assert handler.closed == 1


def test_log_lines_of_a_handler_carry_the_fields_of_the_delivery() -> None:
    bound: dict[str, Any] = {}

    report(lambda _result: bound.update(structlog.contextvars.get_contextvars()), make_result(route="covers"))

    assert (bound["route"], bound["state"], bound["attempt"]) == ("covers", "Success", 1)


@pytest.mark.parametrize(
    "error",
    [Retry("later", after=0), Unavailable("down", after=0), Reject("never"), LookupError("why"), None],
)
def test_the_report_is_what_the_dispatcher_records(tmp_path: Path, error: Exception | None) -> None:
    """Attempts until the handler has been called twice, in both ways."""
    handled: list[int] = []

    def handle(result: JobResult) -> None:
        handled.append(result.attempt)
        if error is not None and len(handled) == 1:
            raise error

    with HandlerRunner(handle, retry={"initial_backoff": 0, "max_backoff": 0}) as runner:
        reports = runner.deliver(make_result())
    handled.clear()
    with new_sqlite_store(tmp_path) as store:
        record_results(store)
        with dispatching(store, handle, policy=RetryPolicy(backoff=NO_BACKOFF)):
            wait_until(lambda: delivery_rows(store)[0].state in (DeliveryState.DONE, DeliveryState.DEAD))
        (row,) = delivery_rows(store)

    assert (row.attempt, row.state) == (len(reports), reports[-1].outcome)
    assert row.failures == sum(each.spent for each in reports)
    assert (row.last_error or "") == reports[-1].reason


def test_the_example_of_the_page_works(tmp_path: Path) -> None:
    handler, tests = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "shop.py").write_text(handler, "utf-8")
    (tmp_path / "test_shop.py").write_text(tests, "utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
