"""smarttag, FpShot and MediaCensor: what is particular to each kind."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from listener.core.job_kinds import FP_SHOT, MEDIA_CENSOR, SMARTTAG, JobKind
from listener.emulator import Options
from listener.emulator.server import RunningEmulator, running
from tests.support.emulated_jobs import (
    bind_pipeline,
    call_sdk,
    done,
    oss_file,
    parameters_of,
    query_job,
    received,
    submit_job,
)
from tests.support.emulator_clients import BareMns, BareMps, code, mps_client, next_callback


@pytest.fixture(autouse=True)
def bound(bare: BareMns, mps: BareMps) -> None:
    bind_pipeline(mps)


def test_smarttag_reports_that_it_has_started_and_that_it_has_ended(mps: BareMps, bare: BareMns) -> None:
    job_id = submit_job(mps, SMARTTAG)
    said = {"Type": "smarttag", "JobId": job_id, "UserData": "order-7"}

    assert [next_callback(bare) for _ in range(2)] == [
        said | {"State": "Processing"},
        said | {"State": "Success"},
    ]


def test_data_of_a_smarttag_result_is_json_text(server: RunningEmulator, mps: BareMps) -> None:
    job_id = submit_job(mps, SMARTTAG)
    received(server.url, 2)
    results = query_job(mps, SMARTTAG, job_id)["Results"]["Result"]

    assert [result["Type"] for result in results] == ["VideoLabel", "TextLabel"]
    assert json.loads(results[0]["Data"])["tags"][0]["subTagName"] == "Beach"


@pytest.mark.parametrize(
    ("kind", "parameters", "expected"),
    [
        pytest.param(SMARTTAG, {"Title": ""}, "MissingParameter", id="smarttag-title"),
        pytest.param(SMARTTAG, {"PipelineId": ""}, "MissingParameter", id="smarttag-pipeline"),
        pytest.param(SMARTTAG, {"Input": ""}, "MissingParameter", id="smarttag-content"),
        pytest.param(SMARTTAG, {"NotifyUrl": "mns://a.mns.b/queues/q"}, "InvalidParameter.Format", id="smarttag-url"),
        pytest.param(SMARTTAG, {"UserData": "x" * 1025}, "InvalidParameter.OutOfRange", id="smarttag-user-data"),
        pytest.param(FP_SHOT, {"FpShotConfig": ""}, "MissingParameter", id="fpshot-config"),
        pytest.param(FP_SHOT, {"UserData": "x" * 129}, "InvalidParameter.OutOfRange", id="fpshot-user-data"),
        pytest.param(MEDIA_CENSOR, {"VideoCensorConfig": ""}, "MissingParameter", id="censor-config"),
        pytest.param(MEDIA_CENSOR, {"UserData": "x" * 129}, "InvalidParameter.OutOfRange", id="censor-user-data"),
        pytest.param(MEDIA_CENSOR, {"Title": "x" * 65}, "InvalidParameter.OutOfRange", id="censor-title"),
        pytest.param(MEDIA_CENSOR, {"CoverImages": "[7]"}, "InvalidParameter.JsonObjectFormatInvalid", id="cover"),
        pytest.param(
            MEDIA_CENSOR, {"CoverImages": f"[{','.join([oss_file()] * 6)}]"}, "InvalidParameter.OutOfRange", id="covers"
        ),
        pytest.param(
            MEDIA_CENSOR, {"VideoCensorConfig": '{"OutputFile":{}}'}, "InvalidParameter.BucketNameInvalid", id="output"
        ),
    ],
)  # fmt: skip
def test_wrong_submission_is_refused(
    mps: BareMps, kind: JobKind, parameters: dict[str, str], expected: str
) -> None:
    assert code(mps.call(kind.submitted_by, **parameters_of(kind, **parameters))) == (400, expected)


def test_smarttag_takes_an_address_of_the_content_and_one_for_http_callbacks(mps: BareMps) -> None:
    submit_job(mps, SMARTTAG, Input="", ContentAddr="http://127.0.0.1/a", NotifyUrl="https://127.0.0.1/b")


def test_fingerprints_are_in_the_query_and_in_the_callback(mps: BareMps, bare: BareMns) -> None:
    job_id = submit_job(mps, FP_SHOT)
    callback = next_callback(bare)
    job = query_job(mps, FP_SHOT, job_id)

    assert list(callback) == ["Type", "UserData", "JobId", "State", "FpShots"]
    assert job["FpShotResult"]["FpShots"]["FpShot"] == callback["FpShots"]
    assert job["FpShotConfig"] == {"FpDBId": "library", "PrimaryKey": "7", "SaveType": "nosave"}


@pytest.mark.parametrize(
    ("key", "cover", "expected"),
    [
        ("in/film.mp4", "in/cover.jpg", "Pass"),
        ("in/review.mp4", "in/cover.jpg", "Review"),
        ("in/review.mp4", "in/block.jpg", "Block"),
        ("in/block.mp4", "in/review.jpg", "Block"),
    ],
)
def test_most_severe_suggestion_is_the_result(
    server: RunningEmulator, mps: BareMps, bare: BareMns, key: str, cover: str, expected: str
) -> None:
    job_id = submit_job(mps, MEDIA_CENSOR, key=key, CoverImages=f"[{oss_file(cover)}]")
    callback = next_callback(bare)
    job = query_job(mps, MEDIA_CENSOR, job_id)
    detail = call_sdk(mps_client(server.port), "QueryMediaCensorJobDetail", {"JobId": job_id})

    assert (callback["Result"], callback["TitleCensorResult"]["Suggestion"]) == (expected, "pass")
    assert job["Suggestion"] == expected.lower()
    assert detail["MediaCensorJobDetail"] == job


def test_detail_of_an_unknown_review_is_an_error(mps: BareMps) -> None:
    response = mps.call("QueryMediaCensorJobDetail", JobId="0" * 32)

    assert code(response) == (404, "InvalidParameter.ResourceNotFound")


@pytest.mark.parametrize(
    ("kind", "wrapper"), [(FP_SHOT, "FpShotJobNotify"), (MEDIA_CENSOR, "MediaCensorJobNotify")]
)
@pytest.mark.parametrize("key", ["in/film.mp4", "in/fail.mp4"])
def test_members_may_be_nested(kind: JobKind, wrapper: str, key: str) -> None:
    with running(Options(nested_notify=True, job_seconds=0, queues=("q", "raw"))) as server:
        mps, bare = BareMps(server.url), BareMns(server.url)
        with mps.http, bare.http:
            bind_pipeline(mps)
            job_id = submit_job(mps, kind, key=key)
            (result,) = received(server.url)
            bind_pipeline(mps, "raw")
            submit_job(mps, kind, key=key)
            callback = next_callback(bare, "raw")

    assert list(callback) == ["Type", "UserData", wrapper]
    assert (result.type, result.job_id, result.user_data) == (kind.name, job_id, "order-7")
    assert result.state == ("Fail" if "fail" in key else "Success")


def test_xml_leaves_out_members_that_cannot_be_elements(mps: BareMps) -> None:
    config = json.dumps({"FpDBId": "a<b", "no element": "x", "<": "x"})
    job_id = submit_job(mps, FP_SHOT, FpShotConfig=config)
    root = ElementTree.fromstring(mps.call(FP_SHOT.queried_by, Format="XML", JobIds=job_id).content)

    assert [(child.tag, child.text) for child in root.iterfind(".//FpShotConfig/*")] == [("FpDBId", "a<b")]


def test_reviews_of_one_pipeline_are_listed(mps: BareMps) -> None:
    job_id = submit_job(mps, MEDIA_CENSOR)
    pipeline = parameters_of(MEDIA_CENSOR)["PipelineId"]
    submit_job(mps, MEDIA_CENSOR, PipelineId="")
    listed = done(mps.call(MEDIA_CENSOR.queried_by, PipelineId=pipeline))["MediaCensorJobList"]

    assert [job["JobId"] for job in listed["MediaCensorJob"]] == [job_id]
