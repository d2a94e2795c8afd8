"""Events of IMS (ICE) and VOD, as results. The services are newer than MPS and may use the same queues.

An event of IMS has its members in ``MessageBody``, one of VOD has them at the top. For both see docs/mps.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from listener.core.errors import Undecodable
from listener.core.event_types import is_complete, is_start
from listener.core.model import FAIL, RUNNING, SUCCESS, Result
from listener.formats import user_data
from listener.formats.callback_members import folded_object, label
from listener.formats.json_members import as_text
from listener.formats.states import reported_state

#: Of the first of these that an event has, it is about this job; a task of a workflow is a job, too.
_JOB: Final = ("JobId", "ParentJobId", "TaskId")
_MEDIUM: Final = ("VideoId", "MediaId", "ImageId")
#: Codes that are no errors; the events of video AI have "0".
_NO_ERROR: Final = frozenset({"", "0", "200", "ok", "success"})


def is_event(members: Mapping[str, Any]) -> bool:
    """Whether this document is an event, which names its type in a member that callbacks of MPS do not have.

    All types are texts; a document with a number or an object there is none, however well it would pass for a text.
    """
    named = isinstance(members.get("eventtype"), str) and label(members, "EventType")
    return bool(named) and not label(members, "Type")


def with_body(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members of an event with those of its ``MessageBody``."""
    return {**members, **folded_object(members.get("messagebody"))}


def event_of(document: Mapping[str, Any], *, raw: str) -> Result:
    """The result in this event; raises Undecodable if there is none. ``document``: its members by lower-case name."""
    members, type_ = with_body(document), label(document, "EventType")
    job_id, media_id = label(members, *_JOB), label(members, *_MEDIUM)
    time = label(document, "EventTime")
    if not (job_id or media_id or time):
        raise Undecodable(f"the event {type_} has no EventTime, and no id of a job or a medium")
    code = as_text(members.get("errorcode")) or as_text(members.get("code"))
    wire = members.get("userdata", members.get("extend"))
    text, _token = user_data.extract_token(None if wire is None else as_text(wire))
    return Result(
        job_id=job_id,
        media_id=media_id,
        event=f"{job_id or media_id}/{type_}@{time}/{_digest(document)}",
        type=type_,
        state=_state(members, type_=type_, code=code),
        function=as_text(members.get("functionname")),
        code=code,
        message=as_text(members.get("errormessage")) or as_text(members.get("message")),
        pipeline=as_text(members.get("pipelineid")),
        user_data=text,
        raw=raw,
    )


def _state(members: Mapping[str, Any], *, type_: str, code: str) -> str:
    """The state. Without one, an error means Fail, and else the name of the event may say that all went well.

    The success of an event that something has begun is progress.
    """
    state = reported_state(label(members, "Status", "State"))
    if not state and code.strip().lower() not in _NO_ERROR:
        state = FAIL
    elif not state and is_complete(type_):
        state = SUCCESS
    return RUNNING if state == SUCCESS and is_start(type_) else state


def _digest(document: Mapping[str, Any]) -> str:
    """The same for two copies of an event.

    Events have no id. Several of one type may be about the same job or medium at the same second, such as those of
    two streams of a video, so that only all of its content identifies one.
    """
    canonical = json.dumps(document, sort_keys=True).encode()
    return hashlib.sha256(canonical).hexdigest()[:32]
