"""The document that handlers get."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from listener.core.model import Delivery
from listener.dispatch.job_result import job_result
from tests.support.builders import a_delivery, a_job, a_result


def test_fields_of_the_job_are_added() -> None:
    job = a_job(reference="talk-1", pipeline="p", user_data='{"a": 1}')

    given = job_result(a_delivery(job=job, result=a_result(function="")))

    assert (given.reference, given.pipeline, given.function) == ("talk-1", "p", "VideoH2V")
    assert (given.user_data, given.data, given.input) == ('{"a": 1}', {"a": 1}, job.input)


def test_what_we_submitted_takes_precedence_over_the_callback() -> None:
    job = a_job(user_data='{"a": 1}', function="Cover", pipeline="p")
    forged = a_result(user_data='{"a": 2}', function="VideoH2V", pipeline="q")

    given = job_result(a_delivery(job=job, result=forged))

    assert (given.user_data, given.data) == ('{"a": 1}', {"a": 1})
    assert (given.function, given.pipeline) == ("Cover", "p")


@pytest.mark.parametrize("input", ["oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4", ""])
def test_a_callback_cannot_add_user_data_to_a_job_that_we_submitted_without_any(input: str) -> None:
    given = job_result(a_delivery(job=a_job(input=input), result=a_result(user_data='{"a": 1}')))

    assert (given.user_data, given.data) == (None, {})


def test_user_data_of_the_callback_is_not_lost_to_a_registered_job_without_any() -> None:
    given = job_result(a_delivery(job=a_job(params=""), result=a_result(user_data='{"a": 1}')))

    assert (given.user_data, given.data) == ('{"a": 1}', {"a": 1})


def test_without_a_job_there_is_the_callback() -> None:
    given = job_result(a_delivery(result=a_result(user_data="mine:1")))

    assert (given.user_data, given.data, given.reference, given.input) == ("mine:1", {}, "", "")


def test_the_key_stays_and_the_attempt_counts() -> None:
    first: Delivery = a_delivery()
    second = a_delivery(attempt=2, created_at=datetime(2030, 1, 1, tzinfo=UTC))

    assert job_result(first).key == job_result(second).key
    assert (job_result(first).attempt, job_result(second).attempt) == (1, 2)


def test_an_outcome_has_the_times_at_which_it_was_submitted_and_recorded() -> None:
    recorded = datetime(2030, 1, 1, tzinfo=UTC)
    job = a_job()

    given = job_result(a_delivery(job=job, received_at=recorded))

    assert (given.submitted_at, given.received_at, given.finished_at) == (
        job.submitted_at,
        recorded,
        recorded,
    )


def test_progress_has_not_finished() -> None:
    given = job_result(a_delivery(result=a_result(state="Processing")))

    assert (given.received_at is None, given.finished_at) == (False, None)
