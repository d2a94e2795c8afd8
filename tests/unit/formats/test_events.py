"""From events of IMS and VOD to results."""

from __future__ import annotations

import json
from typing import Any

import pytest

from listener.core.errors import Undecodable
from listener.core.idempotency_key import idempotency_key
from listener.formats.callback import all_members_of, decode
from tests.support.builders import ABSENT, WRAPPINGS, wrapped
from tests.support.cases import each_case
from tests.support.event_samples import EVENT_TIME, a_vod_event, an_ims_event

#: Captured from a queue of IMS.
REGISTERED = an_ims_event("RegisterMediaComplete", MediaId="4aabe1804a6771ef9748f6f7d6496301")
PRODUCED = an_ims_event(
    "ProduceMediaComplete",
    MediaURL="https://bucket.oss-cn-shanghai.aliyuncs.com/x.mp4",
    MediaId="1d1cbbc46da24edd9cf11ba5d193a1b2",
    ProjectId="aded28bac782446a8e5a7cf86b67a1b2",
    ErrorCode="",
    ErrorMessage="",
    JobId="8bc08c859569446ca5303ea903caa1b2",
    UserData='{"NotifyAddress":"http://example.com"}',
)
STREAM = {
    "VideoId": "43q9fj74hdf",
    "JobId": "ddd",
    "Definition": "LD",
    "Format": "mp4",
    "Extend": "test data",
}


@each_case(
    ("body", "expected"),
    [
        pytest.param(
            REGISTERED,
            {"type": "RegisterMediaComplete", "media_id": "4aabe1804a6771ef9748f6f7d6496301"},
            id="ims-about-a-medium",
        ),
        pytest.param(
            PRODUCED,
            {
                "type": "ProduceMediaComplete",
                "job_id": "8bc08c859569446ca5303ea903caa1b2",
                "media_id": "1d1cbbc46da24edd9cf11ba5d193a1b2",
                "user_data": '{"NotifyAddress":"http://example.com"}',
            },
            id="ims-about-a-job",
        ),
        pytest.param(
            an_ims_event(
                "ProduceMediaComplete", Status="Failed", JobId="j", ErrorCode="E.A", ErrorMessage="m"
            ),
            {"type": "ProduceMediaComplete", "job_id": "j", "state": "Fail", "code": "E.A", "message": "m"},
            id="ims-failed",
        ),
        pytest.param(
            an_ims_event("BatchProduceMediaComplete", Status="Finished", JobId="j"),
            {"type": "BatchProduceMediaComplete", "job_id": "j"},
            id="ims-finished",
        ),
        pytest.param(
            an_ims_event("AIProduceComplete", JobId="j", FunctionName="Cover", PipelineId="p"),
            {"type": "AIProduceComplete", "job_id": "j", "function": "Cover", "pipeline": "p"},
            id="ims-smart-production",
        ),
        pytest.param(
            an_ims_event("MediaConvertOutputComplete", JobId="j-1", ParentJobId="j"),
            {"type": "MediaConvertOutputComplete", "job_id": "j-1"},
            id="ims-part-with-an-id-of-its-own",
        ),
        pytest.param(
            an_ims_event("TranscodeParentComplete", ParentJobId="j"),
            {"type": "TranscodeParentComplete", "job_id": "j"},
            id="ims-parent",
        ),
        pytest.param(
            json.dumps(
                {"EventType": "WorkflowTaskComplete", "MessageBody": '{"TaskId":"t","Status":"Success"}'}
            ),
            {"type": "WorkflowTaskComplete", "job_id": "t"},
            id="ims-body-as-text",
        ),
        pytest.param(
            a_vod_event("StreamTranscodeComplete", **STREAM),
            {
                "type": "StreamTranscodeComplete",
                "job_id": "ddd",
                "media_id": "43q9fj74hdf",
                "user_data": "test data",
            },
            id="vod-stream",
        ),
        pytest.param(
            a_vod_event("TranscodeComplete", VideoId="v", Extend={"a": 1}, StreamInfos=[{"Status": "fail"}]),
            {"type": "TranscodeComplete", "media_id": "v", "user_data": '{"a":1}'},
            id="vod-extend-as-an-object",
        ),
        pytest.param(
            a_vod_event("ImageUploadComplete", ImageId="i", Size=105520),
            {"type": "ImageUploadComplete", "media_id": "i"},
            id="vod-image",
        ),
        pytest.param(
            a_vod_event(
                "UploadByURLComplete",
                Status="fail",
                JobId="j",
                **{"ErrorCode ": "URLInvalidError ", "ErrorMessage ": "download failed"},
            ),
            {
                "type": "UploadByURLComplete",
                "job_id": "j",
                "state": "Fail",
                "code": "URLInvalidError ",
                "message": "download failed",
            },
            id="vod-failed-with-stray-blanks-as-documented",
        ),
        pytest.param(
            a_vod_event("AIMediaDNAComplete", JobId="j", MediaId="m", Code="0", Message="OK", Data="{}"),
            {"type": "AIMediaDNAComplete", "job_id": "j", "media_id": "m", "code": "0", "message": "OK"},
            id="vod-ai",
        ),
        pytest.param(
            a_vod_event(
                "SnapshotComplete", Status=ABSENT, SnapshotInfos=[{"Status": "success", "JobId": "s"}]
            ),
            {"type": "SnapshotComplete"},
            id="vod-without-id-and-status-as-documented",
        ),
        pytest.param(
            a_vod_event("LiveRecordVideoComposeStart", VideoId="v"),
            {"type": "LiveRecordVideoComposeStart", "media_id": "v", "state": "Running"},
            id="vod-something-has-begun",
        ),
        pytest.param(
            a_vod_event("LiveRecordVideoComposeStart", VideoId="v", Status="fail"),
            {"type": "LiveRecordVideoComposeStart", "media_id": "v", "state": "Fail"},
            id="vod-something-could-not-begin",
        ),
        pytest.param(
            a_vod_event("Odd", VideoId="v", Status="Half-Done"),
            {"type": "Odd", "media_id": "v", "state": "Half-Done"},
            id="type-and-state-never-heard-of",
        ),
    ],
)
def test_every_known_event_is_read(body: str, expected: dict[str, Any]) -> None:
    result = decode(body)

    defaults = {
        "job_id": "",
        "media_id": "",
        "run_id": "",
        "state": "Success",
        "function": "",
        "code": "",
        "message": "",
        "pipeline": "",
        "user_data": None,
        "token": "",
        "raw": body,
        "details": (),
    }
    wanted = defaults | expected
    assert {name: getattr(result, name) for name in wanted} == wanted
    assert result.event.startswith(f"{result.job_id or result.media_id}/{result.type}@")


