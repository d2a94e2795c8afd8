"""From message bodies to results. Samples are those of the vendor's documents and of public captures."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.core.errors import Undecodable
from listener.core.model import Result
from listener.formats.callback import all_members_of, decode
from listener.formats.lenient_json import parse, render
from listener.formats.user_data import embed_token
from tests.support.builders import ABSENT, JOB_ID, TOKEN, WRAPPINGS, a_callback, a_result, wrapped
from tests.support.cases import each_case
from tests.support.growth import assert_linear

ANY_TEXT = st.text(st.characters(exclude_categories=()))

IPRODUCTION = (
    '{"Code":"Success","Details":[],"FunctionName":"VideoH2V","JobId":"39f8e0bc005e4f309379701645f4a1b2",'
    '"Message":"success","State":"Success","Type":"IProduction"}'
)
AUDIO_MIXING = (
    '{"Code":"Success","FunctionName":"AudioMixing","JobId":"158688059d8443a68b78a65e55b3a1b2",'
    '"Message":"Successful.","State":"Success","Type":"IProduction","UserData":"test"}'
)
CAPTION_CUT_OFF = (
    '{"Code":"Success","Details":[],"FunctionName":"CaptionExtraction","JobId":"39f8e0bc005e4f309379701645f4a1b2",'
    '"Message":"success","State":"Succes'
)
BOTH_SPELLINGS = (
    '{"jobId":"0ceb045c","requestId":"713C4BA2","Type":"Transcode","state":"Success","type":"Transcode",'
    '"State":"Success","JobId":"0ceb045c","RequestId":"713C4BA2"}'
)
SNAPSHOT_FAILED = (
    '{"jobId":"5f1","JobId":"5f1","Type":"Snapshot","type":"Snapshot","State":"Fail","state":"Fail",'
    '"code":"InvalidParameter.TimeArray","msg":"TimeArray greater than video duration.",'
    '"Msg":"TimeArray greater than video duration.","userData":"u","UserData":"u"}'
)
TEXT_TO_SPEECH = (
    '{"jobId":"612de0df37c84f8cabe4d856378ea1b2","requestId":"91BC64BF",'
    r'"result":"{\"Message\":\"The job is completed successfully\",\"Data\":{\"result\":[{\"file\":\"UklGR\"}]},'
    r'\"Code\":\"Success\"}"}'
)
SUBMIT_REPLY = json.dumps({"JobId": "j1", "Result": IPRODUCTION.replace("VideoH2V", "ImageCartoonize")})


def a_workflow(phase: str, state: str, **members: Any) -> str:
    """A workflow's message; the list of activities is not in the order of time (facts: mps 1.4)."""
    execution = {
        "RunId": "R1",
        "Name": "wf",
        "MediaId": "M1",
        "State": state,
        "Input": {"InputFile": {"Bucket": "b", "Location": "l", "Object": "o"}, "UserData": "order-7"},
        "ActivityList": [
            {"Name": "Act-Report", "Type": "Report", "State": "Success"},
            {"Name": "Act-2", "Type": "Transcode", "State": "Fail", "JobId": "j2", "Code": "X"},
            {"Name": "Act-Start", "Type": "Start", "State": "Success", "JobId": "j1"},
            {"Name": "Act-3", "Type": "Snapshot", "State": "Skipped", "JobId": "j2"},
        ],
    }
    return json.dumps(
        {"RunId": "R1", "Name": "wf", "Type": phase, "MediaWorkflowExecution": execution, **members}
    )


def claims(**fields: Any) -> Result:
    """A result that claims nothing but this."""
    return Result(**({"job_id": "", "state": ""} | fields))


