"""What becomes of a delivery whose attempt failed."""

from __future__ import annotations

import errno
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.core.errors import Reject, Retry, Unavailable
from listener.core.model import Dead, Outcome, RetryAfter
from listener.rules.backoff import Backoff
from listener.rules.retry import (
    ERROR_LENGTH,
    NO_HANDLER_WAIT,
    SHOWN_WAITS,
    RetryPlan,
    RetryPolicy,
    after_failure,
    after_lost_lease,
    error_text,
    plan,
    without_handler,
)
from tests.support.builders import NOON, a_delivery
from tests.support.cases import each_case

SECOND = timedelta(seconds=1)
BACKOFF = Backoff(SECOND, timedelta(seconds=60))
POLICY = RetryPolicy(max_attempts=3, max_elapsed=timedelta(hours=1), backoff=BACKOFF)
#: Jitter that leaves the whole of a wait.
WHOLE = 1.0


def outcome_of(error: BaseException, *, age: timedelta = timedelta(0), **fields: object) -> Outcome:
    return after_failure(a_delivery(**fields), error, POLICY, now=NOON + age, jitter=WHOLE)


def test_a_failure_spends_an_attempt_and_waits() -> None:
    assert outcome_of(KeyError("x"), failures=1) == RetryAfter(
        wait=2 * SECOND, reason="KeyError: 'x'", spent=True
    )


def test_the_last_attempt_makes_a_dead_letter_with_the_last_error() -> None:
    outcome = outcome_of(KeyError("x"), failures=2)

    assert outcome == Dead(
        reason="no attempts left (failures: 3, max_attempts: 3); last error: KeyError: 'x'"
    )


def test_reject_is_final_at_the_first_attempt() -> None:
    assert outcome_of(Reject("no such customer")) == Dead(reason="Reject: no such customer")


def wrapped(error: BaseException, *, explicitly: bool) -> BaseException:
    """A RuntimeError of a library that was raised from this one, or while this one was handled."""
    outer = RuntimeError("the call failed")
    if explicitly:
        outer.__cause__ = error
    else:
        outer.__context__ = error
    return outer


NO_FILES = OSError(errno.EMFILE, "Too many open files")


@each_case(
    "error",
    [
        pytest.param(NO_FILES, id="no-files-in-the-process"),
        pytest.param(OSError(errno.ENFILE, "Too many open files in system"), id="no-files-in-the-system"),
        pytest.param(OSError(errno.ENOMEM, "Cannot allocate memory"), id="no-memory"),
        pytest.param(MemoryError(), id="no-memory-in-python"),
        pytest.param(BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), id="no-process"),
        pytest.param(RuntimeError("can't start new thread"), id="no-thread"),
        pytest.param(wrapped(NO_FILES, explicitly=True), id="cause"),
        pytest.param(wrapped(wrapped(NO_FILES, explicitly=False), explicitly=True), id="context-of-a-cause"),
    ],
)
def test_a_lack_of_resources_spends_no_attempt(error: BaseException) -> None:
    outcome = outcome_of(error, failures=2)

    assert isinstance(outcome, RetryAfter)
    assert not outcome.spent


def in_a_circle() -> BaseException:
    error = wrapped(ValueError(), explicitly=True)
    assert error.__cause__ is not None
    error.__cause__.__cause__ = error
    return error


@each_case(
    "error",
    [
        pytest.param(OSError(errno.ECONNREFUSED, "Connection refused"), id="other-error-of-the-system"),
        pytest.param(RuntimeError("no"), id="other-error"),
        pytest.param(in_a_circle(), id="circle"),
    ],
)
def test_any_other_error_spends_an_attempt(error: BaseException) -> None:
    assert isinstance(outcome_of(error, failures=2), Dead)


def test_what_a_handler_decides_counts_more_than_why() -> None:
    reject = Reject("no such customer")
    reject.__cause__ = NO_FILES

    assert outcome_of(reject) == Dead(reason="Reject: no such customer")


