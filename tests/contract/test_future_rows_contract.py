"""The clock was ahead and has been set back: what it has scheduled becomes due after the time that was meant."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from listener.core.model import Dead, Delivery, Done, Offered, RetryAfter, Settlement, Target
from listener.rules.backoff import Backoff
from listener.rules.retry import RetryPolicy, after_failure
from listener.rules.routing import Correlation, decider
from listener.store.dead_letters import DeadLetters
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_claim, a_decoded_message, a_job, decoded_messages, routes_all
from tests.support.stores import count, deliveries, jobs, results, the_row

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
#: What the clock showed before it was set back to noon.
AHEAD = NOON + 3 * HOUR


def reschedule(store: SqlStore, *, at: datetime = NOON) -> int:
    return store.reschedule_future(at=at, longest_query_wait=HOUR)


def claimed(store: SqlStore, *, at: datetime) -> list[Delivery]:
    return list(store.claim(a_claim(until=at + HOUR), at=at))


def retry_later(store: SqlStore, *, recorded: datetime, wait: timedelta) -> None:
    """A delivery that failed at the time AHEAD and is to be retried after this."""
    summary = store.record(
        [a_decoded_message()], routes_all(), at=recorded, claim=a_claim(until=AHEAD + HOUR)
    )
    outcome = RetryAfter(wait=wait, reason="boom")
    store.settle([Settlement(delivery=each, outcome=outcome) for each in summary.claimed], at=AHEAD)


@pytest.mark.parametrize("wait", [SECOND, 2 * DAY], ids=["back-off", "as-the-handler-asked"])
@pytest.mark.parametrize("recorded", [NOON - 5 * HOUR, AHEAD], ids=["before", "meanwhile"])
def test_a_retry_waits_as_long_as_was_meant(store: SqlStore, recorded: datetime, wait: timedelta) -> None:
    retry_later(store, recorded=recorded, wait=wait)

    assert (reschedule(store), reschedule(store)) == (1, 0)
    assert claimed(store, at=NOON + wait - SECOND) == []
    assert len(claimed(store, at=NOON + wait)) == 1


def test_a_retry_that_was_decided_before_the_clock_was_set_back_waits_as_long_as_was_meant(
    store: SqlStore,
) -> None:
    store.record([a_decoded_message()], routes_all(), at=AHEAD)
    (delivery,) = claimed(store, at=AHEAD)
    policy = RetryPolicy(backoff=Backoff(SECOND, SECOND))
    outcome = after_failure(delivery, ValueError("boom"), policy, now=AHEAD, jitter=1.0)

    store.settle([Settlement(delivery=delivery, outcome=outcome)], at=NOON)

    assert len(claimed(store, at=NOON + SECOND)) == 1


def test_a_retry_that_a_right_clock_has_scheduled_stays(store: SqlStore) -> None:
    retry_later(store, recorded=AHEAD, wait=2 * DAY)

    assert reschedule(store, at=AHEAD + SECOND) == 0
    assert the_row(store, deliveries)["next_at"] == AHEAD + 2 * DAY


def test_a_new_delivery_is_due_at_once(store: SqlStore) -> None:
    store.record(decoded_messages(3), routes_all(), at=AHEAD)
    assert claimed(store, at=NOON) == []

    assert reschedule(store) == 3
    assert len(claimed(store, at=NOON)) == 3


def test_a_delivery_that_was_replayed_while_the_clock_was_ahead_is_due_at_once(store: SqlStore) -> None:
    store.record([a_decoded_message()], routes_all(), at=NOON)
    (delivery,) = claimed(store, at=NOON)
    store.settle([Settlement(delivery=delivery, outcome=Dead(reason="no use"))], at=NOON)
    DeadLetters(store.database).replay([delivery.id], routes_all(), at=AHEAD)

    assert reschedule(store) == 1
    assert len(claimed(store, at=NOON)) == 1


def test_what_is_running_or_settled_is_not_touched(store: SqlStore) -> None:
    summary = store.record(decoded_messages(2), routes_all(), at=AHEAD, claim=a_claim(until=AHEAD + HOUR))
    store.settle([Settlement(delivery=summary.claimed[0], outcome=Done())], at=AHEAD)

    assert reschedule(store) == 0


def test_a_result_waits_for_its_job_as_long_as_was_meant(store: SqlStore) -> None:
    correlation = Correlation(wait=5 * SECOND)
    store.record([a_decoded_message()], decider((), correlation, now=AHEAD, wait_over=False), at=AHEAD)

    assert (reschedule(store), reschedule(store)) == (1, 0)
    assert the_row(store, results)["wait_until"] == NOON + 5 * SECOND


def test_a_job_keeps_its_time_to_the_deadline(store: SqlStore) -> None:
    store.add_job(a_job(created_at=AHEAD, deadline_at=AHEAD + 6 * HOUR))

    assert (reschedule(store), reschedule(store)) == (1, 0)
    row = the_row(store, jobs)
    assert (row["deadline_at"], row["next_query_at"]) == (NOON + 6 * HOUR, NOON + 6 * HOUR)


@pytest.mark.parametrize(
    ("deadline", "due"),
    [
        pytest.param(NOON - DAY, NOON, id="overdue"),
        pytest.param(NOON + HOUR, NOON + HOUR, id="not-overdue-yet"),
    ],
)
def test_a_query_is_due_at_the_deadline_or_at_once(
    store: SqlStore, deadline: datetime, due: datetime
) -> None:
    job = a_job(created_at=NOON - 2 * DAY, deadline_at=deadline)
    store.add_job(job)
    store.postpone(job, until=AHEAD + HOUR, asked=True)

    assert (reschedule(store), reschedule(store)) == (1, 0)
    assert the_row(store, jobs)["next_query_at"] == due


@pytest.mark.parametrize("until", [NOON + HOUR, None], ids=["a-long-pause", "its-deadline"])
def test_a_query_that_a_right_clock_has_scheduled_stays(store: SqlStore, until: datetime | None) -> None:
    job = a_job(created_at=NOON - DAY, deadline_at=NOON - HOUR if until else NOON + DAY)
    store.add_job(job)
    if until:
        store.postpone(job, until=until, asked=True)

    assert reschedule(store) == 0
    assert count(store, jobs, jobs.c.next_query_at == (until or NOON + DAY)) == 1


@pytest.mark.parametrize("recorded", [NOON - 5 * HOUR, AHEAD], ids=["before", "meanwhile"])
def test_what_was_offered_meanwhile_can_be_pulled(store: SqlStore, recorded: datetime) -> None:
    summary = store.record(
        [a_decoded_message()], routes_all(), at=recorded, claim=a_claim(until=AHEAD + HOUR)
    )
    store.settle([Settlement(delivery=each, outcome=Offered()) for each in summary.claimed], at=AHEAD)

    assert store.due_targets([Target("videos", "log")], at=NOON + SECOND) == []
    assert reschedule(store, at=NOON) == 1
    assert store.due_targets([Target("videos", "log")], at=NOON + SECOND) == [Target("videos", "log")]
    assert reschedule(store, at=NOON) == 0