@each_case(
    ("body", "expected"),
    [
        pytest.param(IPRODUCTION, a_result(job_id=JOB_ID), id="iproduction"),
        pytest.param(
            AUDIO_MIXING,
            a_result(
                job_id="158688059d8443a68b78a65e55b3a1b2",
                function="AudioMixing",
                message="Successful.",
                user_data="test",
            ),
            id="iproduction-with-user-data-without-details",
        ),
        pytest.param(
            BOTH_SPELLINGS, claims(job_id="0ceb045c", type="Transcode", state="Success"), id="both-spellings"
        ),
        pytest.param(
            SNAPSHOT_FAILED,
            claims(
                job_id="5f1",
                type="Snapshot",
                state="Fail",
                code="InvalidParameter.TimeArray",
                message="TimeArray greater than video duration.",
                user_data="u",
            ),
            id="snapshot-failed",
        ),
        pytest.param(
            '{"jobId":"8a87","state":"Success","type":"Transcode"}',
            claims(job_id="8a87", type="Transcode", state="Success"),
            id="lower-case-of-2015",
        ),
        pytest.param(
            '{"Type":"smarttag","JobId":"s1","State":"Processing","UserData":"{\\"key\\":\\"value\\"}"}',
            claims(job_id="s1", type="smarttag", state="Processing", user_data='{"key":"value"}'),
            id="smarttag-on-its-way",
        ),
        pytest.param(
            '{"Type":"FpShot","UserData":"u","JobId":"f1","State":"Success"}',
            claims(job_id="f1", type="FpShot", state="Success", user_data="u"),
            id="fpshot-flat",
        ),
        pytest.param(
            '{"Type":"FpShot","UserData":"u","FpShotJobNotify":{"JobId":"f1","State":"Fail"}}',
            claims(job_id="f1", type="FpShot", state="Fail", user_data="u"),
            id="fpshot-nested",
        ),
        pytest.param(
            '{"Type":"MediaCensor","JobId":"c1","State":"Success","Result":"Block","ImageCensorCensorResult":[{}]}',
            claims(job_id="c1", type="MediaCensor", state="Success"),
            id="media-censor-flat",
        ),
        pytest.param(
            '{"Type":"MediaCensor","MediaCensorJobNotify":'
            '{"JobId":"c1","State":"Fail","Code":"C","Message":"m","Result":"Review"}}',
            claims(job_id="c1", type="MediaCensor", state="Fail", code="C", message="m"),
            id="media-censor-nested",
        ),
        pytest.param(
            TEXT_TO_SPEECH,
            claims(
                job_id="612de0df37c84f8cabe4d856378ea1b2",
                state="Success",
                code="Success",
                message="The job is completed successfully",
            ),
            id="text-to-speech-reply",
        ),
        pytest.param(
            SUBMIT_REPLY,
            a_result(job_id="j1", function="ImageCartoonize"),
            id="callback-within-a-submit-reply",
        ),
        pytest.param(
            a_workflow("Start", "Running", State="Success"),
            claims(
                job_id="",
                run_id="R1",
                type="Start",
                state="Running",
                user_data="order-7",
                activity_job_ids=("j2", "j1"),
                activity_states=("Fail", "Success"),
            ),
            id="workflow-start",
        ),
        pytest.param(
            a_workflow("Report", "Completed"),
            claims(
                job_id="",
                run_id="R1",
                type="Report",
                state="Success",
                user_data="order-7",
                activity_job_ids=("j2", "j1"),
                activity_states=("Fail", "Success"),
            ),
            id="workflow-report-with-the-execution's-state-only",
        ),
        pytest.param(
            a_workflow("Report", "Fail", RunId=None, State="Fail", Code="C", Message="m", UserData="mine"),
            claims(
                job_id="",
                run_id="R1",
                type="Report",
                state="Fail",
                code="C",
                message="m",
                user_data="mine",
                activity_job_ids=("j2", "j1"),
                activity_states=("Fail", "Success"),
            ),
            id="workflow-report-with-the-execution's-run-id-only",
        ),
        pytest.param(
            '{"Type":"HologramRender","JobId":"h1","State":"Half-Done","X":{"y":1}}',
            claims(job_id="h1", type="HologramRender", state="Half-Done"),
            id="type-and-state-never-heard-of",
        ),
        pytest.param('{"JobId":"j1"}', claims(job_id="j1"), id="nothing-but-a-job-id"),
    ],
)
def test_every_known_callback_is_read(body: str, expected: Result) -> None:
    assert decode(body) == Result(
        **{name: getattr(expected, name) for name in Result.__dataclass_fields__ if name != "raw"}, raw=body
    )