@each_case(
    ("after", "wait"),
    [
        pytest.param(timedelta(seconds=7), timedelta(seconds=7), id="timedelta"),
        pytest.param(0.5, timedelta(seconds=0.5), id="seconds"),
        pytest.param(0, timedelta(0), id="at-once"),
        pytest.param(-5, timedelta(0), id="in-the-past"),
        pytest.param(timedelta(minutes=10), timedelta(minutes=10), id="longer-than-the-longest-wait"),
        pytest.param(timedelta.max, timedelta(days=366), id="beyond-all-calendars"),
        pytest.param(None, SECOND, id="left-to-the-back-off"),
    ],
)
@each_case("kind", [Retry, Unavailable])
def test_a_wait_that_is_asked_for_is_kept(
    kind: type[Retry], after: timedelta | float | None, wait: timedelta
) -> None:
    outcome = outcome_of(kind("later", after=after))

    assert isinstance(outcome, RetryAfter)
    assert outcome.wait == wait


def test_retry_counts_as_an_attempt() -> None:
    assert isinstance(outcome_of(Retry("later"), failures=2), Dead)


@each_case("attempt", [1, 3, 100, 10_000])
def test_outage_never_spends_an_attempt(attempt: int) -> None:
    outcome = outcome_of(Unavailable("database down"), attempt=attempt, failures=2)

    assert isinstance(outcome, RetryAfter)
    assert not outcome.spent
    assert outcome.wait <= BACKOFF.maximum


@each_case("error", [KeyError("x"), Retry("later"), Unavailable("down")], ids=repr)
def test_whatever_is_older_than_max_elapsed_is_dead(error: Exception) -> None:
    assert isinstance(outcome_of(error, age=POLICY.max_elapsed), RetryAfter)

    outcome = outcome_of(error, age=POLICY.max_elapsed + SECOND)

    assert isinstance(outcome, Dead)
    assert "max_elapsed" in outcome.reason
    assert error_text(error) in outcome.reason


def test_the_age_of_a_replayed_delivery_counts_from_its_replay() -> None:
    old = NOON - 2 * POLICY.max_elapsed

    assert isinstance(outcome_of(KeyError("x"), created_at=old), Dead)
    assert isinstance(outcome_of(KeyError("x"), created_at=old, replayed_at=NOON), RetryAfter)


def test_a_lost_lease_spends_an_attempt() -> None:
    outcome = after_lost_lease(a_delivery(), POLICY, now=NOON, jitter=WHOLE)

    assert isinstance(outcome, RetryAfter)
    assert outcome.spent
    assert outcome.wait == SECOND


def test_a_handler_that_kills_its_process_makes_a_dead_letter_in_the_end() -> None:
    assert isinstance(after_lost_lease(a_delivery(failures=2), POLICY, now=NOON, jitter=WHOLE), Dead)


def test_backoff_doubles_up_to_its_maximum() -> None:
    waits = [BACKOFF.delay(attempt - 1) / SECOND for attempt in (1, 2, 3, 6, 7, 8, 10_000)]

    assert waits == [1, 2, 4, 32, 60, 60, 60]


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_back_off_lies_between_the_half_and_the_whole(attempt: int, jitter: float) -> None:
    whole = BACKOFF.delay(attempt)

    assert whole / 2 <= BACKOFF.delay(attempt, jitter=jitter) <= whole


def test_a_first_wait_above_the_longest_is_cut() -> None:
    assert Backoff(initial=timedelta.max, maximum=SECOND).delay(50) == SECOND


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("broken")


@each_case(
    ("error", "text"),
    [
        pytest.param(ValueError("bad"), "ValueError: bad", id="type-and-text"),
        pytest.param(ValueError(), "ValueError", id="no-text"),
        pytest.param(ValueError(" \n"), "ValueError", id="blank"),
        pytest.param(ValueError("a\0b\ud800"), "ValueError: a\ufffdb\ufffd", id="unstorable"),
        pytest.param(Mute(), "Mute: (its text cannot be shown)", id="broken-error"),
        pytest.param(SystemExit(3), "SystemExit: 3", id="not-an-exception"),
    ],
)
def test_error_text_names_the_type_and_is_never_empty(error: BaseException, text: str) -> None:
    assert error_text(error) == text


