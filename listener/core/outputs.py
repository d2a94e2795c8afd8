"""The outputs of a job as frozen values; ``listener.formats.job_outputs`` reads them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from listener.core.documents import from_plain, to_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """A file that the job wrote."""

    path: str  #: the object's key in its bucket (inferred from the samples)
    bucket: str = ""  #: empty if the Output of the job is unknown
    url: str = ""  #: ``oss://BUCKET.oss-REGION.aliyuncs.com/KEY``; empty if the Output of the job is unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineFile:
    """A file inside the reply: the speech of TextToSpeech."""

    content: str = field(repr=False)  #: base64

    @property
    def data(self) -> bytes:
        return base64.b64decode(self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverImage:
    """A cover image; it is also listed in ``files``."""

    path: str
    bucket: str = ""
    url: str = ""
    score: float | None = None  #: the higher the better
    time_ms: float | None = None  #: its time in the video


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a recording, in seconds from its beginning."""

    start: float
    end: float
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The contents of one ``Result``."""

    code: str = ""  #: ``Success``, or the reason of the failure
    message: str = ""  #: for users; do not compare it
    files: tuple[OutputFile, ...] = ()  #: all files that were written
    inline: tuple[InlineFile, ...] = ()
    covers: tuple[CoverImage, ...] = ()  #: of Cover
    segments: tuple[Segment, ...] = ()  #: of MusicSegmentDetect: each chorus
    splits: tuple[Segment, ...] = ()  #: of VideoSplit: each clip
    beats: tuple[float, ...] = ()  #: seconds; AudioBeatDetection usually writes them to a file instead
    down_beats: tuple[float, ...] = ()
    details: tuple[Any, ...] = ()  #: JSON values, unchanged
    others: tuple[Any, ...] = ()  #: JSON values of unknown shape
    malformed: bool = False  #: the text had to be repaired, or parts of it could not be read
    problems: tuple[str, ...] = ()  #: the parts that could not be read
    raw: str = field(default="", repr=False)  #: the text itself

    def to_document(self) -> dict[str, Any]:
        """The same as plain JSON values, keys in field order; all numbers are finite."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The inverse of ``to_document``. Members that this release does not know are ignored."""
        return from_plain(cls, document)
