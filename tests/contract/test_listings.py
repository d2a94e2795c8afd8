"""What operators list and change in the store, on each supported database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from listener.core.model import (
    Dead,
    DeliveryState,
    Done,
    ResultStatus,
    RetryAfter,
    RoutingDecision,
    Settlement,
    Target,
)
from listener.store import filters, row_actions, searching
from listener.store.dead_letters import DeadLetters
from listener.store.deliveries import Deliveries, PendingDeliveries
from listener.store.filters import Filters
from listener.store.queries import Queries
from listener.store.searching import Page
from listener.store.sql_store import SqlStore
from tests.support.builders import (
    NOON,
    a_claim,
    a_decoded_message,
    a_job,
    a_message,
    a_result,
    decoded_messages,
    events_of_medium,
    routes_all,
)
from tests.support.cases import each_case
from tests.support.stores import states

SECOND, LATER = timedelta(seconds=1), NOON + timedelta(minutes=1)


@pytest.fixture
def filled(store: SqlStore) -> SqlStore:
    """Two jobs, an hour apart, with a delivery each: of the routes ``covers`` and ``texts``."""
    for number, (function, route) in enumerate((("Cover", "covers"), ("ASR", "texts"))):
        at = NOON + timedelta(hours=number)
        job = {"token": f"{number:022}", "job_id": f"job-{number}", "reference": f"talk-{number}"}
        kind, state = ("", "Success") if number == 0 else ("Workflow", "Fail")
        store.add_job(a_job(**job, function=function, created_at=at, kind=kind))
        type_ = "Report" if kind else ""  # the callback of the first one names none
        result = a_result(job_id=f"job-{number}", function=function, type=type_, state=state)
        decoded = a_decoded_message(
            queue=f"queue-{number}", message=a_message(message_id=str(number)), result=result
        )
        store.record([decoded], routes_all(Target(route, "log")), at=at)
    return store


@each_case(
    ("fields", "expected"),
    [
        pytest.param({}, {0, 1}, id="all"),
        pytest.param({"function": "cOVER"}, {0}, id="function"),
        pytest.param({"route": "texts"}, {1}, id="route"),
        pytest.param({"reference": "talk-1"}, {1}, id="reference"),
        pytest.param({"reference": "talk-*"}, {0, 1}, id="references"),
        pytest.param({"reference": "TALK-*"}, set(), id="case-of-references"),
        pytest.param({"reference": "tal%*"}, set(), id="no-wildcard-of-sql"),
        pytest.param({"since": NOON + SECOND}, {1}, id="since"),
        pytest.param({"since": NOON, "until": NOON + SECOND}, {0}, id="between"),
        pytest.param({"function": "Cover", "route": "texts"}, set(), id="both"),
        pytest.param({"kind": "iproduction"}, {0}, id="kind-by-function"),
        pytest.param({"kind": "WORKFLOW"}, {1}, id="kind-of-a-report"),
        pytest.param({"kind": "Snapshot"}, set(), id="other-kind"),
        pytest.param({"queue": "queue-1"}, {1}, id="queue"),
        pytest.param({"result_state": "fail"}, {1}, id="state-of-the-result"),
        pytest.param({"result_state": "fail", "queue": "queue-0"}, set(), id="state-and-queue"),
    ],
)
def test_filters_narrow_every_listing_to_the_same_jobs(
    filled: SqlStore, fields: dict[str, Any], expected: set[int]
) -> None:
    filters, queries = Filters(**fields), Queries(filled.database)
    names = {f"job-{number}" for number in expected}

    assert {job.job_id for _, job in queries.jobs(filters=filters)} == names
    assert {stored.result.job_id for stored in queries.results(filters=filters)} == names
    assert {each.result.job_id for each in Deliveries(filled.database).page(filters=filters)} == names


def test_a_job_is_found_by_its_time_whichever_was_written_first(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = (2, 0, 3, 1)
    for hour in hours:
        at = NOON + timedelta(hours=hour)
        store.add_job(a_job(token=f"{hour:022}", job_id=f"job-{hour}", created_at=at))

    def found(**fields: Any) -> list[str]:
        times: dict[str, Any] = {name: NOON + timedelta(hours=hour) for name, hour in fields.items()}
        listed = Queries(store.database).jobs(filters=Filters(**times))
        return [job.job_id for _, job in listed]

    for many, times in ((0, 10), (1, 1), (2, 0), (10, 10)):  # more than that are not looked for
        monkeypatch.setattr(filters, "MANY_ROWS", many)
        monkeypatch.setattr(filters, "TIMES_READ", times)
        assert found(since=2) == ["job-3", "job-2"]
        assert found(since=1) == ["job-1", "job-3", "job-2"]
        assert found(until=2) == ["job-1", "job-0"]
        assert found(since=1, until=3) == ["job-1", "job-2"]
        assert found(since=4) == found(until=0) == []


@each_case(
    "fields",
    [
        pytest.param({"reference": "talk-0*"}, id="own"),
        pytest.param({"route": "covers"}, id="joined"),
        pytest.param({"function": "Cover", "queue": "queue-0"}, id="indexed"),
    ],
)
def test_a_page_looks_at_a_bounded_number_of_rows_and_the_next_one_goes_on(
    filled: SqlStore, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OWN_ROWS", "JOINED_ROWS", "TWICE_JOINED_ROWS"):
        monkeypatch.setattr(filters, name, 1)
    queries, every_delivery = Queries(filled.database), Deliveries(filled.database)
    narrowed = Filters(**fields)

    first = queries.results(filters=narrowed)
    assert (first, first.next) == ([], 2)
    second = queries.results(filters=narrowed, before=first.next)
    assert [stored.result.job_id for stored in second] == ["job-0"]
    assert second.next == 0
    assert [each.id for each in queries.results(filters=narrowed, limit=1, before=2)] == [1]

    for read in (queries.jobs, queries.results, every_delivery.page):
        found, before = [], 0
        for _ in range(3):
            page: Page[Any] = read(filters=narrowed, before=before)
            found += page
            if not (before := page.next):
                break
        assert len(found) == 1
        assert before == 0


def test_the_index_of_fewer_rows_leads_where_two_are_asked_for(
    filled: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then few rows are looked at, and all of them for one page."""
    narrowed = Filters(function="ASR")
    for frequent in (0, 2):
        monkeypatch.setattr(searching, "JOINED_ROWS", frequent)
        ((_, job),) = page = Queries(filled.database).jobs(state="fail", filters=narrowed)
        assert (job.job_id, page.next) == ("job-1", 0)
        assert Queries(filled.database).jobs(state="Lost", filters=narrowed) == []


