"""JobParams of each function, as values that are validated on creation.

::

    >>> CaptionExtraction(fps=5, roi=((0.5, 1), (0, 1)), sep=False).to_json()
    '{"fps":5,"roi":[[0.5,1],[0,1]],"sep":false}'

A class has the name of its function. A field that is not given is omitted, so that the default of MPS applies. An
invalid value raises ValueError, which names the field, the value and the rule. Where versions of the documentation
disagree, both forms are accepted. Handwritten JSON is never rejected, since the set of functions and members is
open: ``problems`` warns about it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, ClassVar, Final

from listener.formats import lenient_json
from listener.formats.oss_url import split_oss_url
from listener.formats.unicode_text import shortened

Fractions = tuple[float, float]  #: start and end, as fractions of the picture
Box = tuple[float, float, float, float]  #: x, y, width, height, as fractions of the picture


@dataclass(frozen=True, slots=True)
class Constraint:
    """The valid values of a member: a description, and a check of its JSON value."""

    kind: str
    range: str
    holds: Callable[[Any], bool]

    def __str__(self) -> str:
        return f"{self.kind}, {self.range}" if self.range else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamSpec:
    """One member of JobParams."""

    key: str  #: its name in the JSON
    constraint: Constraint
    default: str = ""  #: the default of MPS, as a description; empty if it is not documented
    description: str
    convert: Callable[[Any], Any] = lambda value: value  #: converts an argument to the value of the field
    serialize: Callable[[Any], Any] = lambda value: value  #: converts the value of the field to JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """JobParams of one function. This base class has no members, like many functions."""

    #: Whether the members are documented.
    documented: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, spec in param_specs(type(self)).items():
            given = getattr(self, name)
            if given is None:
                continue
            value = spec.convert(given)
            if not spec.constraint.holds(_as_json(spec.serialize(value))):
                raise ValueError(f"{name} = {shortened(repr(given), 200)} must be {spec.constraint}")
            object.__setattr__(self, name, value)  # a list becomes a tuple, so that the value is frozen

    def as_params(self) -> dict[str, Any]:
        """The members that were given, by their MPS names, as plain JSON values."""
        return {
            spec.key: _as_json(spec.serialize(value))
            for name, spec in param_specs(type(self)).items()
            if (value := getattr(self, name)) is not None
        }

    def to_json(self) -> str:
        """The JSON text for the parameter JobParams of SubmitIProductionJob."""
        return lenient_json.render(self.as_params())


def param_specs(params: type[Params]) -> dict[str, ParamSpec]:
    """The members of JobParams by the names of our fields, in their order."""
    return {part.name: part.metadata["spec"] for part in fields(params)}


def problems(function: str, params: Mapping[str, Any]) -> list[str]:
    """Warnings about handwritten JobParams: members that are unknown or out of range.

    There are none for unknown functions and for functions with undocumented members. Never raises.
    """
    known = PARAMS_BY_FUNCTION.get(function)
    if known is None or not known.documented:
        return []
    specs = {spec.key: spec for spec in param_specs(known).values()}
    unknown = [_unknown(function, key, specs) for key in params if key not in specs]
    wrong = [
        f"JobParams.{key} = {shortened(repr(params[key]), 200)} should be {spec.constraint}"
        for key, spec in specs.items()
        if key in params and not spec.constraint.holds(params[key])
    ]
    return [*unknown, *wrong]


def _unknown(function: str, key: str, specs: Mapping[str, ParamSpec]) -> str:
    folded = {name.casefold(): name for name in specs}
    near = get_close_matches(str(key).casefold()[:100], folded, n=1)
    guess = f"; did you mean {folded[near[0]]}?" if near else ""
    takes = f"valid members: {', '.join(specs)}" if specs else "it has no members"
    return f"JobParams.{shortened(str(key), 100)} is not documented for {function}; {takes}{guess}"


def _param(key: str, constraint: Constraint, description: str, **more: Any) -> Any:
    """An optional field."""
    return field(
        default=None,
        metadata={"spec": ParamSpec(key=key, constraint=constraint, description=description, **more)},
    )


def _as_json(value: Any) -> Any:
    return [_as_json(item) for item in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(item) for item in value) if isinstance(value, list | tuple) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_range(value: Any) -> bool:
    """Two fractions in ascending order."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(map(_is_number, value))
        and 0 <= value[0] < value[1] <= 1
    )