def test_start_and_report_of_a_workflow_are_two_things() -> None:
    start, report = decode(a_workflow("Start", "Running")), decode(a_workflow("Report", "Completed"))

    assert start.key == "R1/Start"
    assert not start.terminal
    assert start.dedup_key == "R1/Start#Running"
    assert report.key == "R1/Report"
    assert report.terminal


@each_case(
    ("written", "read"),
    [("Success", "Running"), ("Completed", "Running"), ("Running", "Running"), ("Fail", "Fail")],
)
def test_the_success_of_a_start_is_progress_and_its_failure_is_a_failure(written: str, read: str) -> None:
    assert decode(a_workflow("Start", "Running", State=written)).state == read
    assert decode(a_workflow("start", written)).state == read


def test_a_querys_reply_nests_activities_in_an_object() -> None:
    execution = json.loads(a_workflow("Report", "Completed"))["MediaWorkflowExecution"]
    reply = execution | {"ActivityList": {"Activity": execution["ActivityList"]}}

    for document in ({"Type": "Report", "MediaWorkflowExecution": reply}, reply | {"Type": "Report"}):
        result = decode(json.dumps(document))

        assert (result.activity_job_ids, result.activity_states) == (("j2", "j1"), ("Fail", "Success"))
        assert (result.run_id, result.state, result.user_data) == ("R1", "Success", "order-7")


def test_members_are_found_by_lower_case_names_at_every_level() -> None:
    raw = '{"a":0,"A":{"B ":[{"Cd":1}],"none":null},"resultText":"X"}'

    assert all_members_of(raw) == {"a": {"b": [{"cd": 1}]}, "resulttext": "X"}


def test_a_job_whose_type_is_start_is_no_workflow() -> None:
    assert decode(a_callback(Type="Start")).state == "Success"


@pytest.mark.parametrize("how", WRAPPINGS)
@given(text=ANY_TEXT)
def test_whatever_wraps_a_callback_it_comes_out_whole(how: str, text: str) -> None:
    callback = a_callback(Message=text, UserData=f"x{text}")

    result = decode(wrapped(callback, how))

    assert result.raw == callback
    assert result.message == parse(json.dumps(text))
    assert result.user_data == parse(json.dumps(f"x{text}"))


@each_case("how", WRAPPINGS)
@each_case("around", ["\ufeff{}", " \r\n{}\n", "\ufeff\n {}\t"])
def test_marks_and_blanks_around_a_body_do_not_matter(how: str, around: str) -> None:
    assert decode(around.format(wrapped(around.format(a_callback()), how))).job_id == JOB_ID


def test_base64_may_be_broken_into_lines() -> None:
    assert decode(base64.encodebytes(a_callback().encode()).decode().replace("\n", "\r\n")).job_id == JOB_ID


def test_an_xml_notification_without_a_namespace_and_in_cdata_is_read() -> None:
    assert (
        decode(f"<Notification><Message><![CDATA[{a_callback()}]]></Message></Notification>").job_id == JOB_ID
    )


def test_a_message_text_that_holds_a_callback_does_not_make_a_callback_a_wrapper() -> None:
    assert decode(a_callback(Message=a_callback(JobId="another"))).job_id == JOB_ID


def _base64_times(times: int) -> str:
    body = a_callback()
    for _ in range(times):
        body = base64.b64encode(body.encode()).decode()
    return body


def test_four_wrappings_are_opened_and_a_fifth_is_not() -> None:
    assert decode(_base64_times(4)).job_id == JOB_ID
    with pytest.raises(Undecodable, match="more than 4 times"):
        decode(_base64_times(5))


