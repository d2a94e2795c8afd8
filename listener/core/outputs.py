"""The outputs of a job as frozen values; ``listener.formats.kind_outputs`` reads them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from listener.core.documents import from_plain, to_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """A file that the job wrote. What MPS does not report about it is None."""

    path: str  #: the object's key in its bucket (inferred from the samples)
    bucket: str = ""  #: empty if the Output of the job is unknown
    url: str = ""  #: ``oss://BUCKET.oss-REGION.aliyuncs.com/KEY``; empty if the Output of the job is unknown
    #: ``snapshot``, ``tile`` (several snapshots in one image) or ``subtitle``; empty for any other.
    role: str = ""
    width: int | None = None
    height: int | None = None
    duration: float | None = None  #: seconds
    bit_rate: float | None = None  #: kbit/s
    size: int | None = None  #: bytes
    format: str | None = None  #: as MPS names it, such as ``QuickTime / MOV``
    time_ms: float | None = None  #: of a snapshot: its time in the video


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
class MediaProperties:
    """What MPS found in a media file: the input of MediaInfo, the file that Transcode wrote."""

    format: str | None = None  #: as MPS names it, such as ``QuickTime / MOV``
    width: int | None = None
    height: int | None = None
    duration: float | None = None  #: seconds
    bit_rate: float | None = None  #: kbit/s
    frame_rate: float | None = None  #: frames per second
    size: int | None = None  #: bytes
    video_streams: tuple[Any, ...] = ()  #: JSON objects, unchanged
    audio_streams: tuple[Any, ...] = ()
    subtitle_streams: tuple[Any, ...] = ()
    others: Mapping[str, Any] = field(default_factory=dict)  #: further members, unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A transcoding template that fits the input, of Analysis."""

    id: str
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)  #: further members, unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerationResult:
    """What MediaCensor says about one part of the content, in one respect."""

    part: str  #: ``title``, ``description``, ``barrage``, ``audio``, ``cover`` or ``video``
    suggestion: str = ""  #: ``Pass``, ``Review`` or ``Block``
    label: str = ""  #: such as ``porn``; several are separated by commas
    scene: str = ""  #: such as ``antispam``
    rate: float | None = None  #: 0 to 100
    time_ms: float | None = None  #: in the video; None: the video as a whole
    image: OutputFile | None = None  #: the cover, or the snapshot of the video


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedPart:
    """A part of the input that is also in a known file; times in seconds (inferred)."""

    start: float | None = None
    duration: float | None = None
    known_start: float | None = None  #: in the known file
    known_duration: float | None = None
    similarity: float | None = None  #: 0 to 1
    text: str = ""
    known_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintMatch:
    """A known file that FpShot found the input to be similar to."""

    media: str  #: what is similar: ``video``, ``audio`` or ``text``
    key: str = ""  #: the primary key of the known file
    similarity: float | None = None  #: 0 to 1
    parts: tuple[MatchedPart, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TagResult:
    """One analysis of smart tagging."""

    type: str  #: ``VideoLabel``, ``TextLabel``, ``ASR``, ``OCR`` and so on
    data: Any = None  #: parsed; the text itself if it is not JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One step of a workflow."""

    name: str = ""
    type: str = ""  #: ``Start``, ``Transcode``, ``Snapshot``, ``Analysis``, ``Report`` and so on
    job_id: str = ""  #: empty if it is not a job
    #: Normalised as that of a job: ``Success``, ``Fail``, ``Running``; else verbatim: ``Skipped``.
    state: str = ""
    code: str = ""
    message: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What one job produced: of smart production the contents of ``Result``, of other kinds the job in the reply."""

    source: str = "query"  #: ``query``: MPS itself; ``callback``: a message, which can be forged
    code: str = ""  #: ``Success``, or the reason of the failure
    message: str = ""  #: for users; do not compare it
    files: tuple[OutputFile, ...] = ()  #: all files that were written
    inline: tuple[InlineFile, ...] = ()
    covers: tuple[CoverImage, ...] = ()  #: of Cover
    segments: tuple[Segment, ...] = ()  #: of MusicSegmentDetect: each chorus
    splits: tuple[Segment, ...] = ()  #: of VideoSplit: each clip
    beats: tuple[float, ...] = ()  #: seconds; AudioBeatDetection usually writes them to a file instead
    down_beats: tuple[float, ...] = ()
    properties: MediaProperties | None = None  #: of MediaInfo and Transcode
    templates: tuple[Template, ...] = ()  #: of Analysis
    suggestion: str = ""  #: of MediaCensor: ``Pass``, ``Review`` or ``Block``
    moderation: tuple[ModerationResult, ...] = ()  #: of MediaCensor
    matches: tuple[FingerprintMatch, ...] = ()  #: of FpShot
    tags: tuple[TagResult, ...] = ()  #: of smarttag
    activities: tuple[Activity, ...] = ()  #: of a workflow, in chronological order
    details: tuple[Any, ...] = ()  #: JSON values, unchanged
    #: JSON values of unknown shape; of other kinds the further members of the job.
    others: tuple[Any, ...] = ()
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
