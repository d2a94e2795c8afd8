"""One callback of each kind and state, as the emulator would send it, and events of IMS and VOD as documented."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from listener.core import job_kinds
from listener.core.job_kinds import JobKind
from listener.emulator.mps.jobs import BAD_CONTENT, BAD_CONTENT_TEXT
from listener.emulator.mps.kinds.documents import time_text
from listener.emulator.mps.sample_jobs import PARTLY_FAILING, SampleJob, file_text, reports_of
from listener.emulator.rpc.call import Document

#: How long the job has run.
_DURATION: Final = timedelta(minutes=1)
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a callback is about."""

    id: str  #: of the job; of the run, for a workflow
    user_data: str = ""  #: as MPS sends it, with our token if it has one
    function: str = ""  #: of smart production
    pipeline: str = ""
    at: datetime  #: when the job ended


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCallback:
    """A callback that can be made up."""

    name: str  #: ``kind.state``, in lower case
    about: str  #: in a few words, for a list
    kind: JobKind | None = None  #: None: an event of IMS or VOD
    build: Callable[[Subject], Document]

    @property
    def has_function(self) -> bool:
        return self.kind in (job_kinds.IPRODUCTION, None)


def _of_job(
    kind: JobKind,
    state: str,
    about: str,
    *,
    fails: bool = False,
    ended: bool = True,
    parameters: Mapping[str, str] = _NONE,
) -> SampleCallback:
    def build(subject: Subject) -> Document:
        named = {"FunctionName": subject.function} if subject.function else {}
        sample = SampleJob(
            id=subject.id,
            pipeline=subject.pipeline,
            user_data=subject.user_data,
            code=BAD_CONTENT if fails else "",
            message=BAD_CONTENT_TEXT if fails else "",
            created=subject.at - _DURATION,
            finished=subject.at,
            ended=ended,
            parameters={**parameters, **named},
        )
        return reports_of(kind, sample)[0]

    return SampleCallback(name=f"{kind.name.lower()}.{state}", about=about, kind=kind, build=build)


def _ims_event(subject: Subject, *, failed: bool) -> Document:
    """Members in ``MessageBody``; IMS was called ICE before."""
    failure = {"ErrorCode": BAD_CONTENT, "ErrorMessage": BAD_CONTENT_TEXT} if failed else {}
    body = {
        "Status": "Failed" if failed else "Success",
        "JobId": subject.id,
        "FunctionName": subject.function,
        "UserData": subject.user_data,
        **failure,
    }
    return {
        "EventType": "ProduceMediaComplete",
        "UserId": 1234567890,
        "EventTime": time_text(subject.at.timestamp()),
        "MessageBody": {name: value for name, value in body.items() if value},
    }


def _vod_event(subject: Subject, *, failed: bool) -> Document:
    """Members at the top; the user data is in ``Extend``."""
    failure = {"ErrorCode": BAD_CONTENT, "ErrorMessage": BAD_CONTENT_TEXT} if failed else {}
    return {
        "EventTime": time_text(subject.at.timestamp()),
        "EventType": "StreamTranscodeComplete",
        "Status": "fail" if failed else "success",
        "VideoId": subject.id,
        "JobId": subject.id,
        **({"Extend": subject.user_data} if subject.user_data else {}),
        **failure,
    }


_SIMPLE: Final = (
    *(job_kinds.IPRODUCTION, job_kinds.TRANSCODE, job_kinds.SNAPSHOT, job_kinds.ANALYSIS),
    *(job_kinds.MEDIA_INFO, job_kinds.SMARTTAG, job_kinds.FP_SHOT),
)
_CENSOR: Final = job_kinds.MEDIA_CENSOR
_RUN: Final = job_kinds.WORKFLOW
_SAMPLES: Final = (
    *(_of_job(kind, "success", f"the {kind.name} job has succeeded") for kind in _SIMPLE),
    *(_of_job(kind, "fail", f"the {kind.name} job has failed", fails=True) for kind in (*_SIMPLE, _CENSOR)),
    _of_job(job_kinds.SMARTTAG, "processing", "the smarttag job has started", ended=False),
    _of_job(_CENSOR, "pass", "the MediaCensor job has found nothing"),
    *(
        _of_job(
            _CENSOR,
            word,
            f"the MediaCensor job suggests to {word}",
            parameters={"Input": file_text(f"in/{word}.mp4")},
        )
        for word in ("review", "block")
    ),
    _of_job(_RUN, "start", "the workflow has started", ended=False),
    _of_job(_RUN, "report", "the workflow has ended"),
    _of_job(
        _RUN,
        "activity-fail",
        "the workflow has ended, one of its activities failed",
        parameters={"MediaWorkflowId": PARTLY_FAILING.id},
    ),
    _of_job(_RUN, "fail", "the workflow has failed", fails=True),
    SampleCallback(
        name="ims.event",
        about="IMS (ICE) has produced a medium",
        build=lambda subject: _ims_event(subject, failed=False),
    ),
    SampleCallback(
        name="ims.fail",
        about="IMS (ICE) could not produce a medium",
        build=lambda subject: _ims_event(subject, failed=True),
    ),
    SampleCallback(
        name="vod.event",
        about="VOD has transcoded a stream",
        build=lambda subject: _vod_event(subject, failed=False),
    ),
    SampleCallback(
        name="vod.fail",
        about="VOD could not transcode a stream",
        build=lambda subject: _vod_event(subject, failed=True),
    ),
)
#: By name, those of one kind together.
SAMPLE_CALLBACKS: Final[Mapping[str, SampleCallback]] = {
    each.name: each for each in sorted(_SAMPLES, key=lambda each: each.name)
}
