"""What can be known to be wrong with a submission before anything is sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from listener.core.errors import UsageError
from listener.formats.user_data import MAX_TOKEN_OVERHEAD
from listener.jobs.functions import FUNCTIONS
from listener.jobs.job_params import CaptionExtraction
from listener.jobs.request import JobRequest, compose_user_data
from listener.jobs.request_checks import MAX_REFERENCE_LENGTH, PLACEHOLDERS, check, corrected
from tests.support.cases import each_case

INPUT = "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4"
QUEUE = "mns://1234567890.mns.cn-shanghai.aliyuncs.com/queues/q"


def a_request(**fields: Any) -> JobRequest:
    return JobRequest(**({"function": "VideoH2V", "input": INPUT, "notify_url": QUEUE} | fields))


@each_case(
    "host",
    [
        "1234567890.mns.cn-shanghai.aliyuncs.com",
        "1234567890.oss-cn-shanghai.aliyuncs.com",
        "1234567890.mns.cn-shanghai-internal.aliyuncs.com",
        "1234567890.mns.cn-shanghai-internal-vpc.aliyuncs.com",
    ],
)
def test_a_queue_in_the_region_of_the_bucket_passes_however_its_host_is_written(host: str) -> None:
    assert check(a_request(notify_url=f"mns://{host}/queues/q"), region="cn-shanghai") == []


@each_case(
    ("fields", "words"),
    [
        pytest.param(
            {"notify_url": ""}, ["neither a NotifyUrl nor a pipeline", "--notify-url"], id="callback"
        ),
        pytest.param({"input": "https://h/p"}, ["Input: 'https://h/p' is not a valid OSS URL"], id="input"),
        pytest.param(
            {"output": "oss://B.oss-cn-shanghai.aliyuncs.com/x"}, ["Output", "bucket 'B'"], id="output"
        ),
        pytest.param({"output": INPUT.replace("talk", "{name}")}, ["placeholder {name}"], id="placeholder"),
        pytest.param({"params": "{fps: 5}"}, ["JobParams = '{fps: 5}' is not a JSON object"], id="params"),
        pytest.param({"notify_url": "mns://h:1/queues/q"}, ["NotifyUrl", "host 'h:1'"], id="notify-url"),
        pytest.param({"notify_url": QUEUE.replace("shanghai", "beijing")}, ["the same region"], id="region"),
    ],
)
def test_what_probably_cannot_work_is_refused_with_the_way_out_and_a_warning_if_forced(
    fields: dict[str, str], words: list[str]
) -> None:
    request = a_request(**fields)
    with pytest.raises(
        UsageError, match=r"submit it with --force \(in Python and in files: force = true\)"
    ) as caught:
        check(request)
    (warning,) = check(replace(request, force=True))

    assert str(caught.value).startswith(warning)
    assert [word for word in words if word not in warning] == []


@each_case(
    "fields",
    [
        {"function": ""},
        {"data": "x", "user_data": "y"},
        {"route": "a:b"},
        {"deadline": timedelta(-1)},
        {"reference": "x" * 257},
        {"input": "\0"},
        {"params": "\0"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_cannot_be_sent_or_stored_is_refused_even_if_forced(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        check(a_request(**fields, force=True))


@each_case("fields", [{"output": "oss://media.oss-cn-shanghai.aliyuncs.com/x"}, {"params": '{"a": 1}'}])
def test_what_media_info_would_not_send_is_refused_even_if_forced(fields: dict[str, str]) -> None:
    request = JobRequest(
        kind="MediaInfo", input="oss://media.oss-cn-shanghai.aliyuncs.com/in.mp4", pipeline="p", force=True
    )
    assert check(request) == []

    with pytest.raises(
        UsageError, match=f"{next(iter(fields))} = .*: MediaInfo has no such parameter; omit it"
    ):
        check(replace(request, **fields))


def test_every_warning_of_a_forced_request_is_given() -> None:
    assert (
        len(check(a_request(function="Cover", params='{"fps": 99}', input="x", output="y", force=True))) == 4
    )


@each_case(
    "fields",
    [
        {"notify_url": QUEUE},
        {"notify_url": "", "pipeline": "p"},
        {"notify_url": "", "function": "TextToSpeech"},
    ],
    ids=["notify-url", "pipeline", "answered-at-once"],
)
def test_a_job_whose_outcome_arrives_passes(fields: dict[str, str]) -> None:
    assert check(a_request(**fields)) == []


def test_input_is_optional_at_mps_and_warned_of_for_a_function_that_works_on_a_file() -> None:
    assert check(a_request(input="")) == ["Input is missing: MPS accepts that, but VideoH2V works on a file"]
    assert "Input" not in " ".join(check(a_request(input="", function="New")))


def test_params_that_are_empty_are_an_empty_object() -> None:
    assert (check(a_request(params="")), a_request(params="").params_json) == ([], "{}")


def test_the_notify_url_is_corrected_if_it_can_be() -> None:
    assert corrected(a_request(notify_url=QUEUE.replace(".mns.", ".oss-"))).notify_url == QUEUE
    assert [corrected(a_request(notify_url=url)).notify_url for url in ("x", "", None)] == ["x", "", None]


@each_case(
    ("fields", "region"),
    [
        pytest.param({"notify_url": QUEUE.replace("shanghai", "beijing")}, "", id="queue"),
        pytest.param(
            {"notify_url": QUEUE.replace("mns.cn-shanghai", "oss-cn-beijing")}, "", id="queue-as-oss"
        ),
        pytest.param({"output": INPUT.replace("shanghai", "beijing")}, "", id="output"),
        pytest.param({"output": INPUT.replace("shanghai", "beijing-internal")}, "", id="internal-output"),
        pytest.param({}, "cn-beijing", id="mps"),
    ],
)
def test_two_regions_are_named_and_refused(fields: dict[str, str], region: str) -> None:
    with pytest.raises(UsageError, match="must be in the same region") as caught:
        check(a_request(**fields), region=region)

    assert "cn-shanghai" in str(caught.value)
    assert "cn-beijing" in str(caught.value)


@each_case("deadline", [timedelta(-1), timedelta.max])
def test_a_deadline_out_of_bounds_is_refused(deadline: timedelta) -> None:
    with pytest.raises(UsageError, match=r"^deadline: .*(not a valid duration|at most 3650d)"):
        check(a_request(deadline=deadline))


@each_case("placeholder", PLACEHOLDERS)
def test_documented_placeholders_pass(placeholder: str) -> None:
    output = INPUT.replace("talk", f"talk-{placeholder}")

    assert check(a_request(function="VideoClip", output=output)) == []


@each_case(
    ("function", "params", "output", "words"),
    [
        pytest.param("Cover", "{}", "{source}", "has no {sequenceId}", id="cover"),
        pytest.param("Cover", '{"Model":""}', "{source}", "has no {sequenceId}", id="cover-still"),
        pytest.param("Cover", "{}", "{source}{sequenceId}", "", id="cover-numbered"),
        pytest.param("Cover", '{"Model":"gif"}', "{source}", "", id="cover-animation"),
        pytest.param("ImageCartoonize", "{}", "{source}", "has no {sequenceId}", id="cartoon"),
        pytest.param("ImageCartoonize", '{"mode":"gif"}', "{source}", "", id="cartoon-animation"),
        pytest.param("AsyncTextToSpeech", "{}", "{source}.wav", "has no {resultType}", id="speech"),
        pytest.param(
            "CaptionExtraction",
            '{"sep":true}',
            "{source}",
            "with sep there are two files",
            id="two-subtitles",
        ),
        pytest.param(
            "CaptionExtraction", '{"sep":true}', "{source}.{resultType}", "", id="two-subtitles-apart"
        ),
        pytest.param("CaptionExtraction", '{"sep":false}', "{source}", "", id="one-subtitle"),
        pytest.param(
            "VideoH2V", "{}", "{source}-{timestamp}", "does not name its file", id="time-not-in-result"
        ),
        pytest.param("VideoClip", "{}", "{source}-{timestamp}", "", id="time-in-result"),
        pytest.param("New", "{}", "{source}-{timestamp}", "not a documented function", id="unknown-function"),
    ],
)
def test_an_output_whose_files_are_lost_is_warned_of(
    function: str, params: str, output: str, words: str
) -> None:
    request = a_request(function=function, params=params, output=f"{INPUT}/{output}", force=True)

    assert [words in warning for warning in check(request)] == ([True] if words else [])


@each_case(
    ("function", "words"),
    [
        ("CaptionExtraction", """for example '{"fps": 5, "track": "main"}'"""),
        ("AudioMixing", """for example '{"inputs": [{"file": "oss://"""),
        ("Cover", """for example '{"Model": "gif"}'"""),
        ("ImageCartoonize", """for example '{"mode": "gif"}'"""),
        ("VideoH2V", "VideoH2V has no parameters: omit it, or use '{}'"),
        ("New", """for example '{"name": "value"}'"""),
    ],
)
def test_bad_params_are_answered_with_an_example_of_the_function(function: str, words: str) -> None:
    with pytest.raises(
        UsageError, match="is not a JSON object with names and texts in double quotes"
    ) as caught:
        check(a_request(function=function, params="{fps: 5}"))

    assert words in str(caught.value)