@each_case("state", ["Lost", "lost", " LOST "])
@each_case(
    "document",
    [
        lambda state: {"JobId": JOB_ID, "State": state},
        lambda state: {
            "RunId": "R",
            "MediaWorkflowExecution": {"ActivityList": [{"JobId": JOB_ID, "State": state}]},
        },
    ],
    ids=["job", "activity"],
)
def test_nothing_but_the_listener_itself_declares_a_job_lost(document: Any, state: str) -> None:
    with pytest.raises(Undecodable, match="the state Lost is never reported by MPS"):
        decode(json.dumps(document(state)))


@each_case(
    ("written", "read"),
    [
        ("Success", "Success"),
        ("success", "Success"),
        ("TranscodeSuccess", "Success"),
        ("Completed", "Success"),
        ("Fail", "Fail"),
        ("FAILED", "Fail"),
        ("TranscodeFail", "Fail"),
        ("Cancelled", "Cancelled"),
        ("TranscodeCancelled", "Cancelled"),
        ("analysing", "Analysing"),
        ("SUBMITTED", "Submitted"),
        (" Success ", "Success"),
        ("half-Done", "half-Done"),
    ],
)
def test_states_of_known_meaning_are_normalised_and_others_kept(written: str, read: str) -> None:
    assert decode(a_callback(State=written)).state == read


@each_case(
    ("code", "state"),
    [("Success", "Success"), ("success", "Success"), ("InternalError", "Fail"), (ABSENT, "")],
)
def test_a_missing_state_is_derived_from_the_code(code: Any, state: str) -> None:
    assert decode(a_callback(State=ABSENT, Code=code)).state == state


@each_case(
    ("members", "job_id"),
    [
        pytest.param({"jobId": "camel", "JobId": "Pascal"}, "Pascal", id="pascal-case-last"),
        pytest.param({"JobId": "Pascal", "jobId": "camel"}, "Pascal", id="pascal-case-first"),
        pytest.param({"JobId": None, "jobId": "camel"}, "camel", id="pascal-case-null"),
        pytest.param({"JobId ": "blank"}, "blank", id="stray-blank"),
        pytest.param({"JOBID": "loud"}, "loud", id="upper-case"),
    ],
)
def test_of_two_spellings_pascal_case_is_believed(members: dict[str, Any], job_id: str) -> None:
    assert decode(json.dumps(members)).job_id == job_id


@each_case(
    ("members", "field", "value"),
    [
        pytest.param({"JobId": 12}, "job_id", "12", id="number-as-id"),
        pytest.param({"Code": 200}, "code", "200", id="number-as-code"),
        pytest.param({"Message": {"a": [1]}}, "message", '{"a":[1]}', id="object-as-message"),
        pytest.param({"Message": None, "msg": "m"}, "message", "m", id="msg"),
        pytest.param({"Message": True}, "message", "true", id="boolean-as-message"),
        pytest.param({"UserData": {"a": "é"}}, "user_data", '{"a":"é"}', id="object-as-user-data"),
        pytest.param({"UserData": 0}, "user_data", "0", id="zero-as-user-data"),
        pytest.param({"UserData": ""}, "user_data", None, id="empty-user-data"),
        pytest.param({"UserData": "null"}, "user_data", None, id="the-word-null-as-user-data"),
        pytest.param({"Details": [{"a": 1}, 2]}, "details", ({"a": 1}, 2), id="details"),
        pytest.param({"Details": {"a": 1}}, "details", ({"a": 1},), id="object-as-details"),
        pytest.param({"Details": "text"}, "details", ("text",), id="text-as-details"),
        pytest.param({"Details": None}, "details", (), id="null-as-details"),
        pytest.param(
            {"Details": [float("nan"), float("inf")]}, "details", ("NaN", "Infinity"), id="not-finite"
        ),
        pytest.param({"PipelineId": "p1"}, "pipeline", "p1", id="pipeline"),
        pytest.param({"MediaWorkflowExecution": "?"}, "activity_job_ids", (), id="text-as-execution"),
        pytest.param(
            {"MediaWorkflowExecution": {"ActivityList": [1, {"JobId": 2}, {"JobId": None}]}},
            "activity_job_ids",
            ("2",),
            id="odd-activities",
        ),
        pytest.param({"Message": "a\0b\ud800"}, "message", "a\ufffdb\ufffd", id="unstorable-characters"),
    ],
)
def test_values_of_unexpected_types_are_read_liberally(
    members: dict[str, Any], field: str, value: Any
) -> None:
    assert getattr(decode(a_callback(**members)), field) == value