def test_many_pending_deliveries_are_read_in_the_order_of_their_ids(
    filled: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their index is in another order, so that all of them would be sorted for one page."""
    monkeypatch.setattr(searching, "JOINED_ROWS", 1)
    monkeypatch.setattr(filters, "OWN_ROWS", 1)
    found = Deliveries(filled.database)

    first = found.page()
    assert ([each.id for each in first], first.next) == ([2], 2)
    assert [each.id for each in found.page(before=first.next)] == [1]
    assert found.page(states=[DeliveryState.RUNNING]) == []


def test_all_rows_are_acted_on_however_few_a_page_looks_at(
    filled: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "JOINED_ROWS", 1)
    rows = row_actions.every_row(PendingDeliveries(filled.database), Filters(queue="queue-0"))
    assert [each.result.job_id for each in rows] == ["job-0"]


def test_dead_letters_are_filtered_by_the_time_of_their_failure(filled: SqlStore) -> None:
    for number, delivery in enumerate(filled.claim(a_claim(), at=NOON + timedelta(hours=2))):
        at = NOON + timedelta(days=1 + number)
        filled.settle([Settlement(delivery=delivery, outcome=Dead(reason="no use"))], at=at)
    letters = DeadLetters(filled.database)

    assert len(letters.page(filters=Filters(since=NOON + timedelta(hours=3)))) == 2
    assert len(letters.page(filters=Filters(until=NOON + timedelta(days=1, hours=1)))) == 1


def test_jobs_are_listed_with_the_states_of_their_deliveries(filled: SqlStore) -> None:
    first = filled.claim(a_claim(limit=1), at=NOON)
    filled.settle([Settlement(delivery=each, outcome=Done()) for each in first], at=NOON)
    filled.add_job(a_job(token="no-result", job_id="job-2", reference=""))
    queries = Queries(filled.database)
    rows = {job.job_id: row for row, job in queries.jobs()}

    assert queries.delivery_counts(list(rows.values())) == {
        rows["job-0"]: {"done": 1},
        rows["job-1"]: {"pending": 1},
    }


def test_names_are_found_by_their_beginning_once_for_each_job(filled: SqlStore) -> None:
    other = a_result(job_id="job-unknown")
    filled.record([a_decoded_message(message=a_message(message_id="x"), result=other)], routes_all(), at=NOON)
    queries = Queries(filled.database)

    assert queries.names_starting_with("job-", limit=9) == ["job-0", "job-1", "job-unknown"]
    assert queries.names_starting_with("job-", limit=2) == ["job-0", "job-1"]
    assert queries.names_starting_with("talk-1", limit=9) == ["talk-1"]
    assert queries.names_starting_with("JOB", limit=9) == []
    assert queries.jobs_starting_with("job-", limit=9) == ["job-0", "job-1"]
    assert queries.jobs_starting_with("talk-1", limit=9) == ["talk-1"]
    assert queries.jobs_starting_with("JOB", limit=9) == []


def test_names_of_every_kind_are_found_by_their_beginning_in_the_order_of_code_points(
    store: SqlStore,
) -> None:
    """Whatever the locale of the database: there, a hyphen may count for nothing, and upper case follow lower case."""
    for number, name in enumerate(("ü-a", "a-", "aa", "A-b", "a-\U0001f600", "a-b")):
        store.add_job(a_job(token=f"token-{number}", job_id=f"id-{number}", reference=name))
    unknown = (
        a_result(job_id="a-progress", state="Running"),
        a_result(job_id="a-ended"),
        a_result(job_id="", run_id="a-run"),
        *(decoded.result for decoded in events_of_medium(1, media_id="a-medium") if decoded.result),
    )
    batch = [
        a_decoded_message(message=a_message(message_id=str(number)), result=result)
        for number, result in enumerate(unknown)
    ]
    store.record(batch, routes_all(), at=NOON)
    queries = Queries(store.database)

    found = ["a-", "a-b", "a-\U0001f600"]
    assert queries.jobs_starting_with("a-", limit=9) == found
    assert queries.jobs_starting_with("a-", limit=2) == found[:2]
    unknown_names = ["a-ended", "a-medium", "a-progress", "a-run"]
    assert queries.names_starting_with("a-", limit=9) == sorted([*found, *unknown_names])


def test_unsettled_deliveries_are_listed_and_others_on_request(filled: SqlStore) -> None:
    filled.claim(a_claim(limit=1), at=NOON)
    found = Deliveries(filled.database)

    assert [each.state for each in found.page()] == [DeliveryState.PENDING, DeliveryState.RUNNING]
    assert [each.state for each in found.page(states=[DeliveryState.RUNNING])] == [DeliveryState.RUNNING]
    assert len(found.page(states=[DeliveryState.DONE, DeliveryState.PENDING])) == 1
    assert found.page(states=[DeliveryState.DROPPED]) == []


def test_a_retry_makes_pending_deliveries_due_and_spends_nothing(store: SqlStore) -> None:
    store.record([a_decoded_message()], routes_all(), at=NOON)
    (delivery,) = store.claim(a_claim(), at=NOON)
    found = Deliveries(store.database)
    assert found.retry([delivery.id], at=NOON) == []  # it runs

    retry = RetryAfter(wait=timedelta(hours=3), reason="busy")
    store.settle([Settlement(delivery=delivery, outcome=retry)], at=NOON)
    assert store.claim(a_claim(), at=LATER) == ()
    assert found.retry([delivery.id, 777], at=LATER) == [delivery.id]
    (again,) = store.claim(a_claim(), at=LATER)
    assert (again.attempt, again.failures) == (2, 1)


def test_a_retry_is_due_though_the_clock_is_set_back(store: SqlStore) -> None:
    store.record([a_decoded_message()], routes_all(), at=NOON)
    (delivery,) = Deliveries(store.database).page()
    Deliveries(store.database).retry([delivery.id], at=NOON + timedelta(hours=3))

    store.reschedule_future(at=LATER, longest_query_wait=timedelta(hours=1))

    assert [each.id for each in store.claim(a_claim(), at=LATER)] == [delivery.id]


def test_a_cancelled_delivery_is_a_dead_letter_that_can_be_replayed(store: SqlStore) -> None:
    results = [a_result(job_id=f"job-{number}") for number in range(3)]
    messages = [a_message(message_id=str(number)) for number in range(3)]
    batch = [
        a_decoded_message(message=message, result=result)
        for message, result in zip(messages, results, strict=True)
    ]
    store.record(batch, routes_all(), at=NOON)
    first, second = store.claim(a_claim(limit=2), at=NOON)
    store.settle([Settlement(delivery=first, outcome=RetryAfter(wait=LATER - NOON, reason="busy"))], at=NOON)
    found, letters = Deliveries(store.database), DeadLetters(store.database)
    ids = sorted(delivery.id for delivery in found.page())

    assert found.cancel(ids, at=NOON) == [row for row in ids if row != second.id]
    assert sorted(states(store)) == ["dead", "dead", "running"]
    assert {letter.last_error for letter in letters.page()} == {
        "cancelled by an operator",
        "cancelled by an operator; last error: busy",
    }
    assert store.claim(a_claim(), at=LATER) == ()
    assert letters.replay([first.id], routes_all(), at=LATER).ids == [first.id]
    assert [each.id for each in store.claim(a_claim(), at=LATER)] == [first.id]


def test_a_handler_that_returns_after_the_cancellation_is_done(store: SqlStore) -> None:
    """Its lease had expired, so that its delivery was pending again."""
    store.record([a_decoded_message()], routes_all(), at=NOON)
    (delivery,) = store.claim(a_claim(), at=NOON)
    store.rescue_expired(
        lambda _delivery: RetryAfter(wait=timedelta(0), reason="lease expired"), at=LATER, limit=9
    )
    assert Deliveries(store.database).cancel([delivery.id], at=LATER) == [delivery.id]

    store.settle([Settlement(delivery=delivery, outcome=Done())], at=LATER)

    assert states(store) == ["done"]


def test_overdue_jobs_that_wait_for_their_next_query_are_listed(store: SqlStore) -> None:
    store.add_job(a_job(deadline_at=NOON))
    queries = Queries(store.database)
    assert queries.overdue_waiting(at=LATER, limit=9) == []  # it is due

    (job,) = store.claim_overdue(at=LATER, until=LATER + SECOND, limit=9)
    store.postpone(job, until=LATER + timedelta(hours=1), asked=True)
    ((waiting, next_query),) = queries.overdue_waiting(at=LATER, limit=9)

    assert (waiting.job_id, next_query) == (job.job_id, LATER + timedelta(hours=1))
    assert queries.overdue_waiting(at=NOON - SECOND, limit=9) == []  # not overdue yet


def test_only_jobs_that_have_ended_are_found_by_their_tokens(store: SqlStore) -> None:
    for number in range(5):
        store.add_job(a_job(token=f"token-{number}", job_id="", reference=""))
    store.refuse_job("token-1", "no", NOON)
    store.refuse_job("token-3", "no", NOON)

    found = Queries(store.database).finished(["token-0", "token-1", "token-2", "token-3", "unknown"])
    assert sorted(found) == ["token-1", "token-3"]


def test_of_rows_that_an_index_picks_fewer_are_looked_at(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "JOINED_ROWS", 6)
    monkeypatch.setattr(searching, "SCATTERED", 3)
    parked = RoutingDecision(status=ResultStatus.PARKED)
    store.record(decoded_messages(5), lambda _result, _job, _queue: parked, at=NOON)
    elsewhere = Filters(route="covers")
    queries = Queries(store.database)

    in_any_state = queries.results(filters=elsewhere)
    in_this_state = queries.results(status=ResultStatus.PARKED, filters=elsewhere)
    assert [(page, page.next) for page in (in_any_state, in_this_state)] == [([], 0), ([], 4)]


def test_a_history_can_be_read_in_pages_with_the_newest_results_first(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.store.queries.ATTEMPTS_EACH", 1)
    store.record(events_of_medium(5), routes_all(), at=NOON)
    for second in range(2):
        at = NOON + second * SECOND
        again = RetryAfter(wait=timedelta(0), reason="busy")
        claimed = store.claim(a_claim(until=at + SECOND), at=at)
        store.settle([Settlement(delivery=each, outcome=again) for each in claimed], at=at)
    found, before = [], 0
    for _ in range(3):
        page = Queries(store.database).history("v", before=before, limit=2)
        assert page
        found.append(([each.id for each in page.results], [each.attempt for each in page.attempts]))
        assert [each.result.event for each in page.deliveries] == [each.result.event for each in page.results]
        before = page.next

    assert found == [([4, 5], [2, 2]), ([2, 3], [2, 2]), ([1], [1, 2])]  # the newest attempts
    assert before == 0
    whole = Queries(store.database).history("v")
    assert whole
    assert (len(whole.results), len(whole.attempts), whole.next) == (5, 10, 0)


def test_a_page_after_the_last_of_a_history_is_empty(store: SqlStore) -> None:
    store.record(events_of_medium(2), routes_all(), at=NOON)
    found = Queries(store.database)

    page = found.history("v", before=1, limit=2)
    assert page
    assert (page.results, page.next) == ([], 0)
    assert found.history("w", before=1, limit=2) is None
    assert [found.is_known(name) for name in ("v", "w")] == [True, False]
