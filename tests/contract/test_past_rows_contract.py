"""The clock was behind and has been corrected: what it has written is as old as it really is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import BigInteger, type_coerce, update

from listener.core.model import ClockLag, Dead, Delivery, Offered, Outcome, RetryAfter, Settlement
from listener.rules.routing import Correlation, decider
from listener.runtime.clock_evidence import lags_shown
from listener.store import past_rows
from listener.store.dead_letters import DeadLetters
from listener.store.sql_store import SqlStore
from listener.store.tables import attempts, changes
from tests.support.builders import (
    NOON,
    TOKEN,
    a_claim,
    a_decoded_message,
    a_job,
    a_message,
    decoded_messages,
    routes_all,
)
from tests.support.stores import count, deliveries, jobs, quarantine, results, the_job, the_row

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: What the clock showed at noon, while it was behind.
BEHIND = NOON - 2 * DAY
LAG = ClockLag(begin=BEHIND - SECOND, end=BEHIND + 10 * SECOND, by=2 * DAY, at_least=2 * DAY)
BEFORE = NOON - 5 * HOUR


def claimed(store: SqlStore, *, at: datetime) -> list[Delivery]:
    return list(store.claim(a_claim(until=at + HOUR), at=at))


def record_and_settle(store: SqlStore, outcome: Outcome, *, recorded: datetime, at: datetime) -> Delivery:
    """The delivery of a new result, of which an attempt ends like this."""
    (delivery,) = store.record([a_decoded_message()], routes_all(), at=recorded, claim=a_claim()).claimed
    store.settle([Settlement(delivery=delivery, outcome=outcome)], at=at)
    return delivery


def test_a_delivery_is_as_old_as_it_really_is(store: SqlStore) -> None:
    store.record([a_decoded_message()], routes_all(), at=BEHIND)

    assert store.correct_past(LAG) > 0
    assert store.correct_past(LAG) == 0
    assert (the_row(store, results)["received_at"], the_row(store, changes)["at"]) == (NOON, NOON)
    (delivery,) = claimed(store, at=NOON)
    assert delivery.attempts_since == NOON


def test_a_delivery_that_a_handler_has_keeps_its_lease(store: SqlStore) -> None:
    store.record([a_decoded_message()], routes_all(), at=BEHIND, claim=a_claim())

    store.correct_past(LAG)
    row = the_row(store, deliveries)
    assert (row["state"], row["created_at"], row["lease_until"]) == ("running", NOON, a_claim().until)


@pytest.mark.parametrize(
    ("recorded", "created"), [(BEFORE, BEFORE), (BEHIND, NOON)], ids=["before", "meanwhile"]
)
def test_a_retry_waits_as_long_as_was_meant(store: SqlStore, recorded: datetime, created: datetime) -> None:
    waits = RetryAfter(wait=3 * DAY, reason="boom", no_handler_since=BEHIND)
    record_and_settle(store, waits, recorded=recorded, at=BEHIND)

    store.correct_past(LAG)
    row = the_row(store, deliveries)
    assert (row["next_at"], row["settled_at"]) == (NOON + 3 * DAY, NOON)
    assert (row["created_at"], row["no_handler_since"]) == (created, NOON)
    assert the_row(store, attempts)["settled_at"] == NOON


def test_a_delivery_that_was_replayed_meanwhile_has_a_new_set_of_attempts(store: SqlStore) -> None:
    dead = record_and_settle(store, Dead(reason="no use"), recorded=BEFORE, at=BEFORE)
    DeadLetters(store.database).replay([dead.id], routes_all(), at=BEHIND)

    store.correct_past(LAG)
    (delivery,) = claimed(store, at=NOON)
    assert delivery.attempts_since == NOON


def test_a_dead_letter_of_an_old_delivery_is_kept_from_its_true_end_on(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_rows, "SLICE", 1)
    old = NOON - 9 * DAY
    record_and_settle(store, Dead(reason="no use"), recorded=old, at=BEHIND)

    store.correct_past(LAG)
    row = the_row(store, deliveries)
    assert (row["created_at"], row["settled_at"]) == (old, NOON)


def test_a_result_waits_for_its_job_as_long_as_was_meant(store: SqlStore) -> None:
    waits = decider((), Correlation(wait=5 * SECOND), now=BEHIND, wait_over=False)
    store.record([a_decoded_message()], waits, at=BEHIND)

    store.correct_past(LAG)
    assert the_row(store, results)["wait_until"] == NOON + 5 * SECOND


def test_what_was_scheduled_after_the_correction_is_due_then(store: SqlStore) -> None:
    """Before the row was corrected, also if the clock was perhaps behind by less."""
    waits = decider((), Correlation(wait=2 * DAY + SECOND), now=BEHIND, wait_over=False)
    store.record([a_decoded_message()], waits, at=BEHIND)

    store.correct_past(replace(LAG, by=3 * DAY))
    row = the_row(store, results)
    assert (row["received_at"], row["wait_until"]) == (NOON + DAY, NOON + SECOND)


def test_a_result_whose_job_a_right_clock_has_registered_meanwhile_is_due_then(store: SqlStore) -> None:
    waits = decider((), Correlation(wait=5 * SECOND), now=BEHIND, wait_over=False)
    store.record([a_decoded_message()], waits, at=BEHIND)
    store.add_job(a_job(created_at=NOON))

    store.correct_past(LAG)
    row = the_row(store, results)
    assert (row["received_at"], row["wait_until"]) == (NOON, NOON)


def test_what_was_offered_after_the_correction_can_be_pulled_then(store: SqlStore) -> None:
    (delivery,) = store.record([a_decoded_message()], routes_all(), at=BEHIND, claim=a_claim()).claimed
    store.settle([Settlement(delivery=delivery, outcome=Offered())], at=NOON)

    store.correct_past(LAG)
    row = the_row(store, deliveries)
    assert (row["created_at"], row["pull_at"]) == (NOON, NOON)


def test_a_job_keeps_its_time_to_the_deadline(store: SqlStore) -> None:
    store.add_job(a_job(created_at=BEHIND, submitted_at=BEHIND, deadline_at=BEHIND + 6 * HOUR))

    assert (store.correct_past(LAG), store.correct_past(LAG)) == (1, 0)
    row = the_row(store, jobs)
    assert (row["created_at"], row["submitted_at"]) == (NOON, NOON)
    assert (row["deadline_at"], row["next_query_at"]) == (NOON + 6 * HOUR, NOON + 6 * HOUR)


def test_a_query_that_was_scheduled_after_the_correction_stays(store: SqlStore) -> None:
    job = a_job(created_at=BEHIND, deadline_at=BEHIND + 6 * HOUR)
    store.add_job(job)
    store.postpone(job, until=NOON + HOUR, asked=True)

    store.correct_past(LAG)
    assert the_row(store, jobs)["next_query_at"] == NOON + HOUR


def test_a_job_that_ended_meanwhile_is_kept_from_its_true_end_on(store: SqlStore) -> None:
    store.add_job(a_job(created_at=BEFORE))
    store.record([a_decoded_message()], routes_all(), at=BEHIND)
    assert the_job(store, TOKEN).finished_at == BEHIND

    store.correct_past(LAG)
    found = the_job(store, TOKEN)
    assert (found.created_at, found.finished_at) == (BEFORE, NOON)


def test_only_what_was_written_meanwhile_is_corrected_however_much_there_is(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_rows, "SLICE", 2)
    times = (BEHIND - 3 * DAY, BEFORE, BEHIND, BEHIND + SECOND, NOON + HOUR)
    for number, at in enumerate(times):
        garbled = [
            a_decoded_message(result=None, message=a_message(message_id=f"{number}-{each}"))
            for each in range(3)
        ]
        store.record([*decoded_messages(3, prefix=f"{number}"), *garbled], routes_all(), at=at)

    store.correct_past(LAG)
    right = (BEHIND - 3 * DAY, BEFORE, NOON, NOON + SECOND, NOON + HOUR)
    columns = (results.c.received_at, deliveries.c.created_at, quarantine.c.received_at)
    for column in columns:
        assert [count(store, column.table, column == at) for at in right] == [3] * len(right)
    assert store.correct_past(LAG) == 0


def test_what_the_newest_rows_show_is_enough_to_correct_them(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process, which knows by how much the clock was behind, may come first or later."""
    monkeypatch.setattr(past_rows, "NEWEST", 5)
    for number, at in enumerate((BEFORE, BEFORE, BEFORE, NOON, BEHIND, BEHIND + SECOND)):
        store.record(decoded_messages(1, prefix=f"{number}"), routes_all(), at=at)
    store.add_job(a_job(created_at=NOON, token=TOKEN))
    changed, begun = store.newest_times()
    assert (changed, begun) == ([BEFORE, BEFORE, NOON, BEHIND, BEHIND + SECOND], [NOON])

    (lag,) = lags_shown(changed, now=NOON + 9 * SECOND, tolerance=5 * MINUTE)
    assert store.correct_past(lag) > 0
    corrected = store.newest_times()
    assert (store.correct_past(LAG), store.newest_times()) == (0, corrected)
    assert lags_shown(corrected[0], now=NOON + 9 * SECOND, tolerance=5 * MINUTE) == []
    ages = [each.attempts_since for each in claimed(store, at=NOON + 9 * SECOND)]
    assert sorted(ages) == [BEFORE] * 3 + [NOON, NOON + 8 * SECOND, NOON + 9 * SECOND]


