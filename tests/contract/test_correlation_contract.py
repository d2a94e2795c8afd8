"""What the store says about a result in advance is what recording it then does, on each supported database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from listener.core.model import Dead, JobState, Settlement, Target
from listener.store.queries import Correlated, Queries
from listener.store.sql_store import SqlStore
from tests.support.builders import (
    NOON,
    TOKEN,
    a_claim,
    a_decoded_message,
    a_job,
    a_message,
    a_result,
    routes_all,
)
from tests.support.stores import the_job

OTHER = "z" * 22
#: Texts with characters that mean something where many values are passed to a database at once.
SPECIAL = (
    'a"b',
    "a\\b",
    '\\"',
    "\\",
    "a,b",
    "{}",
    '{"a"}',
    "NULL",
    "null",
    " a ",
    "a\nb",
    "'",
    "%s",
    "%(x)s",
    "你好",
)


@pytest.fixture
def jobs(store: SqlStore) -> SqlStore:
    """A job, an intent whose submitter never learned its id, and one that was declared lost."""
    store.add_job(a_job(job_id="known"))
    store.add_job(a_job(token=OTHER, job_id="", state=JobState.INTENT, submitted_at=None))
    return store


@pytest.mark.parametrize(
    ("result", "token", "found_by"),
    [
        pytest.param({"job_id": "known"}, TOKEN, "job id", id="job-id"),
        pytest.param({"job_id": "", "run_id": "known", "type": "Report"}, TOKEN, "run id", id="run-id"),
        pytest.param(
            {"job_id": "", "run_id": "r", "type": "Report", "activity_job_ids": ("x", "known")},
            TOKEN,
            "id of an activity",
            id="activity",
        ),
        pytest.param({"job_id": "new", "token": OTHER}, OTHER, "token", id="token"),
        pytest.param({"job_id": "new", "token": TOKEN}, None, "", id="token-of-another-job"),
        pytest.param({"job_id": "known", "token": OTHER}, TOKEN, "job id", id="copied-token"),
        pytest.param({"job_id": "known", "event": "known/E@1"}, None, "", id="event-about-a-job-of-mps"),
        pytest.param({"job_id": "new"}, None, "", id="unknown"),
    ],
)
def test_the_job_of_a_result_is_told_in_advance(
    jobs: SqlStore, result: dict[str, Any], token: str | None, found_by: str
) -> None:
    given = a_result(**result)
    queries = Queries(jobs.database)

    before = queries.correlate(given)
    jobs.record([a_decoded_message(result=given)], routes_all(), at=NOON)

    (stored,) = queries.results()
    recorded = queries.jobs_of([stored.id]).get(stored.id)
    assert (before.job.token if before.job else None, before.found_by) == (token, found_by)
    assert (recorded.token if recorded else None) == token
    if before.job and recorded:
        assert before.job.job_id == recorded.job_id


def test_nothing_is_changed_by_asking(jobs: SqlStore) -> None:
    queries = Queries(jobs.database)
    before = [job for _, job in queries.jobs()]

    queries.correlate(a_result(job_id="new", token=OTHER))

    assert [job for _, job in queries.jobs()] == before


def test_what_is_recorded_in_the_place_of_a_result_is_told(jobs: SqlStore) -> None:
    queries, result = Queries(jobs.database), a_result(job_id="known", state="Fail")
    assert queries.correlate(result).recorded is None

    jobs.record([a_decoded_message(result=result)], routes_all(), at=NOON)

    recorded = queries.correlate(replace(result, state="Success")).recorded
    assert recorded is not None
    assert (recorded.state, recorded.decided) == ("Fail", True)
    assert queries.correlate(a_result(job_id="unheard-of")) == Correlated()


def test_the_deliveries_of_a_result_are_found_and_its_result_by_a_delivery(jobs: SqlStore) -> None:
    for number in range(2):
        result = a_result(job_id=f"job-{number}")
        message = a_message(message_id=str(number))
        jobs.record([a_decoded_message(message=message, result=result)], routes_all(), at=NOON)
    claimed = jobs.claim(a_claim(), at=NOON)
    jobs.settle([Settlement(delivery=each, outcome=Dead(reason="no use")) for each in claimed], at=NOON)
    queries = Queries(jobs.database)

    for stored in queries.results():
        (delivery,) = queries.deliveries_of(stored.id)
        assert delivery.result.job_id == stored.result.job_id
        assert queries.result_of_delivery(delivery.id) == stored.id
        assert queries.result(stored.id) == stored
    assert (queries.result_of_delivery(99), queries.result(99), list(queries.deliveries_of(99))) == (
        None,
        None,
        [],
    )


def test_names_and_texts_of_a_batch_may_have_any_characters(store: SqlStore) -> None:
    for number, text in enumerate(SPECIAL):
        store.add_job(a_job(token=f"{number:022d}", job_id=text))
    batch = [
        a_decoded_message(
            message=a_message(message_id=text),
            result=a_result(job_id=text, state="Fail", code="", message=text),
        )
        for text in SPECIAL
    ]
    targets = [Target(text, text) for text in SPECIAL[:2]]

    claimed = store.record(batch, routes_all(*targets), at=NOON, claim=a_claim(limit=100)).claimed

    stored = Queries(store.database).results()
    assert {(each.result.job_id, each.result.message) for each in stored} == {
        (text, text) for text in SPECIAL
    }
    for number, text in enumerate(SPECIAL):
        assert the_job(store, f"{number:022d}").error == f": {text}".strip(": ")
    assert len(claimed) == len(SPECIAL) * len(targets)
    assert {each.target for each in claimed} == set(targets)
