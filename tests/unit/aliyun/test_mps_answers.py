"""The replies of the queries, in the shapes of the SDK's models."""

from __future__ import annotations

import json
from typing import Any

import pytest

from listener.aliyun.mps_answers import answers
from listener.core.errors import MpsUnavailable
from listener.core.job_kinds import (
    ANALYSIS,
    FP_SHOT,
    IPRODUCTION,
    JOB_KINDS,
    MEDIA_CENSOR,
    MEDIA_INFO,
    SMARTTAG,
    SNAPSHOT,
    TRANSCODE,
    WORKFLOW,
    JobKind,
)
from listener.core.model import Source
from tests.support.cases import each_case

OUTPUT = "oss://bucket.oss-cn-shanghai.aliyuncs.com/out/{sequenceId}.jpg"
#: One job of each kind that has ended well, as its query reports it.
ENDED: dict[JobKind, dict[str, Any]] = {
    IPRODUCTION: {
        "JobId": "7",
        "FunctionName": "Cover",
        "State": "Success",
        "Output": OUTPUT,
        "Result": '{"Code":"Success","Message":"success"}',
        "UserData": "covers:7",
        "PipelineId": "pipe",
    },
    TRANSCODE: {
        "JobId": "7",
        "State": "TranscodeSuccess",
        "PipelineId": "pipe",
        "Output": {"UserData": "covers:7", "OutputFile": {"Bucket": "b", "Object": "o.mp4"}},
    },
    SNAPSHOT: {"Id": "7", "State": "Success", "UserData": "covers:7", "Count": "3", "PipelineId": "pipe"},
    ANALYSIS: {"Id": "7", "State": "Success", "UserData": "covers:7", "PipelineId": "pipe"},
    MEDIA_INFO: {"JobId": "7", "State": "Success", "UserData": "covers:7", "PipelineId": "pipe"},
    SMARTTAG: {"JobStatus": "Success", "UserData": "covers:7", "Results": {"Result": []}},
    FP_SHOT: {"Id": "7", "State": "Success", "UserData": "covers:7", "PipelineId": "pipe"},
    MEDIA_CENSOR: {"JobId": "7", "State": "Success", "UserData": "covers:7", "PipelineId": "pipe"},
    WORKFLOW: {"RunId": "7", "State": "Completed", "Input": {"UserData": "covers:7"}},
}

by_kind = pytest.mark.parametrize("kind", JOB_KINDS, ids=lambda kind: kind.name)


def reply(kind: JobKind, *jobs: Any) -> dict[str, Any]:
    """The body of a reply with these jobs."""
    if not kind.entries:
        return dict(*jobs)
    body: Any = list(jobs)
    for name in reversed(kind.entries):
        body = {name: body}
    return {"RequestId": "r", **body}


@by_kind
def test_the_end_of_a_job_is_found_in_the_reply_of_each_query(kind: JobKind) -> None:
    result = answers(kind, ["7"], reply(kind, ENDED[kind]))["7"].result

    assert (result.state, result.source, result.user_data) == ("Success", Source.QUERY, "covers:7")
    assert (result.job_id, result.run_id) == (("", "7") if kind is WORKFLOW else ("7", ""))
    assert result.type == ("Report" if kind is WORKFLOW else kind.name)
    assert result.pipeline == ("" if kind in (SMARTTAG, WORKFLOW) else "pipe")


@by_kind
def test_why_a_job_failed_is_found_in_the_reply_of_each_query(kind: JobKind) -> None:
    code = {"Code": "InvalidParameter.X", "Message": "bad"}
    said = {"Result": json.dumps(code)} if kind is IPRODUCTION else code
    job = ENDED[kind] | {kind.state: "Fail"} | said
    result = answers(kind, ["7"], reply(kind, job))["7"].result

    assert result.state == "Fail"
    if kind is not WORKFLOW:  # of which the single activities tell
        assert (result.code, result.message) == ("InvalidParameter.X", "bad")


@by_kind
def test_what_a_job_produced_is_kept_as_it_is_reported(kind: JobKind) -> None:
    result = answers(kind, ["7"], reply(kind, ENDED[kind]))["7"].result

    assert result.outputs is not None
    if kind is IPRODUCTION:
        assert (result.outputs, result.output) == (ENDED[kind]["Result"], OUTPUT)
    else:
        assert (json.loads(result.outputs), result.output) == (ENDED[kind], "")


@each_case("nothing", [{}, {"Result": None}, {"Result": ""}], ids=str)
def test_smart_production_without_a_result_is_told_from_no_answer(nothing: dict[str, Any]) -> None:
    job = {"JobId": "7", "State": "Success", **nothing}

    assert answers(IPRODUCTION, ["7"], job)["7"].result.outputs == "null"


def test_a_result_that_is_no_text_is_read_all_the_same() -> None:
    job = {"JobId": "7", "State": "Fail", "Result": {"Code": "InvalidParameter.X"}}
    result = answers(IPRODUCTION, ["7"], job)["7"].result

    assert (result.code, json.loads(result.outputs or "")) == ("InvalidParameter.X", job["Result"])


@each_case("kind", [kind for kind in JOB_KINDS if kind.entries], ids=lambda kind: kind.name)
def test_jobs_that_mps_does_not_know_are_missing(kind: JobKind) -> None:
    jobs = [ENDED[kind] | {kind.id: job_id} for job_id in ("7", "8", "never asked for")]

    assert set(answers(kind, ["7", "8", "9"], reply(kind, *jobs))) == {"7", "8"}


@each_case(
    "strange",
    [{"JobList": None}, {"JobList": []}, {"JobList": {"Job": "x"}}, {"JobList": {"Job": [1]}}],
    ids=str,
)
def test_a_reply_without_jobs_tells_nothing(strange: dict[str, Any]) -> None:
    assert answers(TRANSCODE, ["7"], strange) == {}


def test_a_job_that_cannot_be_decoded_is_no_outcome() -> None:
    with pytest.raises(MpsUnavailable, match="QueryJobList for 7 returned a reply that cannot be decoded"):
        answers(TRANSCODE, ["7"], reply(TRANSCODE, {"JobId": "7", "State": "Lost"}))


@by_kind
def test_a_reply_without_any_member_is_no_answer(kind: JobKind) -> None:
    with pytest.raises(MpsUnavailable):
        answers(kind, ["7"], {})


@each_case("kind", [IPRODUCTION, SMARTTAG], ids=lambda kind: kind.name)
def test_a_reply_about_another_job_is_no_answer(kind: JobKind) -> None:
    with pytest.raises(MpsUnavailable, match="it is about 8"):
        answers(kind, ["7"], ENDED[kind] | {"JobId": "8"})


@by_kind
def test_numbers_that_strict_json_does_not_have_are_kept_as_text(kind: JobKind) -> None:
    job = ENDED[kind] | {"Result" if kind is IPRODUCTION else "Fps": {"Fps": float("nan")}}
    outputs = answers(kind, ["7"], reply(kind, job))["7"].result.outputs

    assert '{"Fps":"NaN"}' in (outputs or "")
