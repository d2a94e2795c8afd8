"""Parameters of the functions: what is built, what is refused, what is warned about."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.jobs import job_params
from listener.jobs.functions import FUNCTIONS
from listener.jobs.job_params import PARAMS_BY_FUNCTION, Params, problems
from tests.support.cases import each_case

SONG = "oss://media.oss-cn-shanghai.aliyuncs.com/song.mp3"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
BOX = [0.8, 0.05, 0.2, 0.1]


@each_case(
    ("built", "expected"),
    [
        pytest.param(job_params.VideoH2V(), {}, id="none"),
        pytest.param(job_params.Cover(), {}, id="left-out"),
        pytest.param(job_params.Cover(model="gif"), {"Model": "gif"}, id="cover"),
        pytest.param(job_params.VideoDelogo(boxes=[(0.8, 0.05, 0.2, 0.1)]), {"Logo": [BOX]}, id="delogo"),
        pytest.param(job_params.VideoDetext(boxes=[(0.8, 0.05, 0.2, 0.1)]), {"Text": [BOX]}, id="detext"),
        pytest.param(job_params.VideoDetext(boxes="[[0,0,1,1]]"), {"Text": "[[0,0,1,1]]"}, id="detext-2021"),
        pytest.param(job_params.VideoDelogo(boxes="[[0,0,1,1]]"), {"Logo": "[[0,0,1,1]]"}, id="delogo-text"),
        pytest.param(job_params.Cover(model=""), {"Model": ""}, id="cover-still"),
        pytest.param(job_params.AudioMixing(), {}, id="mixing-without"),
        pytest.param(
            job_params.CaptionExtraction(
                fps=5, roi=((0.5, 1), (0, 1)), sep=False, formatter=r"{\an8}", track="main"
            ),
            {"fps": 5, "roi": [[0.5, 1], [0, 1]], "sep": False, "formatter": r"{\an8}", "track": "main"},
            id="captions",
        ),
        pytest.param(
            job_params.VideoGreenScreenMatting(bgimage=SONG, mode="file"),
            {"bgimage": SONG, "mode": "file"},
            id="matting",
        ),
        pytest.param(job_params.AudioMixing(file=SONG), {"inputs": [{"file": SONG}]}, id="mixing"),
        pytest.param(
            job_params.ASR(
                start_time=timedelta(hours=1, seconds=2), duration="00:10:00", request_params="&a=True&b="
            ),
            {"start_time": "01:00:02", "duration": "00:10:00", "request_params": "&a=True&b="},
            id="asr",
        ),
        pytest.param(
            job_params.TextToSpeech(
                voice="xiaoyun", format="wav", volume=0, speech_rate=-500, pitch_rate=500
            ),
            {"voice": "xiaoyun", "format": "wav", "volume": 0, "speech_rate": -500, "pitch_rate": 500},
            id="speech",
        ),
        pytest.param(
            job_params.FaceBeauty(beauty_params={"whiten": 20, "smooth": 50}),
            {"beauty_params": "whiten=20,smooth=50"},
            id="beauty",
        ),
    ],
)
def test_builders_write_the_names_and_forms_of_mps(built: Params, expected: dict[str, Any]) -> None:
    assert built.as_params() == expected
    assert json.loads(built.to_json()) == expected
    assert problems(type(built).__name__, expected) == []


@each_case(
    ("build", "words"),
    [
        pytest.param(
            lambda: job_params.CaptionExtraction(fps=11), ["fps = 11", "2 to 10"], id="out-of-range"
        ),
        pytest.param(lambda: job_params.CaptionExtraction(fps=True), ["fps = True", "integer"], id="bool"),
        pytest.param(
            lambda: job_params.CaptionExtraction(roi=((1, 0.5), (0, 1))),
            ["roi = ((1, 0.5)", "smaller"],
            id="upside-down",
        ),
        pytest.param(lambda: job_params.Cover(model="png"), ["model = 'png'", '"gif"'], id="choice"),
        pytest.param(lambda: job_params.VideoDelogo(boxes=[]), ["boxes = []", "1 or 2"], id="no-box"),
        pytest.param(
            lambda: job_params.VideoDelogo(boxes=[(0, 0, 1, 1)] * 3),
            ["boxes = [(0, 0", "1 or 2"],
            id="three-boxes",
        ),
        pytest.param(
            lambda: job_params.VideoDelogo(boxes=[(0.5, 0, 0.6, 1)]), ["0.6", "fractions"], id="beyond"
        ),
        pytest.param(
            lambda: job_params.VideoDelogo(boxes=[(0, 0, 100, 50)]), ["100", "fractions"], id="pixels"
        ),
        pytest.param(
            lambda: job_params.VideoDelogo(boxes=[(float("nan"), 0, 1, 1)]),
            ["nan", "fractions"],
            id="no-number",
        ),
        pytest.param(
            lambda: job_params.VideoDetext(boxes="[[1]]"), ["boxes = '[[1]]'", "JSON"], id="boxes-text"
        ),
        pytest.param(
            lambda: job_params.AudioMixing(file="song.mp3"), ["file = 'song.mp3'", "OSS URL"], id="url"
        ),
        pytest.param(lambda: job_params.ASR(duration="10"), ["duration = '10'", "HH:MM:SS"], id="time"),
        pytest.param(lambda: job_params.ASR(duration=timedelta(-1)), ["duration", "HH:MM:SS"], id="negative"),
        pytest.param(
            lambda: job_params.AsyncTextToSpeech(sample_rate=0), ["sample_rate = 0", "Hz"], id="rate"
        ),
        pytest.param(
            lambda: job_params.FaceBeauty(beauty_params="a lot"), ["beauty_params = 'a lot'"], id="beauty"
        ),
    ],
)
def test_what_can_not_be_right_is_refused_with_field_value_and_rule(
    build: Callable[[], Params], words: list[str]
) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        build()

    assert [word for word in words if word not in str(caught.value)] == []


def test_builders_are_values() -> None:
    boxes = [(0.0, 0.0, 0.5, 0.5)]
    built = job_params.VideoDelogo(boxes=boxes)
    boxes.clear()

    assert built == job_params.VideoDelogo(boxes=((0.0, 0.0, 0.5, 0.5),))
    assert len({built, job_params.VideoDelogo(boxes=((0.0, 0.0, 0.5, 0.5),))}) == 1
    with pytest.raises(FrozenInstanceError):
        built.boxes = None


@each_case(
    ("function", "given", "warning"),
    [
        ("CaptionExtraction", {"fsp": 5}, "JobParams.fsp is not documented for CaptionExtraction"),
        ("CaptionExtraction", {"Fps": 5}, "did you mean fps?"),
        ("Cover", {"model": "gif"}, "did you mean Model?"),
        ("CaptionExtraction", {"fps": "5"}, "JobParams.fps = '5' should be an integer, 2 to 10"),
        ("VideoDelogo", {"Logo": [[0, 0, 640, 480]]}, "JobParams.Logo = [[0, 0, 640, 480]] should be boxes"),
        ("AudioMixing", {"inputs": [SONG]}, "JobParams.inputs = ['oss://media"),
        ("AudioMixing", {"inputs": "[1]"}, "JobParams.inputs = '[1]' should be an OSS URL"),
        ("AudioMixing", {"inputs": "[{"}, "JobParams.inputs = '[{' should be an OSS URL"),
        ("VideoDelogo", {"Logo": "[[0,0,640,480]]"}, "JobParams.Logo = '[[0,0,640,480]]' should be boxes"),
        ("Cover", {"Model": "png"}, """JobParams.Model = 'png' should be text, "gif" or \"\""""),
        ("VideoH2V", {"fps": 5}, "it has no members"),
    ],
)
def test_members_written_by_hand_are_warned_about(function: str, given: dict[str, Any], warning: str) -> None:
    assert warning in "\n".join(problems(function, given))


