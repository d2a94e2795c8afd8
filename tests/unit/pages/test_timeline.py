"""The history of a job in the order in which it happened."""

from __future__ import annotations

from datetime import timedelta

from listener.core.model import Attempt, DeliveryState, JobState, ResultStatus, Source
from listener.pages.timeline import timeline
from listener.store.queries import JobHistory, StoredResult
from listener.store.sql_store import SqlStore
from tests.support.builders import (
    NOON,
    a_decoded_message,
    a_delivery,
    a_job,
    a_result,
    an_accepted_job,
    routes_all,
)
from tests.support.pages import Browser

MINUTE = timedelta(minutes=1)


def a_stored_result(**fields: object) -> StoredResult:
    given = {
        "id": 1,
        "result": a_result(),
        "queue": "mps-callbacks",
        "status": ResultStatus.ROUTED,
        "received_at": NOON + 2 * MINUTE,
        "copies": 1,
        "contradictions": 0,
    }
    return StoredResult(**(given | fields))  # type: ignore[arg-type] # fields of any type


def titles(history: JobHistory) -> list[str]:
    return [event.title for event in timeline(history)]


def test_a_job_is_followed_from_its_intent_to_its_handler() -> None:
    done = a_delivery(state=DeliveryState.DONE, created_at=NOON + 2 * MINUTE, settled_at=NOON + 3 * MINUTE)
    job = a_job(submitted_at=NOON + MINUTE)
    history = JobHistory(job=job, results=[a_stored_result()], deliveries=[done])

    assert titles(history) == ["Intent stored", "Submitted", "Callback received", "Handled"]
    assert timeline(history)[2].raw == a_result().raw


def test_a_job_that_was_only_accepted_has_no_intent_yet() -> None:
    history = JobHistory(job=an_accepted_job("talk-7"), results=[], deliveries=[])

    assert titles(history) == ["Accepted"]


def test_what_went_wrong_says_why() -> None:
    refused = a_job(
        state=JobState.REFUSED, error="no such pipeline", submitted_at=None, finished_at=NOON + MINUTE
    )
    dead = a_delivery(state=DeliveryState.DEAD, settled_at=NOON, last_error="boom")
    waiting = a_delivery(state=DeliveryState.PENDING, last_error="retry", attempt=2)

    assert [event.error for event in timeline(JobHistory(job=refused, results=[], deliveries=[]))] == [
        "",
        "no such pipeline",
    ]
    events = timeline(JobHistory(job=None, results=[], deliveries=[dead, waiting]))
    assert [(event.title, event.state, event.error) for event in events] == [
        ("Dead letter", "", "boom"),
        ("Delivery", "pending", "retry"),
    ]


def test_failed_attempts_stand_before_the_one_that_was_done() -> None:
    done = a_delivery(state=DeliveryState.DONE, attempt=3, settled_at=NOON + 9 * MINUTE)
    failed = [
        Attempt(
            delivery_id=1,
            attempt=number,
            outcome="retry" if number < 3 else "done",
            error=f"no answer {number}",
            owner="host:1",
            started_at=None,
            seconds=1.5,
            settled_at=NOON + 3 * number * MINUTE,
        )
        for number in (1, 2, 3)
    ]
    events = timeline(JobHistory(job=None, results=[], deliveries=[done], attempts=failed))

    assert [(event.title, event.error) for event in events] == [
        ("Attempt 1 failed", "no answer 1"),
        ("Attempt 2 failed", "no answer 2"),
        ("Handled", ""),
    ]
    assert dict(events[0].facts)["took"] == "2s"


def test_each_way_in_which_an_outcome_comes_has_its_words() -> None:
    for source in Source:
        history = JobHistory(
            job=None, results=[a_stored_result(result=a_result(source=source))], deliveries=[]
        )
        assert titles(history)[0] != str(source)


def test_copies_and_contradictions_are_counted() -> None:
    stored = a_stored_result(copies=3, contradictions=1)
    [event] = timeline(JobHistory(job=None, results=[stored], deliveries=[]))

    assert {"copies": "3", "contradictions": "1"}.items() <= dict(event.facts).items()


def test_the_page_shows_it_also_for_a_job_that_is_not_known(browser: Browser, store: SqlStore) -> None:
    store.record([a_decoded_message(result=a_result(job_id="other"))], routes_all(), at=NOON)
    store.add_job(a_job())

    unknown = browser.text("/job?name=other")
    assert "but no job" in unknown
    assert "Callback received" in unknown
    assert "No outcome yet" not in unknown
    assert "No outcome yet" in browser.text(f"/job?name={a_job().job_id}")


def test_a_workflow_that_is_not_known_has_no_outcome_before_its_end(
    browser: Browser, store: SqlStore
) -> None:
    store.record([a_decoded_message(result=a_result(job_id="other", state="Started"))], routes_all(), at=NOON)

    assert "No outcome yet" in browser.text("/job?name=other")


def test_the_path_that_a_job_has_in_the_api_leads_to_its_page(browser: Browser) -> None:
    reply = browser.call("GET", "/jobs/talks/7%20a%3F")

    assert (reply.status_code, reply.headers["location"]) == (303, "/job?name=talks%2F7+a%3F")


def test_errors_are_sentences(browser: Browser) -> None:
    unknown = browser.call("GET", "/job?name=nothing")
    outdated = browser.call("POST", "/dead-letters/replay", data={"csrf": "0"})

    assert (unknown.status_code, "No job, workflow or medium is named" in unknown.text) == (404, True)
    assert (outdated.status_code, "This form is out of date" in outdated.text) == (403, True)
