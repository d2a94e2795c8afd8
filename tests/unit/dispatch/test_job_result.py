"""The document that handlers get."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from listener.core.model import Delivery, JobResult, Source
from listener.core.outputs import Outputs
from listener.dispatch.job_result import job_result, outputs_of
from tests.support.builders import JOB_ID, a_delivery, a_job, a_result
from tests.support.cases import each_case
from tests.support.job_entries import ENTRIES


def test_every_field_has_its_own_value() -> None:
    submitted, recorded = datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 2, tzinfo=UTC)
    job = a_job(
        function="Cover",
        user_data='{"a": 1}',
        reference="talk-1",
        pipeline="pipe",
        input="oss://in/x",
        output="oss://out/x",
        submitted_at=submitted,
    )
    result = a_result(
        type="Transcode",
        code="Ok",
        message="well",
        details=("all",),
        media_id="v-1",
        source=Source.QUERY,
        raw="{}",
    )
    delivery = a_delivery(job=job, result=result, received_at=recorded, queue="q", attempt=3)

    assert job_result(delivery, traceparent="00-1-2-01") == JobResult(
        key=f"{JOB_ID}:Success:videos:log",
        attempt=3,
        route="videos",
        job_id=JOB_ID,
        type="Transcode",
        function="Cover",
        state="Success",
        code="Ok",
        message="well",
        details=("all",),
        user_data='{"a": 1}',
        data={"a": 1},
        reference="talk-1",
        run_id="",
        media_id="v-1",
        pipeline="pipe",
        queue="q",
        input="oss://in/x",
        output="oss://out/x",
        submitted_at=submitted,
        received_at=recorded,
        finished_at=recorded,
        source=Source.QUERY,
        outputs=None,
        activities=(),
        raw="{}",
        traceparent="00-1-2-01",
    )


def test_fields_of_the_job_are_added() -> None:
    job = a_job(reference="talk-1", pipeline="p", user_data='{"a": 1}')

    given = job_result(a_delivery(job=job, result=a_result(function="", type="")))

    assert (given.reference, given.pipeline, given.function) == ("talk-1", "p", "VideoH2V")
    assert given.type == "IProduction"
    assert (given.user_data, given.data, given.input) == ('{"a": 1}', {"a": 1}, job.input)


def test_what_we_submitted_takes_precedence_over_the_callback() -> None:
    job = a_job(user_data='{"a": 1}', function="Cover", pipeline="p")
    forged = a_result(user_data='{"a": 2}', function="VideoH2V", pipeline="q")

    given = job_result(a_delivery(job=job, result=forged))

    assert (given.user_data, given.data) == ('{"a": 1}', {"a": 1})
    assert (given.function, given.pipeline) == ("Cover", "p")


@each_case("input", ["oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4", ""])
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


ANSWER = '{"Code": "Success", "Data": {"result": [{"file": "out/a.mp4"}]}}'


def test_a_question_that_mps_refused_to_answer_brings_no_outputs() -> None:
    assert outputs_of(a_result(outputs=None), a_job()) is None
    assert outputs_of(a_result(outputs=""), a_job()) is None


def test_an_answer_without_a_result_brings_outputs_that_are_empty() -> None:
    assert outputs_of(a_result(outputs="null"), a_job()) == Outputs(raw="null")


@each_case("type_", ["IProduction", "", "Transcode"])
def test_a_job_with_a_function_is_of_smart_production_whatever_its_callback_says(type_: str) -> None:
    found = outputs_of(a_result(type=type_, outputs=ANSWER), a_job())

    assert found
    assert [file.bucket for file in found.files] == ["out-bucket"]


def test_files_of_an_unknown_job_are_in_the_bucket_that_the_query_named() -> None:
    output = "oss://queried.oss-cn-shanghai.aliyuncs.com/x"
    result = a_result(outputs=ANSWER, output=output)

    for job, bucket in ((None, "queried"), (a_job(output=""), "queried"), (a_job(), "out-bucket")):
        found = outputs_of(result, job)
        assert found
        assert [file.bucket for file in found.files] == [bucket]


def test_a_callback_without_a_type_is_one_of_smart_production() -> None:
    found = outputs_of(a_result(type="", outputs=ANSWER), None)

    assert found
    assert [file.path for file in found.files] == ["out/a.mp4"]


def test_another_kind_of_job_is_read_by_its_type() -> None:
    result = a_result(type="transcode", function="", outputs=json.dumps(ENTRIES["Transcode"]))

    found = job_result(a_delivery(result=result)).outputs

    assert found
    assert [file.path for file in found.files] == ["out/早.mp4", "out/a.srt"]


def test_a_callback_that_reports_what_was_produced_brings_outputs_without_a_query() -> None:
    raw = json.dumps({"JobId": "1", "Type": "MediaCensor", "State": "Success", "Result": "Block"})

    found = job_result(a_delivery(result=a_result(type="MediaCensor", function="", raw=raw))).outputs

    assert found
    assert (found.source, found.suggestion) == ("callback", "Block")


def test_the_report_of_a_workflow_has_its_activities() -> None:
    raw = json.dumps({"Type": "Report", "RunId": "1", "MediaWorkflowExecution": ENTRIES["Workflow"]})
    report = a_result(job_id="", run_id="1", type="Report", function="", raw=raw)

    given = job_result(a_delivery(result=report))

    assert [each.name for each in given.activities] == ["Act-1", "Act-Report", "Act-Skip"]
    assert given.outputs is None
    assert job_result(a_delivery()).activities == ()