@each_case(
    ("function", "given"),
    [
        ("AudioMixing", {}),
        ("AudioMixing", {"inputs": [{"file": SONG.replace("song", "my song")}]}),
        ("AudioMixing", {"inputs": json.dumps([{"file": SONG}])}),
        ("VideoDelogo", {"Logo": json.dumps([BOX])}),
        ("VideoDetext", {"Text": json.dumps([BOX])}),
        ("Cover", {"Model": ""}),
        ("Cover", {"Model": "gif"}),
        ("VideoGreenScreenMatting", {"bgimage": SONG.replace("song.mp3", "my picture.jpg")}),
    ],
)
def test_every_form_that_a_version_of_the_documentation_has_passes(
    function: str, given: dict[str, Any]
) -> None:
    assert problems(function, given) == []


@each_case("function", ["ImageCartoonize", "NeverHeardOf", ""])
def test_where_nothing_is_documented_nothing_is_warned_about(function: str) -> None:
    assert problems(function, {"mode": "gif"}) == []


@given(st.sampled_from(sorted(PARAMS_BY_FUNCTION)), st.data())
def test_any_members_are_looked_at_without_an_error(function: str, data: st.DataObject) -> None:
    keys = [member.key for member in job_params.param_specs(PARAMS_BY_FUNCTION[function]).values()]
    given_params = data.draw(st.dictionaries(st.sampled_from([*keys, "x", "\ud800"]), VALUES, max_size=4))

    assert len(problems(function, given_params)) <= len(given_params)


@each_case("function", FUNCTIONS)
def test_the_example_of_each_function_is_without_problems(function: str) -> None:
    assert problems(function, FUNCTIONS[function].example) == []
