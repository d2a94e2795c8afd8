"""The shapes of the results of all functions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from listener.emulator.mps.sample_results import FUNCTION_NAMES, Work, result
from tests.support.cases import each_case


def a_work(function: str, **params: Any) -> Work:
    bucket = "oss://bucket.oss-cn-shanghai.aliyuncs.com"
    return Work(
        function=function,
        input=f"{bucket}/films/summer.mp4",
        output=f"{bucket}/out/{{source}}-{{timestamp}}-{{sequenceId}}.{{resultType}}",
        params=params,
        timestamp=1714564800,
    )


def data(function: str, **params: Any) -> Any:
    """Data, which is JSON text inside JSON text."""
    text = json.loads(result(a_work(function, **params)))["Data"]
    assert isinstance(text, str)
    return json.loads(text)


@each_case("function", ["VideoH2V", "VideoDelogo", "ImageH2V", "ImageDelogo", "VideoDetext", "Unheard"])
def test_functions_without_data_have_the_empty_shape(function: str) -> None:
    assert json.loads(result(a_work(function))) == {"Details": [], "Message": "success", "Code": "Success"}


@each_case("function", ["VideoClip", "VideoGreenScreenMatting", "AudioMixing", "AudioBeatDetection", "ASR"])
def test_file_lists_name_the_output_with_its_placeholders_filled_in(function: str) -> None:
    assert data(function) == {"result": [{"file": "out/summer-1714564800-00001."}]}


def test_cover_gives_several_pictures_and_one_animation() -> None:
    pictures = data("Cover")

    assert [picture["Url"] for picture in pictures] == [f"out/summer-1714564800-0000{n}." for n in (1, 2, 3)]
    assert {type(picture["Score"]) for picture in pictures} == {float}
    assert {type(picture["Time"]) for picture in pictures} == {str}
    assert len(data("Cover", Model="gif")) == 1


def test_speech_gives_audio_and_time_stamps() -> None:
    assert [item["file"][-4:] for item in data("AsyncTextToSpeech", format="wav")["result"]] == [
        ".wav",
        ".txt",
    ]


def test_captions_are_split_by_language_when_asked_to() -> None:
    assert [item["file"][-3:] for item in data("CaptionExtraction", sep=True)["result"]] == [".zh", ".en"]


def test_matting_reports_each_picture_in_details() -> None:
    (detail,) = json.loads(result(a_work("ImageMatting")))["Details"]

    assert (detail["Status"], detail["Input"]) == ("Success", "films/summer.mp4")


def test_cartoon_gives_result_and_original() -> None:
    assert [item["file"] for item in data("ImageCartoonize")["result"]] == [
        "out/summer-1714564800-00001-result.",
        "out/summer-1714564800-00001-origin.",
    ]


def test_segments_have_times() -> None:
    assert data("MusicSegmentDetect")["result"][0].keys() == {"start", "end", "title"}
    assert data("VideoSplit")["splitResult"][0].keys() == {"beginTime", "endTime", "title"}


@each_case("function", FUNCTION_NAMES)
def test_outer_document_is_always_well_formed(function: str) -> None:
    for malformed in (False, True):
        assert json.loads(result(a_work(function), malformed=malformed))["Code"] == "Success"


@each_case("function", ["Cover", "CaptionExtraction"])
def test_malformed_data_is_no_json(function: str) -> None:
    inner = json.loads(result(a_work(function), malformed=True))["Data"]

    with pytest.raises(ValueError, match=r"Extra data|delimiter"):
        json.loads(inner)


def test_malformed_data_may_be_an_object() -> None:
    assert isinstance(json.loads(result(a_work("VideoSplit"), malformed=True))["Data"], dict)