@each_case("how", ["raw", "topic-json"])
def test_the_raw_text_is_storable_too(how: str) -> None:
    body = wrapped('{"JobId":"j1","Message":"a\0b\ud800"}', how)

    assert decode(body).raw == '{"JobId":"j1","Message":"a\ufffdb\ufffd"}'


@each_case("given_text", [None, "test", '{"route":"clips"}', "null", f"x#mnsl={TOKEN}"])
@each_case("how", ["raw", "base64", "topic-xml", "topic-json-of-base64"])
def test_our_token_is_taken_off_the_user_data(given_text: str | None, how: str) -> None:
    result = decode(wrapped(a_callback(UserData=embed_token(given_text, TOKEN)), how))

    assert (result.user_data, result.token) == (given_text, TOKEN)


def test_the_token_survives_user_data_that_comes_back_as_an_object() -> None:
    result = decode(a_callback(UserData=json.loads(embed_token('{"a":1}', TOKEN))))

    assert (result.user_data, result.token) == ('{"a":1}', TOKEN)


@each_case(
    ("body", "reason"),
    [
        pytest.param("", "no body", id="empty"),
        pytest.param(" \ufeff\n", "no body", id="blank"),
        pytest.param(wrapped("", "topic-xml"), "empty content", id="empty-topic-message"),
        pytest.param(CAPTION_CUT_OFF, "not valid JSON", id="cut-off"),
        pytest.param(wrapped(CAPTION_CUT_OFF, "base64"), "not valid JSON", id="cut-off-in-base64"),
        pytest.param(wrapped(a_callback(), "base64")[:-3], "base64", id="base64-cut-off"),
        pytest.param("!" + wrapped(a_callback(), "base64"), "base64", id="base64-with-a-stray-letter"),
        pytest.param(wrapped(a_callback(), "topic-xml")[:-3], "not well-formed", id="xml-cut-off"),
        pytest.param("hello, world", "neither JSON nor XML nor base64", id="text"),
        pytest.param("helloworld12", "neither JSON nor XML nor base64", id="text-in-base64-letters"),
        pytest.param("null", "neither JSON nor XML nor base64", id="json-null"),
        pytest.param("[1]", "array", id="array"),
        pytest.param("{}", "neither a JobId nor a RunId", id="empty-object"),
        pytest.param('{"JobId":" "}', "neither a JobId nor a RunId", id="blank-job-id"),
        pytest.param(
            '{"EventType":"","JobID ":""}', "nor the EventType of an event", id="empty-type-of-event"
        ),
        pytest.param(
            '{"EventType":5,"VideoId":"v"}', "nor the EventType of an event", id="number-as-type-of-event"
        ),
        pytest.param(
            '{"EventType":{"a":"b"},"EventTime":"t"}', "nor the EventType", id="object-as-type-of-event"
        ),
        pytest.param(
            '{"ANotify":{"JobId":"1"},"BNotify":{"JobId":"2"}}', "neither a JobId", id="two-notifies"
        ),
        pytest.param(
            "<html><body>Bad Gateway</body></html>", "not the Notification of a topic", id="a-web-page"
        ),
        pytest.param("<!DOCTYPE html><html/>", "document type", id="document-type"),
        pytest.param(a_callback(JobId="a" * 257), "257 characters", id="endless-job-id"),
        pytest.param(a_callback(State="a" * 257), "257 characters", id="endless-state"),
        pytest.param(a_callback(Type="a" * 257), "257 characters", id="endless-type"),
        pytest.param('{"RunId":"' + "a" * 257 + '"}', "257 characters", id="endless-run-id"),
        pytest.param('{"JobId":' * 10_000, "64 levels deep", id="ten-thousand-deep"),
        pytest.param(
            '{"JobId":1,"a":' + "[" * 10_000 + "]" * 10_000 + "}", "64 levels deep", id="deep-detail"
        ),
        pytest.param('{"JobId":' + "9" * 1_000_000 + "}", "not valid JSON", id="a-million-digits"),
    ],
)
def test_what_is_no_callback_is_refused_with_a_reason(body: str, reason: str) -> None:
    with pytest.raises(Undecodable, match=reason):
        decode(body)