def _is_box(value: Any) -> bool:
    if not (isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))):
        return False
    x, y, width, height = value
    # Slightly more than 1, since sums of fractions are not exact.
    return (
        all(0 <= number <= 1 for number in value)
        and min(width, height) > 0
        and bool(max(x + width, y + height) <= 1 + 1e-9)
    )


def _are_boxes(value: Any) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= 2 and all(map(_is_box, value))


def _is_one_input(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 1
        and isinstance(value[0], dict)
        and _is_oss_url(value[0].get("file"))
    )


def _is_oss_url(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(split_oss_url(value))
    except ValueError:
        return False


def _also_as_text(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """The same value as JSON text, which some versions of the documentation require."""

    def holds_parsed(value: Any) -> bool:
        try:
            return holds(lenient_json.parse(value) if isinstance(value, str) else value)
        except lenient_json.BadJson:
            return False

    return holds_parsed


def _whole(least: int, most: int) -> Constraint:
    return Constraint(
        "an integer",
        f"{least} to {most}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most,
    )


def _one_of(*names: str) -> Constraint:
    return Constraint("text", " or ".join(f'"{name}"' for name in names), lambda value: value in names)


def _matching(kind: str, form: str, pattern: str) -> Constraint:
    compiled = re.compile(pattern)
    return Constraint(kind, form, lambda value: isinstance(value, str) and bool(compiled.fullmatch(value)))


def _clock(value: Any) -> Any:
    """A timedelta as text for ASR; fractions of a second are dropped."""
    if not isinstance(value, timedelta) or value < timedelta(0):
        return value
    seconds = int(value.total_seconds())
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _settings(value: Any) -> Any:
    """Names with numbers as text for FaceBeauty."""
    if not isinstance(value, Mapping):
        return value
    return ",".join(f"{name}={number}" for name, number in value.items())


_BOOL: Final = Constraint("true or false", "", lambda value: isinstance(value, bool))
_TEXT: Final = _matching("text", "not empty", r"(?s).+")
_RATE: Final = _whole(-500, 500)
_HERTZ: Final = Constraint(
    "an integer",
    "in Hz",
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0,
)
_TIME: Final = _matching("text or a timedelta", "HH:MM:SS", r"\d{2,}+:[0-5]\d:[0-5]\d")
_URL: Final = _matching("a URL", "oss:// or http(s)://", r"(?s)oss://[^/\s]++/.++|https?://[^/\s]++/\S++")
_BOXES: Final = Constraint(
    "boxes [x, y, width, height], also as JSON text",
    "1 or 2, in fractions of the picture",
    _also_as_text(_are_boxes),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoH2V(Params):
    """No members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoDelogo(Params):
    """Where the logos are. ``LogoModel`` and ``Boxes`` belong to another product's function of the same name."""

    boxes: Sequence[Box] | str | None = _param("Logo", _BOXES, "where the logos are", convert=_tupled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover(Params):
    """Still images, for which Output needs ``{sequenceId}``, or an animation."""

    model: str | None = _param(
        "Model", _one_of("gif", ""), '"gif" for an animation, "" for still images', default="still images"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoClip(Params):
    """No members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMatting(Params):
    """No members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageH2V(Params):
    """No members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDelogo(Params):
    """No members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionExtraction(Params):
    """How captions are read. With ``sep``, Output may hold ``{resultType}``, which becomes ``zh`` and ``en``."""

    fps: int | None = _param("fps", _whole(2, 10), "frames looked at per second", default="5")
    roi: tuple[Fractions, Fractions] | None = _param(
        "roi",
        Constraint(
            "two ranges [[top, bottom], [left, right]]",
            "in fractions of the picture, the smaller first",
            lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_range, value)),
        ),
        "where the captions are",
        default="the bottom quarter",
        convert=_tupled,
    )
    sep: bool | None = _param("sep", _BOOL, "one file for Chinese and one for English", default="false")
    formatter: str | None = _param("formatter", _TEXT, r"prefix of each caption, such as `{\an8}`")
    track: str | None = _param("track", _one_of("main"), '"main" for the main track only')


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoDetext(Params):
    """Where the captions are: a list, or the same as JSON text, which the documentation of 2021 requires."""

    boxes: Sequence[Box] | str | None = _param("Text", _BOXES, "where the captions are", convert=_tupled)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoGreenScreenMatting(Params):
    """The new background. In 2021 both members were required; the current page has ``bgimage`` only, as optional."""

    bgimage: str | None = _param(
        "bgimage", _URL, "the new background; then the video is MP4", default="none: WEBM with alpha"
    )
    mode: str | None = _param("mode", _one_of("file"), "as the page of 2021 asks for")


@dataclass(frozen=True, slots=True, kw_only=True)
class MusicSegmentDetect(Params):
    """No members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioMixing(Params):
    """What is mixed into the input."""

    file: str | None = _param(
        "inputs",
        Constraint(
            "an OSS URL",
            'in the JSON as `[{"file": URL}]`, one only, also as JSON text',
            _also_as_text(_is_one_input),
        ),
        "the audio to mix in",
        serialize=lambda value: [{"file": value}],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSplit(Params):
    """No members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioBeatDetection(Params):
    """No members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ASR(Params):
    """Which part of the input is recognised, and how."""

    start_time: str | timedelta | None = _param(  # noqa: RUF009 - makes a field, as dataclasses.field() does
        "start_time", _TIME, "where to begin", convert=_clock
    )
    duration: str | timedelta | None = _param(  # noqa: RUF009 - makes a field, as dataclasses.field() does
        "duration", _TIME, "how much to recognise", convert=_clock
    )
    request_params: str | None = _param(
        "request_params",
        _matching("text", "`&NAME=VALUE…`", r"(?:&[^&=\s]++=[^&\s]*+)++"),
        "further options, such as `&first_channel_only=True&enable_word_level_result=False`",
        default="first_channel_only True, enable_word_level_result False",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncTextToSpeech(Params):
    """The voice. No member carries the text: it is the input. Output needs ``{resultType}`` as its suffix."""

    voice: str | None = _param("voice", _TEXT, "voice", default="xiaoyun")
    format: str | None = _param("format", _one_of("pcm", "wav", "mp3"), "audio format", default="pcm")
    sample_rate: int | None = _param("sample_rate", _HERTZ, "sample rate", default="16000")
    volume: int | None = _param("volume", _whole(0, 100), "volume", default="50")
    speech_rate: int | None = _param("speech_rate", _RATE, "speed", default="0")
    pitch_rate: int | None = _param("pitch_rate", _RATE, "pitch", default="0")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextToSpeech(AsyncTextToSpeech):
    """The same as AsyncTextToSpeech; the audio comes in the reply to the submission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCartoonize(Params):
    """There may be members, but none are documented."""

    documented: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioQualityAssessment(Params):
    """No members. The input is WAV, 16 bit, 8 to 48 kHz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceBeauty(Params):
    """Strength of each effect, e.g. ``{"whiten": 20, "smooth": 50, "face_thin": 50}``."""

    beauty_params: str | Mapping[str, int] | None = _param(
        "beauty_params",
        _matching("text, or names with numbers", "`NAME=NUMBER,…`", r"\w++=\d++(?:,\w++=\d++)*+"),
        "strength of each effect, such as `whiten=20,smooth=50,face_thin=50`",
        convert=_settings,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechDenoise(Params):
    """No members. The input is WAV, 16 or 48 kHz."""


#: The class of each documented function.
PARAMS_BY_FUNCTION: Final[Mapping[str, type[Params]]] = {
    params_class.__name__: params_class
    for params_class in (
        VideoH2V,
        VideoDelogo,
        Cover,
        VideoClip,
        ImageMatting,
        ImageH2V,
        ImageDelogo,
        CaptionExtraction,
        VideoDetext,
        VideoGreenScreenMatting,
        MusicSegmentDetect,
        AudioMixing,
        VideoSplit,
        AudioBeatDetection,
        ASR,
        AsyncTextToSpeech,
        TextToSpeech,
        ImageCartoonize,
        AudioQualityAssessment,
        FaceBeauty,
        SpeechDenoise,
    )
}
