"""What each function of smart production answers with: the ``Result`` of a query, by the documented shapes.

``Result`` is JSON text whose ``Data`` is JSON text again. With ``malformed`` the shapes are those slips that the
documentation itself prints: objects glued together, a full-width colon, ``Data`` as an object or an array.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FUNCTION_NAMES = (
    "VideoH2V",
    "VideoDelogo",
    "Cover",
    "VideoClip",
    "ImageMatting",
    "ImageH2V",
    "ImageDelogo",
    "CaptionExtraction",
    "VideoDetext",
    "VideoGreenScreenMatting",
    "MusicSegmentDetect",
    "AudioMixing",
    "VideoSplit",
    "AudioBeatDetection",
    "ASR",
    "AsyncTextToSpeech",
    "TextToSpeech",
    "ImageCartoonize",
)
#: Functions whose results no source shows; ours are empty.
FUNCTIONS_WITHOUT_RESULT = ("AudioQualityAssessment", "FaceBeauty", "SpeechDenoise")

DEFAULT_OUTPUT = "iproduction/{source}-{timestamp}-{sequenceId}"
#: base64 of the first bytes of a WAV file.
SPEECH = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAgD4AAAB9AAACABAAZGF0YQAAAAA="


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a result is made from. ``params`` is the parsed JobParams."""

    function: str
    input: str
    output: str
    params: dict[str, Any]
    timestamp: int  #: seconds since 1970


def result(work: Work, *, malformed: bool = False) -> str:
    """The ``Result`` of a successful job; empty for an unknown function."""
    shape = SHAPES.get(work.function, _empty)
    text = shape(work)
    return MALFORMED.get(work.function, _data_as_object)(text) if malformed else text


def failure(code: str, message: str) -> str:
    """The ``Result`` of a failed job. Its shape is inferred; no source shows one."""
    return _json({"Code": code, "Message": message, "Details": []})


def object_key(url: str) -> str:
    """The key within the bucket that an ``oss://`` address names."""
    return url.removeprefix("oss://").partition("/")[2]


def files(work: Work, *, kinds: tuple[str, ...] = ("",), count: int = 1) -> list[str]:
    """Object keys of the output: one for each kind (``{resultType}``) and each number (``{sequenceId}``)."""
    template = object_key(work.output) or DEFAULT_OUTPUT
    source = object_key(work.input).rpartition("/")[2].rpartition(".")[0] or "source"
    return [
        template.replace("{source}", source)
        .replace("{timestamp}", str(work.timestamp))
        .replace("{sequenceId}", f"{number:05d}")
        .replace("{resultType}", kind)
        for kind in kinds
        for number in range(1, count + 1)
    ]


def _empty(work: Work) -> str:
    return _json({"Details": [], "Message": "success", "Code": "Success"})


def _with_data(data: Any) -> str:
    return _json({"Code": "Success", "Message": "Successful.", "Data": _json(data)})


def _file_list(names: list[str]) -> str:
    return _with_data({"result": [{"file": name} for name in names]})


def _one_file(work: Work) -> str:
    return _file_list(files(work))


def _cover(work: Work) -> str:
    scores = (8.27, 7.91, 7.02)
    names = files(work, count=1 if work.params.get("Model") == "gif" else len(scores))
    return _with_data(
        [
            {"Score": score, "Time": f"{1000 * number + 278.25}", "Url": name}
            for number, (score, name) in enumerate(zip(scores, names, strict=False))
        ]
    )


def _image_matting(work: Work) -> str:
    detail = {"Status": "Success", "Input": object_key(work.input), "Output": files(work)[0]}
    return _json({"Details": [detail], "Message": "The job is completed successfully", "Code": "Success"})


def _captions(work: Work) -> str:
    return _file_list(files(work, kinds=("zh", "en") if work.params.get("sep") else ("zh",)))


def _chorus(work: Work) -> str:
    return _with_data({"result": [{"start": 39.32, "end": 63.85, "title": "副歌"}]})


def _video_split(work: Work) -> str:
    parts = [(1.0, 44.57), (44.57, 90.12)]
    titles = [{"beginTime": begin, "endTime": end, "title": f"part {begin:g}"} for begin, end in parts]
    return _with_data({"splitResult": titles})


def _async_speech(work: Work) -> str:
    return _file_list(files(work, kinds=(str(work.params.get("format", "pcm")), "txt")))


def _speech(work: Work) -> str:
    """TextToSpeech includes the audio, and its Data is an object."""
    data = {"result": [{"file": SPEECH}]}
    return _json({"Message": "The job is completed successfully", "Data": data, "Code": "Success"})


def _cartoon(work: Work) -> str:
    name, dot, ending = files(work)[0].rpartition(".")
    stem, ending = (name, f"{dot}{ending}") if dot else (ending, "")
    return _file_list([f"{stem}-result{ending}", f"{stem}-origin{ending}"])


SHAPES: dict[str, Callable[[Work], str]] = {
    "Cover": _cover,
    "VideoClip": _one_file,
    "ImageMatting": _image_matting,
    "CaptionExtraction": _captions,
    "VideoGreenScreenMatting": _one_file,
    "MusicSegmentDetect": _chorus,
    "AudioMixing": _one_file,
    "VideoSplit": _video_split,
    "AudioBeatDetection": _one_file,
    "ASR": _one_file,
    "AsyncTextToSpeech": _async_speech,
    "TextToSpeech": _speech,
    "ImageCartoonize": _cartoon,
}


def _glued(text: str) -> str:
    """Two adjacent objects instead of an array."""
    outer = json.loads(text)
    outer["Data"] = "".join(_json(item) for item in json.loads(outer["Data"]))
    return _json(outer)


def _full_width_colon(text: str) -> str:
    outer = json.loads(text)
    outer["Data"] = outer["Data"].replace('":', '"：', 1)  # noqa: RUF001 - the slip of the documented sample
    return _json(outer)


def _data_as_object(text: str) -> str:
    """``Data`` not encoded a second time."""
    outer = json.loads(text)
    if isinstance(outer.get("Data"), str):
        outer["Data"] = json.loads(outer["Data"])
    return _json(outer)


MALFORMED: dict[str, Callable[[str], str]] = {"Cover": _glued, "CaptionExtraction": _full_width_colon}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