def test_the_times_of_the_deliveries_around_one_can_be_read_while_it_is_rescued(store: SqlStore) -> None:
    for number, at in enumerate((NOON, BEHIND, NOON + SECOND, NOON + SECOND)):
        store.record(
            decoded_messages(1, prefix=f"{number}"), routes_all(), at=at, claim=a_claim(until=BEHIND)
        )
    around: list[datetime] = []

    def look(delivery: Delivery) -> Outcome:
        rows = store.delivery_times(first=delivery.id - 1, last=delivery.id + 1)
        assert [row_id for row_id, _ in rows][-2:] == [delivery.id, delivery.id + 1]
        around.extend(at for _, at in rows)
        return Dead(reason="enough")

    assert len(store.rescue_expired(look, at=NOON, limit=2)) == 2
    assert around == [NOON, BEHIND, NOON, BEHIND, NOON + SECOND]


def test_a_damaged_time_shows_nothing(store: SqlStore) -> None:
    store.record([a_decoded_message()], routes_all(), at=BEHIND)
    with store.database.write() as connection:
        connection.execute(update(changes).values(at=type_coerce(2**62, BigInteger)))

    assert store.newest_times()[0] == []
    with store.database.write() as connection:
        connection.execute(update(deliveries).values(created_at=type_coerce(2**62, BigInteger)))
    assert store.delivery_times(first=0, last=9) == []