def test_error_text_is_shortened() -> None:
    text = error_text(ValueError("x" * 10_000))

    assert len(text) == ERROR_LENGTH
    assert text.endswith("…")


NO_HANDLER = "no route 'videos' with a handler 'log' in its settings"
LIMIT = timedelta(minutes=10)


@each_case(
    ("waited", "wait"),
    [
        pytest.param(timedelta(0), NO_HANDLER_WAIT, id="at-first"),
        pytest.param(LIMIT - SECOND, SECOND, id="at-last"),
    ],
)
def test_a_delivery_without_a_handler_waits_for_a_process_that_has_it(
    waited: timedelta, wait: timedelta
) -> None:
    since = NOON - waited

    outcome = without_handler(a_delivery(no_handler_since=since), timeout=LIMIT, now=NOON)

    assert outcome == RetryAfter(
        wait=wait, reason=f"this process has {NO_HANDLER}", spent=False, no_handler_since=since
    )


def test_the_wait_for_a_handler_begins_now_also_after_the_clock_was_set_back() -> None:
    for since in (None, NOON + timedelta(days=1)):
        outcome = without_handler(a_delivery(no_handler_since=since), timeout=LIMIT, now=NOON)

        assert isinstance(outcome, RetryAfter)
        assert outcome.no_handler_since == NOON


def test_a_delivery_that_no_process_had_a_handler_for_is_a_dead_letter() -> None:
    delivery = a_delivery(no_handler_since=NOON - LIMIT)

    assert without_handler(delivery, timeout=LIMIT, now=NOON) == Dead(
        reason=f"dispatch.no_handler_timeout exceeded (0:10:00): no process has {NO_HANDLER}"
    )
    assert isinstance(without_handler(delivery, timeout=timedelta.max, now=NOON), RetryAfter)


def carried_out(policy: RetryPolicy) -> RetryPlan:
    """The plan that comes of failing at once, again and again."""
    waits: list[timedelta] = []
    while True:
        elapsed = sum(waits, timedelta(0))
        delivery = a_delivery(attempt=len(waits) + 1, failures=len(waits))
        outcome = after_failure(delivery, KeyError("x"), policy, now=NOON + elapsed, jitter=WHOLE)
        if isinstance(outcome, Dead):
            limit = "max_attempts" if "max_attempts" in outcome.reason else "max_elapsed"
            first = tuple(waits[:SHOWN_WAITS])
            return RetryPlan(attempts=len(waits) + 1, waits=first, until_dead=elapsed, limit=limit)
        assert isinstance(outcome, RetryAfter)
        waits.append(outcome.wait)


@given(
    max_attempts=st.integers(1, 300),
    max_elapsed=st.integers(0, 100_000),
    initial=st.integers(0, 100),
    maximum=st.integers(0, 1000),
)
def test_a_plan_is_what_failing_at_once_leads_to(
    max_attempts: int, max_elapsed: int, initial: int, maximum: int
) -> None:
    policy = RetryPolicy(
        max_attempts=max_attempts,
        max_elapsed=max_elapsed * SECOND,
        backoff=Backoff(initial * SECOND, maximum * SECOND),
    )

    assert plan(policy) == carried_out(policy)


def test_a_plan_of_a_million_attempts_is_made_at_once() -> None:
    unlimited = RetryPolicy(max_attempts=1_000_000, max_elapsed=timedelta(days=10_000), backoff=BACKOFF)
    without_pauses = RetryPolicy(max_attempts=1_000_000, backoff=Backoff(timedelta(0), timedelta(0)))

    assert (plan(unlimited).attempts, plan(unlimited).limit) == (1_000_000, "max_attempts")
    assert plan(without_pauses) == RetryPlan(
        attempts=1_000_000, waits=(timedelta(0),) * SHOWN_WAITS, until_dead=timedelta(0), limit="max_attempts"
    )