@each_case(
    ("type_", "members", "state"),
    [
        pytest.param("UploadComplete", {}, "Success", id="name-says-complete"),
        pytest.param("uploadCOMPLETE", {"Code": "0"}, "Success", id="in-any-case-and-without-an-error"),
        pytest.param("UploadComplete", {"ErrorCode": "E"}, "Fail", id="error-code"),
        pytest.param("UploadComplete", {"Code": "E"}, "Fail", id="code"),
        pytest.param("LiveStatus", {}, "", id="nothing-says-so"),
        pytest.param("LiveStatus", {"Code": "200"}, "", id="nothing-but-a-good-code"),
        pytest.param("LiveStatus", {"State": "failed"}, "Fail", id="state"),
    ],
)
def test_a_missing_status_follows_from_the_error_or_the_name(
    type_: str, members: dict[str, Any], state: str
) -> None:
    assert decode(a_vod_event(type_, VideoId="v", Status=ABSENT, **members)).state == state


@each_case("how", WRAPPINGS)
@each_case("body", [PRODUCED, a_vod_event("StreamTranscodeComplete", **STREAM)])
def test_a_copy_is_the_same_event_whatever_wraps_it(how: str, body: str) -> None:
    assert decode(wrapped(body, how)) == decode(body)


def test_the_order_and_the_spelling_of_members_do_not_make_another_event() -> None:
    event = json.loads(PRODUCED)
    turned = {name.lower(): event[name] for name in reversed(event)}

    assert decode(json.dumps(turned)).event == decode(PRODUCED).event


@each_case(
    "other",
    [
        pytest.param(a_vod_event("StreamTranscodeComplete", **STREAM | {"JobId": "eee"}), id="another-job"),
        pytest.param(
            a_vod_event("StreamTranscodeComplete", **STREAM | {"Format": "m3u8"}), id="another-stream"
        ),
        pytest.param(a_vod_event("TranscodeComplete", **STREAM), id="another-type"),
        pytest.param(
            a_vod_event("StreamTranscodeComplete", **STREAM, time="2024-07-25T09:21:37Z"), id="later"
        ),
        pytest.param(a_vod_event("StreamTranscodeComplete", **STREAM, Status="fail"), id="another-state"),
    ],
)
def test_events_that_differ_are_not_taken_for_copies(other: str) -> None:
    results = [decode(body) for body in (a_vod_event("StreamTranscodeComplete", **STREAM), other)]

    assert len({result.dedup_key for result in results}) == 2
    assert len({idempotency_key(result.key, result.state, "r", "h") for result in results}) == 2


def test_an_event_that_nothing_tells_from_another_is_refused() -> None:
    with pytest.raises(Undecodable, match="the event x has no EventTime, and no id of a job or a medium"):
        decode('{"EventType":"x","MessageBody":"y"}')


def test_no_event_declares_a_job_lost() -> None:
    with pytest.raises(Undecodable, match="the state Lost is never reported by MPS"):
        decode(an_ims_event("ProduceMediaComplete", JobId="j", Status="lost"))


def test_a_callback_with_a_type_is_no_event() -> None:
    result = decode('{"Type":"Transcode","EventType":"x","JobId":"j","State":"Success"}')

    assert (result.type, result.event) == ("Transcode", "")


def test_an_event_gives_no_intent_its_job_id() -> None:
    event = decode(an_ims_event("ProduceMediaComplete", JobId="j", UserData="a#mnsl=abcdefghijklmnopqrstuv"))

    assert (event.user_data, event.token) == ("a", "")


def test_members_of_the_body_are_found_at_the_top_and_at_their_place() -> None:
    members = all_members_of(PRODUCED)

    assert members["projectid"] == members["messagebody"]["projectid"] == "aded28bac782446a8e5a7cf86b67a1b2"
    assert members["eventtime"] == EVENT_TIME