def test_an_unknown_placeholder_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\{name\}"):
        check(a_request(output=INPUT.replace("talk", "{name}")))


def test_long_user_data_is_warned_of_with_our_mark_counted_in() -> None:
    fits = "x" * (1024 - MAX_TOKEN_OVERHEAD)

    assert check(a_request(user_data=fits)) == []
    assert ["1024" in warning for warning in check(a_request(user_data=fits + "x"))] == [True]
    assert len(check(a_request(user_data="字" * 400))) == 1  # bytes count, not characters


@each_case(
    ("text", "warned"),
    [
        ('{"a": 1', True),
        (" {a: 1}", True),
        (compose_user_data("covers", "{'a': 1}"), True),
        ('{"a": 1}', False),
        (compose_user_data("covers", '{"a": 1}'), False),
        ("covers:7 {x", False),
        ('[{"a": 1', False),
        (None, False),
    ],
)
def test_user_data_that_begins_like_json_and_is_not_is_warned_of(text: str | None, warned: bool) -> None:
    words = "begins like a JSON object but is not one"

    assert [words in warning for warning in check(a_request(user_data=text))] == ([True] if warned else [])


@each_case(
    ("fields", "route"),
    [
        ({"route": "covers", "data": "7"}, "covers"),
        ({"user_data": '{"route": "covers"}'}, "covers"),
        ({"data": '{"route": "covers"}'}, "covers"),
        ({"user_data": "note: covers"}, ""),
        ({}, ""),
    ],
)
def test_a_route_is_known_where_it_is_named_without_doubt(fields: dict[str, str], route: str) -> None:
    assert a_request(**fields).named_route == route


def test_params_may_come_from_a_builder() -> None:
    request = a_request(function="CaptionExtraction", params=CaptionExtraction(fps=5))

    assert (check(request), request.params_json) == ([], '{"fps":5}')


@each_case("function", FUNCTIONS)
def test_the_example_of_every_function_passes_without_a_warning(function: str) -> None:
    known = FUNCTIONS[function]
    output = INPUT.replace("talk.", f"talk-{known.placeholder or '{source}'}.")
    example = known.example_params if known.example_params is not None else "{}"

    assert check(a_request(function=function, output=output, params=example)) == []


@each_case("name", ["user_data", "reference", "input"])
@each_case("text", ["\0", "\ud800"])
def test_text_that_no_store_can_hold_is_refused(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"{name} = .* contains a NUL"):
        check(a_request(**{name: text}))


def test_a_reference_has_its_limit() -> None:
    assert check(a_request(reference="x" * MAX_REFERENCE_LENGTH)) == []
    with pytest.raises(UsageError, match="at most 256"):
        check(a_request(reference="x" * (MAX_REFERENCE_LENGTH + 1)))
