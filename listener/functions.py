"""The smart-production functions, as far as the documentation names them. The set is open: unknown names pass.

Source: the pages of SubmitIProductionJob and of its algorithm-specific parameters (facts: mps 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function: what it needs, and a set of JobParams that works."""

    name: str
    about: str
    placeholder: str = ""  #: what Output must hold because the function returns several files
    suffix: str = ""  #: a usual suffix of Output; empty where the function writes no file
    example: Mapping[str, Any]  #: JobParams


def _functions(*functions: Function) -> Mapping[str, Function]:
    return {function.name: function for function in functions}


_VOICE = {"voice": "xiaoyun", "format": "wav", "sample_rate": 16000}

FUNCTIONS: Mapping[str, Function] = _functions(
    Function(name="VideoH2V", about="turn a landscape video into a portrait one", suffix=".mp4", example={}),
    Function(
        name="VideoDelogo",
        about="remove logos from a video",
        suffix=".mp4",
        example={"Logo": [[0.8, 0.05, 0.15, 0.1]]},
    ),
    Function(
        name="Cover",
        about="make cover images for a video",
        placeholder="{sequenceId}",
        suffix=".jpg",
        example={},
    ),
    Function(name="VideoClip", about="make a summary of a video", suffix=".mp4", example={}),
    Function(name="ImageMatting", about="cut a figure out of an image", suffix=".png", example={}),
    Function(name="ImageH2V", about="turn a landscape image into a portrait one", suffix=".jpg", example={}),
    Function(name="ImageDelogo", about="remove logos from an image", suffix=".jpg", example={}),
    Function(
        name="CaptionExtraction",
        about="read the captions of a video into a subtitle file",
        suffix=".srt",
        example={"fps": 5, "track": "main"},
    ),
    Function(
        name="VideoDetext",
        about="remove captions from a video",
        suffix=".mp4",
        example={"Text": [[0.1, 0.8, 0.8, 0.15]]},
    ),
    Function(
        name="VideoGreenScreenMatting",
        about="put another background behind a video",
        suffix=".mp4",
        example={"mode": "file", "bgimage": "oss://example.oss-cn-shanghai.aliyuncs.com/background.jpg"},
    ),
    Function(name="MusicSegmentDetect", about="find the chorus of a song", example={}),
    Function(
        name="AudioMixing",
        about="mix two audio streams",
        suffix=".mp3",
        example={"inputs": [{"file": "oss://example.oss-cn-shanghai.aliyuncs.com/second.mp3"}]},
    ),
    Function(name="VideoSplit", about="split a video of slides into clips", example={}),
    Function(name="AudioBeatDetection", about="find the beats of music", suffix=".txt", example={}),
    Function(
        name="ASR",
        about="recognise speech",
        suffix=".txt",
        example={"start_time": "00:00:00", "duration": "00:10:00"},
    ),
    Function(
        name="AsyncTextToSpeech",
        about="speak a text, asynchronously",
        placeholder="{resultType}",
        suffix=".{resultType}",
        example=_VOICE,
    ),
    Function(name="TextToSpeech", about="speak a text", suffix=".wav", example=_VOICE),
    Function(
        name="ImageCartoonize",
        about="make a cartoon of an image",
        placeholder="{sequenceId}",
        suffix=".jpg",
        example={},
    ),
)
