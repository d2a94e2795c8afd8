"""Transcode, Snapshot, Analysis and MediaInfo: what is particular to each kind."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from listener.core.job_kinds import ANALYSIS, MEDIA_INFO, SNAPSHOT, TRANSCODE, JobKind
from listener.emulator import Options
from listener.emulator.faults import Fault, FaultKind
from listener.emulator.server import RunningEmulator, running
from tests.support.emulated_jobs import (
    bind_pipeline,
    call_sdk,
    done,
    job_ids,
    oss_file,
    parameters_of,
    query_job,
    received,
    submit_job,
)
from tests.support.emulator_clients import (
    BareMns,
    BareMps,
    code,
    elements,
    fields_of,
    mps_client,
    next_callback,
)
from tests.support.waiting import wait_until

PICTURES = {"Bucket": "example-bucket", "Location": "oss-cn-shanghai", "Object": "out/{Count}.jpg"}


@pytest.fixture(autouse=True)
def bound(bare: BareMns, mps: BareMps) -> None:
    bind_pipeline(mps)


def snapshot_config(**members: Any) -> str:
    return json.dumps({"OutputFile": PICTURES, **members})


def test_callback_has_each_key_in_both_casings(mps: BareMps, bare: BareMns) -> None:
    reply = done(mps.call(MEDIA_INFO.submitted_by, **parameters_of(MEDIA_INFO)))
    job_id = reply["MediaInfoJob"]["JobId"]
    said = {
        "JobId": job_id,
        "RequestId": reply["RequestId"],
        "Type": "MediaInfo",
        "State": "Success",
        "UserData": "order-7",
    }

    assert next_callback(bare) == said | {name[0].lower() + name[1:]: value for name, value in said.items()}


def test_callback_of_a_failure_has_the_documented_names(mps: BareMps, bare: BareMns) -> None:
    submit_job(mps, SNAPSHOT, SnapshotConfig=snapshot_config(TimeArray=[1000, 20_000]))
    callback = next_callback(bare)

    assert (callback["code"], callback["state"]) == ("InvalidParameter.TimeArray", "Fail")
    assert callback["msg"] == callback["Msg"] == "TimeArray greater than video duration."
    assert "UrlPattern" not in callback


def test_one_submission_makes_a_transcoding_job_of_each_output(server: RunningEmulator, mps: BareMps) -> None:
    outputs = [
        {
            "OutputObject": "out/a.mp4",
            "TemplateId": "T",
            "UserData": "a",
            "Video": {"Width": "640", "Height": "360"},
        },
        {"OutputObject": "out/b%20c.m3u8", "TemplateId": "T"},
    ]
    client = mps_client(server.port)
    reply = call_sdk(client, TRANSCODE.submitted_by, parameters_of(TRANSCODE, Outputs=json.dumps(outputs)))
    jobs = job_ids(reply)
    results = {result.job_id: result for result in received(server.url, 2)}
    first, second = (query_job(mps, TRANSCODE, job_id) for job_id in jobs)

    assert [row["Success"] for row in reply["JobResultList"]["JobResult"]] == [True, True]
    assert [row["Job"]["State"] for row in reply["JobResultList"]["JobResult"]] == ["Submitted"] * 2
    assert [results[job_id].user_data for job_id in jobs] == ["a", None]
    made = first["Output"]
    assert made["OutputFile"] == {
        "Bucket": "example-bucket",
        "Location": "oss-cn-shanghai",
        "Object": "out/a.mp4",
    }
    assert [made["Properties"][name] for name in ("Width", "Height", "Duration", "Bitrate")] == [
        "640",
        "360",
        "17.226000",
        "1630.045",
    ]
    assert (second["Output"]["OutputFile"]["Object"], second["Percent"]) == ("out/b%20c.m3u8", 100)


@pytest.mark.parametrize("kind", [TRANSCODE, SNAPSHOT, ANALYSIS, MEDIA_INFO], ids=lambda kind: kind.name)
def test_query_tells_whether_the_callback_has_reached_its_queue(
    server: RunningEmulator, mps: BareMps, bare: BareMns, kind: JobKind
) -> None:
    reached = submit_job(mps, kind)
    message = elements(bare.receive("q", "?waitseconds=20"))
    bind_pipeline(mps, "missing")
    unreached = submit_job(mps, kind)
    wait_until(lambda: server.call(lambda emulator: emulator.sender.deliveries.lost) == 1)
    found = [query_job(mps, kind, job_id)["MNSMessageResult"] for job_id in (reached, unreached)]

    assert found == [
        {"MessageId": message["MessageId"]},
        {"ErrorCode": "QueueNotExist", "ErrorMessage": "The queue does not exist."},
    ]


def test_query_tells_whether_the_callback_has_reached_its_topic(
    server: RunningEmulator, mps: BareMps, bare: BareMns
) -> None:
    bind_pipeline(mps, topic="t")
    unreached = submit_job(mps, TRANSCODE)
    wait_until(lambda: server.call(lambda emulator: emulator.sender.deliveries.lost) == 1)
    assert bare.request("PUT", "/topics/t").status_code == 201
    endpoint = "<Endpoint>acs:mns:cn-shanghai:1234567890:queues/q</Endpoint>"
    subscription = f"<Subscription>{endpoint}</Subscription>"
    assert bare.request("PUT", "/topics/t/subscriptions/s", subscription).status_code == 201
    reached = submit_job(mps, TRANSCODE)
    notification = ElementTree.fromstring(elements(bare.receive("q", "?waitseconds=20"))["MessageBody"])
    members = fields_of(notification)

    assert json.loads(members["Message"])["jobId"] == reached
    found = [query_job(mps, TRANSCODE, job_id)["MNSMessageResult"] for job_id in (reached, unreached)]
    assert found == [
        {"MessageId": members["MessageId"]},
        {"ErrorCode": "TopicNotExist", "ErrorMessage": "The topic does not exist."},
    ]


def test_all_jobs_of_one_submission_may_end_before_it_is_answered(
    server: RunningEmulator, mps: BareMps
) -> None:
    server.call(lambda emulator: emulator.faults.add([Fault(kind=FaultKind.EARLY, seconds=0)]))
    outputs = json.dumps([{"OutputObject": "out/a.mp4"}, {"OutputObject": "out/b.mp4"}])
    jobs = job_ids(done(mps.call(TRANSCODE.submitted_by, **parameters_of(TRANSCODE, Outputs=outputs))))

    assert server.call(lambda emulator: [emulator.engine.jobs[job_id].over for job_id in jobs]) == [True] * 2


def test_full_pipeline_accepts_some_of_the_outputs() -> None:
    outputs = json.dumps([{"OutputObject": f"out/{number}.mp4"} for number in range(3)])
    with running(Options(queue_limit=2, job_seconds=3600)) as server:
        mps = BareMps(server.url)
        with mps.http:
            reply = done(mps.call(TRANSCODE.submitted_by, **parameters_of(TRANSCODE, Outputs=outputs)))

    results = reply["JobResultList"]["JobResult"]
    assert [(row["Success"], row["Code"], "Job" in row) for row in results] == [
        (True, "", True),
        (True, "", True),
        (False, "PermissionDenied.ResourceQuotaExceed", False),
    ]


def test_xml_writes_true_and_false_in_lower_case(mps: BareMps) -> None:
    reply = mps.call(TRANSCODE.submitted_by, Format="XML", **parameters_of(TRANSCODE))

    assert ElementTree.fromstring(reply.content).findtext("JobResultList/JobResult/Success") == "true"


def test_text_that_is_not_unicode_does_not_stop_the_callback(server: RunningEmulator, mps: BareMps) -> None:
    job_id = submit_job(mps, TRANSCODE, Outputs='[{"OutputObject":"out/\\ud800.mp4","UserData":"\\ud800"}]')

    assert [(result.job_id, result.user_data) for result in received(server.url)] == [(job_id, "?")]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        pytest.param({"PipelineId": ""}, "MissingParameter", id="no-pipeline"),
        pytest.param({"Input": ""}, "MissingParameter", id="no-input"),
        pytest.param({"Input": "[]"}, "InvalidParameter.JsonObjectFormatInvalid", id="input-array"),
        pytest.param({"Input": '{"Bucket":"B","Object":"k"}'}, "InvalidParameter.BucketNameInvalid", id="bucket"),
        pytest.param({"Input": oss_file("")}, "InvalidParameter.ObjectKeyInvalid", id="no-object"),
        pytest.param({"OutputBucket": "B"}, "InvalidParameter.BucketNameInvalid", id="output-bucket"),
        pytest.param({"Outputs": "{}"}, "InvalidParameter.JsonArrayFormatInvalid", id="no-array"),
        pytest.param({"Outputs": "[]"}, "InvalidParameter.OutOfRange", id="no-outputs"),
        pytest.param({"Outputs": "[{},7]"}, "InvalidParameter.ObjectKeyInvalid", id="no-output-object"),
        pytest.param({"Outputs": "[7]"}, "InvalidParameter.JsonObjectFormatInvalid", id="number"),
        pytest.param(
            {"Outputs": json.dumps([{"OutputObject": "k"}] * 31)}, "InvalidParameter.OutOfRange", id="31-outputs"
        ),
        pytest.param(
            {"Outputs": json.dumps([{"OutputObject": "k", "UserData": "x" * 1025}])},
            "InvalidParameter.OutOfRange",
            id="user-data",
        ),
    ],
)  # fmt: skip
def test_wrong_transcoding_is_refused_without_a_job(
    server: RunningEmulator, mps: BareMps, parameters: dict[str, str], expected: str
) -> None:
    response = mps.call(TRANSCODE.submitted_by, **parameters_of(TRANSCODE, **parameters))

    assert code(response) == (400, expected)
    assert server.call(lambda emulator: emulator.engine.jobs) == {}


def test_job_that_has_not_started_can_be_cancelled(server: RunningEmulator, mps: BareMps) -> None:
    mps.call("UpdatePipeline", PipelineId=parameters_of(TRANSCODE)["PipelineId"], Name="n", State="Paused")
    job_id = submit_job(mps, TRANSCODE)
    client = mps_client(server.port)

    assert call_sdk(client, "CancelJob", {"JobId": job_id})["JobId"] == job_id
    assert query_job(mps, TRANSCODE, job_id)["State"] == "TranscodeCancelled"
    assert code(mps.call("CancelJob", JobId=job_id)) == (403, "InvalidParameter.InvalidState")
    assert code(mps.call("CancelJob", JobId="0" * 32)) == (404, "InvalidParameter.ResourceNotFound")


def test_snapshots_at_points_in_time_say_where_they_are(mps: BareMps, bare: BareMns) -> None:
    job_id = submit_job(mps, SNAPSHOT, SnapshotConfig=snapshot_config(TimeArray=[0, 1000, 5000]))
    callback = next_callback(bare)
    job = query_job(mps, SNAPSHOT, job_id)

    assert {name: callback[name] for name in ("Count", "TimeArray", "UrlPattern", "LastUrl")} == {
        "Count": 3,
        "TimeArray": [0, 1000, 5000],
        "UrlPattern": "http://example-bucket.oss-cn-shanghai.aliyuncs.com/out/{Count}.jpg",
        "LastUrl": "http://example-bucket.oss-cn-shanghai.aliyuncs.com/out/00003.jpg",
    }
    assert (job["Count"], job["SnapshotConfig"]["TimeArray"]) == ("3", {"TimePointList": [0, 1000, 5000]})


def test_sequence_of_snapshots_is_counted_in_the_query_only(mps: BareMps, bare: BareMns) -> None:
    job_id = submit_job(mps, SNAPSHOT)

    assert "Count" not in next_callback(bare)
    assert query_job(mps, SNAPSHOT, job_id)["Count"] == "3"


def test_single_snapshot_is_done_when_it_is_answered(mps: BareMps) -> None:
    config = snapshot_config(Time="4")
    reply = done(mps.call(SNAPSHOT.submitted_by, **parameters_of(SNAPSHOT, SnapshotConfig=config)))

    assert (reply["SnapshotJob"]["State"], reply["SnapshotJob"]["Count"]) == ("Success", "1")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param("", "MissingParameter", id="none"),
        pytest.param("[]", "InvalidParameter.JsonObjectFormatInvalid", id="array"),
        pytest.param("{}", "InvalidParameter.BucketNameInvalid", id="no-file"),
        pytest.param(snapshot_config(OutputFile=7), "InvalidParameter.JsonObjectFormatInvalid", id="file"),
        pytest.param(snapshot_config(OutputFile="{"), "InvalidParameter.JsonObjectFormatInvalid", id="text"),
        pytest.param(snapshot_config(Num="x"), "InvalidParameter.NumberFormatInvalid", id="num"),
        pytest.param(snapshot_config(TimeArray=[2, 1]), "InvalidParameter", id="descending"),
        pytest.param(snapshot_config(TimeArray=["1"]), "InvalidParameter", id="text-time"),
    ],
)
def test_wrong_snapshot_is_refused(mps: BareMps, config: str, expected: str) -> None:
    response = mps.call(SNAPSHOT.submitted_by, **parameters_of(SNAPSHOT, SnapshotConfig=config))

    assert code(response) == (400, expected)


def test_file_of_a_snapshot_may_be_json_as_text(mps: BareMps) -> None:
    job_id = submit_job(mps, SNAPSHOT, SnapshotConfig=snapshot_config(OutputFile=json.dumps(PICTURES)))

    assert query_job(mps, SNAPSHOT, job_id)["SnapshotConfig"]["OutputFile"] == PICTURES


def test_media_info_that_is_not_asynchronous_is_in_the_reply(mps: BareMps, bare: BareMns) -> None:
    reply = done(mps.call(MEDIA_INFO.submitted_by, **parameters_of(MEDIA_INFO, Async="false")))
    job = reply["MediaInfoJob"]

    assert (job["State"], job["Properties"]["Width"], job["Async"]) == ("Success", "1920", False)
    assert next_callback(bare)["JobId"] == job["JobId"]


def test_media_info_has_the_streams_of_the_file(server: RunningEmulator, mps: BareMps) -> None:
    job_id = submit_job(mps, MEDIA_INFO)
    received(server.url)
    properties = query_job(mps, MEDIA_INFO, job_id)["Properties"]

    assert properties["Streams"]["VideoStreamList"]["VideoStream"][0]["CodecName"] == "h264"
    assert properties["Streams"]["AudioStreamList"]["AudioStream"][0]["Channels"] == "2"
    assert properties["Format"]["NumStreams"] == "2"


def test_long_user_data_is_refused(mps: BareMps) -> None:
    accepted, refused = (
        mps.call(MEDIA_INFO.submitted_by, **parameters_of(MEDIA_INFO, UserData="x" * length))
        for length in (1024, 1025)
    )

    assert accepted.status_code == 200
    assert code(refused) == (400, "InvalidParameter.OutOfRange")


def test_analysis_lists_the_templates_that_suit_a_file(server: RunningEmulator, mps: BareMps) -> None:
    submitted = done(mps.call(ANALYSIS.submitted_by, **parameters_of(ANALYSIS)))["AnalysisJob"]
    received(server.url)
    job = query_job(mps, ANALYSIS, submitted["Id"])

    assert (submitted["State"], submitted["Percent"], "TemplateList" in submitted) == ("Submitted", 0, False)
    assert [template["Id"] for template in job["TemplateList"]["Template"]] == ["S00000000-000020"]
    assert (job["Percent"], job["Priority"], job["AnalysisConfig"]) == (
        100,
        "8",
        {"QualityControl": {"RateQuality": "25"}},
    )


def test_analysis_without_a_priority_has_the_default_and_one_beyond_ten_is_refused(mps: BareMps) -> None:
    default, refused = (
        mps.call(ANALYSIS.submitted_by, **parameters_of(ANALYSIS, Priority=priority))
        for priority in ("", "11")
    )

    assert done(default)["AnalysisJob"]["Priority"] == "6"
    assert code(refused) == (400, "InvalidParameter.OutOfRange")