def test_an_id_as_long_as_allowed_is_allowed() -> None:
    assert decode(a_callback(JobId="a" * 256)).job_id == "a" * 256


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=8,
)
IDENTITY = ["JobId", "jobId", "RunId", "Type"]
CLAIMS = ["State", "Code", "Message", "msg", "Details", "UserData", "Result", "FunctionName", "PipelineId"]
NESTING = ["XNotify", "MediaWorkflowExecution", "ActivityList", "Input", "TopicName"]
MEMBER_NAMES = st.sampled_from([*IDENTITY, *CLAIMS, *NESTING])
NEAR_CALLBACKS = st.dictionaries(
    MEMBER_NAMES, st.recursive(JSON_VALUES, lambda inner: st.dictionaries(MEMBER_NAMES, inner), max_leaves=8)
).map(json.dumps)
ANY_BYTES = st.binary().map(lambda blob: blob.decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("how", ["raw", "base64", "topic-json"])
@settings(max_examples=40)
@given(body=ANY_TEXT | ANY_BYTES | NEAR_CALLBACKS)
def test_any_body_gives_a_storable_result_or_undecodable(how: str, body: str) -> None:
    try:
        result = decode(wrapped(body, how) if how == "topic-json" or body.isascii() else body)
    except Undecodable as undecodable:
        result = claims(job_id="none", message=undecodable.reason)

    assert result.key
    for text in (
        result.job_id,
        result.run_id,
        result.state,
        result.message,
        result.user_data or "",
        result.raw,
    ):
        assert "\0" not in text.encode().decode()
    assert render(list(result.details)).encode()


WORST_CASES: dict[str, Callable[[int], str]] = {
    "long-text": lambda size: a_callback(Message="x" * size),
    "escapes": lambda size: '{"JobId":"j","Message":"' + "\\ud800" * (size // 6) + '"}',
    "backslashes": lambda size: '{"JobId":"j","Message":"\\u0041' + "\\\\" * (size // 2) + '"}',
    "many-members": lambda size: "{" + ",".join(f'"n{n}Notify":{{}}' for n in range(size // 15)) + "}",
    "many-activities": lambda size: json.dumps(
        {"RunId": "R", "MediaWorkflowExecution": {"ActivityList": [{"JobId": n} for n in range(size // 15)]}}
    ),
    "open-brackets": lambda size: "[" * size,
    "flat-brackets": lambda size: '{"JobId":"j","Details":[' + "[]," * (size // 3) + "1]}",
    "digits": lambda size: '{"JobId":"j","Details":0.' + "7" * size + "}",
    "partial-tokens": lambda size: json.dumps(
        {"JobId": "j", "UserData": f',"mnsl":"{TOKEN}"}}  ' * (size // 40)}
    ),
    "blanks": lambda size: " " * size,
    "line-breaks": lambda size: "ab\n" * (size // 3),
    "xml-elements": lambda size: "<a>" * (size // 7) + "</a>" * (size // 7),
    "xml-open": lambda size: "<a>" * (size // 3),
}


def decode_or_not(body: str) -> None:
    try:
        decode(body)
    except Undecodable:
        pass


@pytest.mark.parametrize("case", WORST_CASES)
def test_time_grows_with_the_size_and_not_with_its_square(case: str) -> None:
    assert_linear(decode_or_not, WORST_CASES[case])
