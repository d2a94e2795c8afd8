"""What hangs is reported with what it had found, and holds up nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from listener.checks.bounded_checks import BoundedChecks, Check, ok
from listener.core.check_result import CheckKind, CheckResult, Level
from listener.core.errors import FailureKind, QueueUnavailable, SettingsError
from listener.core.exit_codes import ExitCode

NEVER = timedelta(days=1)


def run(check: Check, *, limit: timedelta = NEVER) -> list[CheckResult]:
    bounded = BoundedChecks(limit=limit)
    return list(bounded.results(bounded.start(check)))


def test_what_a_check_found_is_returned_in_its_order() -> None:
    found = [ok(CheckKind.QUEUE, "first"), ok(CheckKind.QUEUE, "second")]

    assert run(Check(kind=CheckKind.QUEUE, find=lambda: found)) == found


def test_checks_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=60)
    bounded = BoundedChecks(limit=NEVER)
    started = [bounded.start(Check.of(CheckKind.STORE, lambda: str(both.wait() >= 0))) for _ in range(2)]

    assert [one.detail for running in started for one in bounded.results(running)] == ["True", "True"]


def test_those_that_must_not_run_at_the_same_time_run_in_turn() -> None:
    order: list[int] = []
    checks = [
        Check.of(CheckKind.STORE, lambda number=number: str(order.append(number))) for number in range(9)
    ]
    bounded = BoundedChecks(limit=NEVER)
    for running in bounded.start_in_turn(checks):
        bounded.results(running)

    assert order == list(range(9))


def test_a_check_that_hangs_is_a_failure_beside_what_it_had_found() -> None:
    forever, begun = threading.Event(), threading.Event()

    def find() -> Iterator[CheckResult]:
        yield ok(CheckKind.ACCESS_KEY, "reachable", subject="one")
        begun.set()
        forever.wait()

    bounded = BoundedChecks(limit=timedelta(0))
    running = bounded.start(Check(kind=CheckKind.ACCESS_KEY, subject="one", find=find))
    begun.wait()
    reached, hung = bounded.results(running)
    forever.set()

    assert (reached.detail, hung.name) == ("reachable", "access key one")
    assert (hung.level, hung.exit_code) == (Level.FAILED, ExitCode.UNAVAILABLE)
    assert hung.detail == "no answer within 0s"
    assert hung.advice


def test_what_hangs_may_be_a_warning_only() -> None:
    forever = threading.Event()
    check = Check(
        kind=CheckKind.WEBHOOK,
        find=lambda: [ok(CheckKind.WEBHOOK, str(forever.wait()))],
        level_if_hanging=Level.WARNING,
    )
    (hung,) = run(check, limit=timedelta(0))
    forever.set()

    assert (hung.level, hung.exit_code) == (Level.WARNING, ExitCode.OK)


def test_what_is_done_counts_also_after_the_deadline() -> None:
    bounded = BoundedChecks(limit=timedelta(0))
    running = bounded.start(Check.of(CheckKind.STORE, lambda: "fine"))
    running.done.result()

    assert [one.level for one in bounded.results(running)] == [Level.OK]


def test_an_error_is_a_failure_with_its_words_its_hint_and_its_status() -> None:
    def fail() -> str:
        raise QueueUnavailable("no such queue", kind=FailureKind.MISSING, hint="create it")

    (result,) = run(Check.of(CheckKind.QUEUE, fail, subject="q"))

    assert (result.name, result.level) == ("queue q", Level.FAILED)
    assert (result.detail, result.advice) == ("no such queue; create it", "create it")
    assert result.exit_code == ExitCode.UNAVAILABLE


def test_an_error_with_several_messages_is_as_many_failures() -> None:
    def fail() -> str:
        raise SettingsError("first", "second")

    assert [one.detail for one in run(Check.of(CheckKind.HANDLERS, fail))] == ["first", "second"]


def test_a_bug_is_raised_where_the_result_is_asked_for() -> None:
    with pytest.raises(ZeroDivisionError):
        run(Check.of(CheckKind.STORE, lambda: str(1 / 0)))
