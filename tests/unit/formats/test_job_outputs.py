"""What a job made, read from results well-formed and not."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from listener.core.outputs import CoverImage, Outputs, Segment
from listener.emulator.mps import sample_results
from listener.formats.found_outputs import MAX_PROBLEMS
from listener.formats.job_outputs import read
from listener.jobs.functions import FUNCTIONS
from tests.support.cases import each_case

HOME = "oss://media.oss-cn-shanghai.aliyuncs.com"
OUTPUT = f"{HOME}/out/{{source}}-{{sequenceId}}.{{resultType}}"
FILE_LIST = {"result": [{"file": "out/a.srt"}, {"file": "out/b.srt"}]}
WITH_COLON = '{"result"：[{"file"："out/副歌：a.srt"}]}'  # noqa: RUF001 - the slip of the documented sample
INNER = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=5)
            | st.sampled_from(
                [
                    "Code",
                    "Data",
                    "Details",
                    "result",
                    "file",
                    "Url",
                    "Score",
                    "start",
                    "end",
                    "BeatList",
                    "Output",
                ]
            ),
            inner | st.builds(json.dumps, inner),
            max_size=4,
        )
    ),
    max_leaves=15,
)


def a_work(function: str) -> sample_results.Work:
    return sample_results.Work(
        function=function,
        input=f"{HOME}/in/summer.mp4",
        output=OUTPUT,
        params=dict(FUNCTIONS[function].example),
        timestamp=1714564800,
    )


def a_result(data: Any = None, **members: Any) -> str:
    """A ``Result`` with this Data, as it is; members are changed or added."""
    return json.dumps(
        {"Code": "Success", "Message": "Successful.", "Data": data, **members}, ensure_ascii=False
    )


def paths(outputs: Outputs) -> list[str]:
    return [file.path for file in outputs.files]


@each_case("function", sample_results.FUNCTION_NAMES)
def test_every_function_fills_its_documented_fields_and_no_other(function: str) -> None:
    read_back = read(function, sample_results.result(a_work(function)), output=OUTPUT)

    filled = {
        name
        for name, value in read_back.to_document().items()
        if isinstance(value, list) and value and name != "problems"
    }
    assert filled == set(FUNCTIONS[function].output_fields)
    assert (read_back.code, read_back.malformed) == ("Success", False)


@each_case("function", sample_results.FUNCTION_NAMES)
def test_documented_slips_change_nothing_but_the_flag(function: str) -> None:
    whole = read(function, sample_results.result(a_work(function)), output=OUTPUT).to_document()
    slipped = read(
        function, sample_results.result(a_work(function), malformed=True), output=OUTPUT
    ).to_document()

    assert slipped["malformed"] == (function in sample_results.MALFORMED)
    assert {**slipped, "raw": "", "malformed": False} == {**whole, "raw": ""}


@each_case(
    ("data", "repaired"),
    [
        pytest.param(FILE_LIST, False, id="object"),
        pytest.param(FILE_LIST["result"], False, id="array"),
        pytest.param(json.dumps(FILE_LIST), False, id="text"),
        pytest.param(json.dumps(json.dumps(json.dumps(FILE_LIST))), False, id="text-in-text-in-text"),
        pytest.param(["out/a.srt", "out/b.srt"], False, id="bare-paths"),
        pytest.param("\ufeff " + json.dumps(FILE_LIST), False, id="byte-order-mark"),
        pytest.param({"result": json.dumps(FILE_LIST["result"])}, False, id="text-in-object"),
        pytest.param('{"file":"out/a.srt"} {"file":"out/b.srt"}', True, id="glued"),
        pytest.param('[{"file":"out/a.srt"}{"file":"out/b.srt"}]', True, id="glued-in-an-array"),
        pytest.param('{"file":"out/a.srt"},\n{"file":"out/b.srt"}', True, id="array-without-brackets"),
        pytest.param('{result:[{file:"out/a.srt"},{file : "out/b.srt"}]}', True, id="names-without-quotes"),
    ],
)
def test_files_are_found_however_data_is_written(data: Any, repaired: bool) -> None:
    read_back = read("CaptionExtraction", a_result(data))

    assert paths(read_back) == ["out/a.srt", "out/b.srt"]
    assert (read_back.malformed, read_back.problems) == (repaired, ())


def test_a_full_width_colon_is_repaired_between_members_only() -> None:
    read_back = read("CaptionExtraction", a_result(WITH_COLON))

    assert paths(read_back) == ["out/副歌：a.srt"]  # noqa: RUF001 - within text it may stand
    assert read_back.malformed


def test_glued_documents_are_read_both() -> None:
    text = a_result({"result": [{"file": "a"}]}) + a_result({"result": [{"file": "b"}]})

    assert paths(read("VideoClip", text)) == ["a", "b"]


@each_case("text", [None, "", "  ", "null", '""', "{}", "[]", '"null"'])
def test_nothing_is_an_empty_result_and_no_problem(text: str | None) -> None:
    assert read("Cover", text) == Outputs(raw=text or "")


@each_case(
    ("text", "problem"),
    [
        pytest.param("<html>", "Result is not valid JSON", id="no-json"),
        pytest.param(a_result('{"result":[{"file":'), "Data is not valid JSON", id="cut-off"),
        pytest.param(a_result({"result": [{"file": 7}]}), "a file is 7, which is not a path", id="file"),
        pytest.param(a_result([{"Url": "", "Score": 1}]), "a file is , which is not a path", id="empty-path"),
        pytest.param(a_result([{"Url": "a", "Score": "high"}]), "score is high", id="score"),
        pytest.param(a_result([{"Url": "a", "Time": "NaN"}]), "time is NaN", id="time"),
        pytest.param(a_result([{"start": "x", "end": 2}]), "from x to 2", id="segment"),
        pytest.param(a_result({"BeatList": [1, "soon"]}), "a beat is soon", id="beat"),
        pytest.param("[" * 100 + "]" * 100, "nested more than", id="too-deep"),
    ],
)
def test_what_can_not_be_read_is_flagged_and_kept(text: str, problem: str) -> None:
    read_back = read("Cover", text)

    assert problem in read_back.problems[0]
    assert read_back.malformed
    assert read_back.raw == text


def test_text_wrapped_without_end_is_rejected() -> None:
    text = json.dumps(FILE_LIST)
    for _ in range(6):
        text = json.dumps(text)

    assert read("VideoClip", text).problems == ("Result is JSON text nested in JSON text more than 5 times",)


def test_results_nested_without_end_are_rejected() -> None:
    value: Any = [{"file": "a"}]
    for _ in range(60):
        value = {"result": value}

    assert read("VideoClip", json.dumps(value)).problems == (
        "result is nested in result more than 5 levels deep",
    )


def test_covers_have_score_and_time_and_are_files_too() -> None:
    data = [{"Score": 8.27, "Time": "28278.25", "Url": "cover/1.jpg"}, {"Url": "cover/2.jpg"}]

    read_back = read("Cover", a_result(json.dumps(data)), output=OUTPUT)

    assert read_back.covers == (
        CoverImage(
            path="cover/1.jpg", bucket="media", url=f"{HOME}/cover/1.jpg", score=8.27, time_ms=28278.25
        ),
        CoverImage(path="cover/2.jpg", bucket="media", url=f"{HOME}/cover/2.jpg"),
    )
    assert paths(read_back) == ["cover/1.jpg", "cover/2.jpg"]


def test_choruses_and_clips_are_segments_in_seconds() -> None:
    chorus = {"result": [{"start": 39.32, "end": "63.85", "title": "副歌"}]}
    clips = {"splitResult": [{"beginTime": 1, "endTime": 44.57}]}

    assert read("MusicSegmentDetect", a_result(chorus)).segments == (
        Segment(start=39.32, end=63.85, title="副歌"),
    )
    assert read("VideoSplit", a_result(clips)).splits == (Segment(start=1.0, end=44.57),)


def test_a_song_without_chorus_has_no_segments_and_no_problem() -> None:
    assert read("MusicSegmentDetect", a_result(json.dumps({"result": []}))).problems == ()


def test_beats_within_the_result_are_read() -> None:
    read_back = read("AudioBeatDetection", a_result({"BeatList": [0.5, "1.0"], "DownBeatList": [0.5]}))

    assert (read_back.beats, read_back.down_beats) == ((0.5, 1.0), (0.5,))


def test_a_picture_that_failed_is_a_detail_and_no_file() -> None:
    details = [{"Status": "Success", "Output": "a.png"}, {"Status": "Fail", "Output": "b.png"}]

    read_back = read("ImageMatting", a_result(Details=details))

    assert paths(read_back) == ["a.png"]
    assert read_back.details == tuple(details)


def test_the_whole_reply_of_speech_brings_its_audio() -> None:
    audio = base64.b64encode(b"RIFF" + bytes(range(256))).decode()
    inner = {"Message": "done", "Data": {"result": [{"file": audio}]}, "Code": "Success"}

    read_back = read(
        "TextToSpeech", json.dumps({"jobId": "1", "requestId": "2", "result": json.dumps(inner)})
    )

    assert [file.data for file in read_back.inline] == [b"RIFF" + bytes(range(256))]
    assert (read_back.files, read_back.message) == ((), "done")


def test_only_speech_has_audio_of_any_kind_within() -> None:
    noise = base64.b64encode(bytes(60)).decode()
    text = a_result({"result": [{"file": noise}]})

    assert len(read("TextToSpeech", text).inline) == 1
    assert paths(read("VideoClip", text)) == [noise]


def test_an_echo_of_the_callback_is_read_without_identity() -> None:
    text = a_result(
        Details=[], FunctionName="ImageCartoonize", JobId="1", State="Success", Type="IProduction"
    )

    assert read("ImageCartoonize", text) == Outputs(code="Success", message="Successful.", raw=text)


def test_a_failure_has_code_and_message() -> None:
    read_back = read("ASR", sample_results.failure("InvalidParameter.NoAudioStream", "no sound"))

    assert (read_back.code, read_back.message) == ("InvalidParameter.NoAudioStream", "no sound")


def test_unheard_of_members_are_kept_as_others() -> None:
    channels = [{"Channel": "1", "MOS(0-5)": "1.01"}]

    assert read("AudioQualityAssessment", a_result(json.dumps(channels))).others == tuple(channels)


@given(st.text(st.characters(exclude_categories=())) | st.builds(json.dumps, INNER))
@example('{"file":"\\ud800"}')
@example('{"Data":"' + "{" * 3000)
@example('{"BeatList":[1e999,-1e999,' + "9" * 4000 + "]}")
def test_any_text_is_read_and_comes_out_as_strict_json(text: str) -> None:
    for function in ("Cover", "TextToSpeech"):
        whole = read(function, text, output=OUTPUT).to_document()
        assert json.loads(json.dumps(whole, allow_nan=False)) == whole
        assert whole["raw"].encode().decode() == whole["raw"]


@given(INNER)
def test_any_data_is_read_the_same_from_text_and_as_it_is(data: Any) -> None:
    as_text, as_is = (
        read("Cover", json.dumps({"Code": "Success", "Data": value})).to_document()
        for value in (json.dumps(data), data)
    )
    if not isinstance(data, str):  # bare text as Data would be read as JSON, which it need not be
        assert {**as_text, "raw": ""} == {**as_is, "raw": ""}


@pytest.mark.parametrize(
    "text",
    ['"', "{", '\\"', "a ", "}" + " " * 999, '{"a":1}', '{"result":', '{"BeatList":["x",', '"\\', "a："],  # noqa: RUF001
)
def test_large_rubbish_is_read_in_bounded_time_and_words(text: str) -> None:
    read_back = read("Cover", text * (300_000 // len(text)))

    assert len(read_back.problems) <= MAX_PROBLEMS
    assert len(json.dumps(read_back.problems)) < 10_000
