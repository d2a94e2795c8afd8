"""What is open in a store, and what happened in it in the last hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from listener.core.model import (
    Dead,
    Done,
    Outcome,
    ResultStatus,
    RetryAfter,
    RoutingDecision,
    Settlement,
    Source,
    Target,
)
from listener.core.ports import Decide
from listener.store import statistics
from listener.store.quarantine import add as add_to_quarantine
from listener.store.sql_store import SqlStore
from listener.store.statistics import MINUTE, PERIOD, Activity, Minute, Rates, Statistics, Totals
from tests.support.builders import (
    NOON,
    a_claim,
    a_decoded_message,
    a_job,
    a_result,
    decoded_messages,
    routes_all,
)

SECOND = timedelta(seconds=1)
TARGETS = (Target("videos", "log"), Target("videos", "webhook"))


def totals(store: SqlStore, at: datetime = NOON) -> Totals:
    found = Statistics(store.database).totals(at)
    assert found.bytes > 0
    return replace(found, bytes=0)


def activity(store: SqlStore, at: datetime) -> Activity:
    return Statistics(store.database).activity(at)


def becomes(status: ResultStatus) -> Decide:
    return lambda _result, _job, _queue: RoutingDecision(
        status=status, wait_until=NOON + MINUTE if status in ("waiting", "verifying") else None
    )


def settle(store: SqlStore, outcome: Outcome, *, at: datetime, limit: int = 100) -> int:
    claimed = store.claim(a_claim(limit=limit, until=at + MINUTE), at=at)
    store.settle([Settlement(delivery=each, outcome=outcome) for each in claimed], at=at)
    return len(claimed)


def found(minutes: Sequence[Minute]) -> Sequence[Minute]:
    return [each for each in minutes if each.received or each.handled or each.failed]


class TestTotals:
    def test_an_empty_store_has_nothing_open(self, store: SqlStore) -> None:
        assert totals(store) == Totals(at=NOON)
        assert totals(store).oldest_pending_age == timedelta()

    def test_everything_that_is_open_is_counted(self, store: SqlStore) -> None:
        for status, count in (("waiting", 1), ("verifying", 2), ("parked", 3), ("dropped", 4)):
            store.record(decoded_messages(count, prefix=status), becomes(ResultStatus(status)), at=NOON)
        store.record(decoded_messages(7, queue="other"), routes_all(*TARGETS), at=NOON)
        settle(store, Dead(reason="no"), at=NOON, limit=1)
        settle(store, Done(), at=NOON, limit=2)
        store.claim(a_claim(limit=4), at=NOON)
        with store.database.write() as connection:
            add_to_quarantine(connection, [a_decoded_message(result=None)], at=NOON)

        assert totals(store, NOON + SECOND) == Totals(
            at=NOON + SECOND,
            pending=7,
            running=4,
            dead=1,
            oldest_pending=NOON,
            waiting=1,
            verifying=2,
            parked=3,
            quarantined=1,
        )

    def test_open_deliveries_are_counted_by_their_handler(self, store: SqlStore) -> None:
        store.record(decoded_messages(3), routes_all(*TARGETS), at=NOON)
        settle(store, Dead(reason="no"), at=NOON, limit=1)
        settle(store, Done(), at=NOON, limit=1)
        store.claim(a_claim(limit=2), at=NOON)

        counts = Statistics(store.database).open_by_target()
        summed = {
            state: sum(of_target.get(state, 0) for of_target in counts.values())
            for state in ("pending", "running", "dead", "done")
        }
        assert set(counts) == set(TARGETS)
        assert summed == {"pending": 2, "running": 2, "dead": 1, "done": 0}

    def test_the_oldest_pending_delivery_is_found_though_it_is_due_last(self, store: SqlStore) -> None:
        store.record(decoded_messages(1, prefix="old"), routes_all(), at=NOON)
        settle(store, RetryAfter(wait=timedelta(hours=1), reason="busy"), at=NOON)
        store.record(decoded_messages(3), routes_all(), at=NOON + MINUTE)
        store.record(decoded_messages(3, queue="other"), routes_all(), at=NOON + MINUTE)

        later = totals(store, NOON + 3 * MINUTE)
        assert later.oldest_pending == NOON
        assert later.oldest_pending_age == 3 * MINUTE
        assert totals(store, NOON - MINUTE).oldest_pending_age == timedelta()

    def test_of_many_pending_deliveries_only_those_due_first_are_looked_at(
        self, store: SqlStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(statistics, "PENDING_READ", 2)
        store.record(decoded_messages(1, prefix="old"), routes_all(), at=NOON)
        settle(store, RetryAfter(wait=timedelta(hours=1), reason="busy"), at=NOON)
        store.record(decoded_messages(3), routes_all(), at=NOON + MINUTE)

        assert totals(store).oldest_pending == NOON + MINUTE
        assert totals(store).pending == 4

    def test_jobs_are_overdue_until_they_end_whenever_they_are_asked_about_next(
        self, store: SqlStore
    ) -> None:
        for number, deadline in enumerate((NOON - MINUTE, NOON, NOON + MINUTE, None)):
            store.add_job(
                a_job(
                    job_id=f"job-{number}",
                    token=f"token-{number}",
                    reference=str(number),
                    deadline_at=deadline,
                )
            )
        assert totals(store).overdue == 2

        (first,) = store.claim_overdue(at=NOON, until=NOON + MINUTE, limit=1)
        store.postpone(first, until=NOON + 5 * MINUTE, asked=True)
        assert totals(store).overdue == 2

        store.record([a_decoded_message(result=a_result(job_id=first.job_id))], routes_all(), at=NOON)
        assert totals(store).overdue == 1


class TestActivity:
    @pytest.mark.parametrize("read", ["CHANGES_READ", "RESULTS_READ"])
    def test_if_there_is_too_much_to_read_the_figures_are_complete_from_a_later_time(
        self, store: SqlStore, monkeypatch: pytest.MonkeyPatch, read: str
    ) -> None:
        for minute in range(4):
            at = NOON + minute * MINUTE + 30 * SECOND
            for number in range(3):
                store.record(decoded_messages(2, prefix=f"{minute}-{number}"), routes_all(), at=at)
        monkeypatch.setattr(statistics, read, {"CHANGES_READ": 5, "RESULTS_READ": 10}[read])

        lately, hour_ago = activity(store, NOON + 4 * MINUTE), NOON + 4 * MINUTE - PERIOD
        sinces = {"CHANGES_READ": lately.since, "RESULTS_READ": lately.outcomes_since}
        assert sinces.pop(read) == NOON + 2 * MINUTE + 30 * SECOND
        assert list(sinces.values()) == [hour_ago]
        if read == "CHANGES_READ":
            assert [each.at for each in lately.minutes] == [NOON + number * MINUTE for number in (2, 3, 4)]
            assert lately.rates().received == 6

    def test_rates_are_means_of_whole_minutes_or_of_what_there_is(
        self, store: SqlStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.record(decoded_messages(10), routes_all(), at=NOON - MINUTE)
        store.record(decoded_messages(30, queue="other"), routes_all(), at=NOON)

        assert activity(store, NOON + 30 * SECOND).rates() == Rates(received=2, handled=0, failed=0)
        monkeypatch.setattr(statistics, "CHANGES_READ", 1)
        assert activity(store, NOON + 30 * SECOND).rates() == Rates(received=60, handled=0, failed=0)
        assert activity(store, NOON).rates() == Rates(received=0, handled=0, failed=0)

    def test_an_empty_store_has_an_hour_of_minutes_without_activity(self, store: SqlStore) -> None:
        quiet = activity(store, NOON + 30 * SECOND)

        assert quiet.since == NOON - PERIOD
        assert [each.at for each in quiet.minutes] == [
            NOON - PERIOD + number * MINUTE for number in range(61)
        ]
        assert found(quiet.minutes) == []
        assert set(quiet.ended_by.values()) == {0}
        assert (quiet.query_share, quiet.times) == (None, [])

    def test_what_was_received_handled_and_failed_is_counted_by_minute(self, store: SqlStore) -> None:
        store.record(decoded_messages(5, prefix="too-old"), routes_all(), at=NOON - PERIOD - SECOND)
        settle(store, Done(), at=NOON - PERIOD - SECOND)
        store.record(decoded_messages(3), routes_all(), at=NOON - 2 * MINUTE)
        store.record(decoded_messages(3), routes_all(), at=NOON - 2 * MINUTE)  # copies
        settle(store, Done(), at=NOON - MINUTE, limit=2)
        settle(store, RetryAfter(wait=MINUTE, reason="busy"), at=NOON, limit=1)

        assert found(activity(store, NOON).minutes) == [
            Minute(at=NOON - 2 * MINUTE, received=3),
            Minute(at=NOON - MINUTE, handled=2),
            Minute(at=NOON, failed=1),
        ]

    def test_a_callback_that_is_verified_is_received_once(self, store: SqlStore) -> None:
        store.record([a_decoded_message()], becomes(ResultStatus.VERIFYING), at=NOON)
        (claimed,) = store.claim_unverified(
            at=NOON + MINUTE, until=NOON + 2 * MINUTE, limit=1, takes=lambda _queue: True
        )
        store.believe(claimed, claimed.result, routes_all(), at=NOON + MINUTE)

        lately = activity(store, NOON + MINUTE)
        assert found(lately.minutes) == [Minute(at=NOON, received=1)]
        assert lately.ended_by[Source.CALLBACK] == 1

    def test_outcomes_are_counted_by_what_brought_them(self, store: SqlStore) -> None:
        sources = [*[Source.CALLBACK] * 5, *[Source.QUERY] * 2, Source.LISTENER, Source.REPLY]
        batch = [
            a_decoded_message(message=None, queue="", result=a_result(job_id=f"job-{number}", source=source))
            for number, source in enumerate(sources)
        ]
        progress = a_decoded_message(result=a_result(job_id="job", state="Processing"))
        for number in range(len(batch)):  # the listener declares only known jobs lost
            store.add_job(a_job(job_id=f"job-{number}", token=f"token-{number}"))
        store.record([*batch, progress], routes_all(), at=NOON)
        store.record(decoded_messages(4), becomes(ResultStatus.VERIFYING), at=NOON)

        known = activity(store, NOON)
        assert known.ended_by == {
            Source.CALLBACK: 5,
            Source.QUERY: 2,
            Source.REPLY: 1,
            Source.LISTENER: 1,
        }
        assert known.query_share == 3 / 8

    def test_the_times_from_submission_to_outcome_are_those_of_each_function(self, store: SqlStore) -> None:
        for number in range(20):
            store.add_job(a_job(job_id=f"job-{number}", token=f"token-{number}", function="Cover"))
            store.record(
                [a_decoded_message(result=a_result(job_id=f"job-{number}"))],
                routes_all(),
                at=NOON + (number + 1) * SECOND,
            )
        store.add_job(a_job(job_id="late", token="late", function="ASR"))
        store.record([a_decoded_message(result=a_result(job_id="late"))], routes_all(), at=NOON + 5 * MINUTE)

        cover, asr = activity(store, NOON + 5 * MINUTE).times
        assert (cover.function, cover.jobs) == ("Cover", 20)
        assert [cover.median, cover.p95, cover.longest] == [10 * SECOND, 19 * SECOND, 20 * SECOND]
        assert (asr.function, asr.jobs, asr.median, asr.p95, asr.longest) == ("ASR", 1, *[5 * MINUTE] * 3)
