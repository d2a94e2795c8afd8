"""What a job made, as frozen values: the words for ``listener.formats.job_outputs``, which reads them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """A file that the job wrote."""

    path: str  #: the object's key in its bucket (inferred from the samples)
    bucket: str = ""  #: empty when the job's output is not known
    url: str = ""  #: ``oss://BUCKET.oss-REGION.aliyuncs.com/KEY``; empty when the job's output is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineFile:
    """A file that came within the reply: the speech of TextToSpeech."""

    content: str = field(repr=False)  #: base64

    @property
    def data(self) -> bytes:
        return base64.b64decode(self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverImage:
    """A cover image; it is among the files too."""

    path: str
    bucket: str = ""
    url: str = ""
    score: float | None = None  #: the higher the better
    time_ms: float | None = None  #: where in the video


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a recording, in seconds from its beginning."""

    start: float
    end: float
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What one ``Result`` says."""

    code: str = ""  #: ``Success``, or why the job failed
    message: str = ""  #: for people; never compare it
    files: tuple[OutputFile, ...] = ()  #: everything that was written
    inline: tuple[InlineFile, ...] = ()
    covers: tuple[CoverImage, ...] = ()  #: of Cover
    segments: tuple[Segment, ...] = ()  #: of MusicSegmentDetect: each chorus
    splits: tuple[Segment, ...] = ()  #: of VideoSplit: each clip
    beats: tuple[float, ...] = ()  #: seconds; AudioBeatDetection usually writes them to a file instead
    down_beats: tuple[float, ...] = ()
    details: tuple[Any, ...] = ()  #: JSON values as they came
    others: tuple[Any, ...] = ()  #: JSON values that were read, and are of no shape we know
    malformed: bool = False  #: the text had to be mended, or not all of it could be read
    problems: tuple[str, ...] = ()  #: what could not be read
    raw: str = field(default="", repr=False)  #: the text itself

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON values, keys in the order of the fields; all numbers are finite."""
        plain: dict[str, Any] = _plain(self)
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
    return value
