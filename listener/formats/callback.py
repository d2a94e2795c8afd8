"""Decodes a message body to a result: removes all wrappers and accepts all spellings of its members.

For the tolerated input see docs/mps.md.
"""

from __future__ import annotations

import binascii
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from xml.etree.ElementTree import Element

from listener.core.errors import Undecodable
from listener.core.model import FAIL, RUNNING, SUCCESS, Result, make_result
from listener.formats import lenient_json, safe_xml, user_data
from listener.formats.callback_members import folded, folded_deeply, folded_object, label
from listener.formats.events import event_of, is_event, with_body
from listener.formats.json_members import as_text, items
from listener.formats.states import reported_state
from listener.formats.unicode_text import storable

#: base64 of a topic's wrapper of base64 of a callback makes three; one in reserve.
MAX_WRAPPINGS: Final = 4

_BLANK: Final = string.whitespace + "\ufeff"
#: The documentation's own sample of a topic's Notification closes this element by another name.
_DOCUMENTED_SLIP: Final = re.compile("<PublishTime>([^<]*)</MessagePublishTime>")
#: These members distinguish the JSON of a topic from a callback, which has a string ``Message`` too.
_NOTIFICATION_MEMBERS: Final = frozenset({"topicname", "subscriber", "messagemd5"})


class Wrapping(StrEnum):
    """What may be around a callback, in any order and several times."""

    BASE64 = "base64"
    TOPIC_XML = "topic-xml"  #: the Notification of a topic
    TOPIC_JSON = "topic-json"


@dataclass(frozen=True, slots=True)
class Opened:
    """A wrapper that could be removed, and the text that was in it."""

    wrapping: Wrapping
    content: str


def decode(body: str) -> Result:
    """The result in a message body. Raises Undecodable, and nothing else, if there is none.

    The body may be base64 or plain, bare or wrapped by a topic as XML or JSON, and base64 again inside; both
    spellings of every key are accepted. An unknown type or state is not an error. Events of IMS and VOD are results.
    """
    raw, members = _unwrapped(body)
    return event_of(members, raw=raw) if is_event(members) else _callback_of(members, raw=raw)


def opened(body: str) -> Sequence[Opened]:
    """The wrappers around the callback, outermost first, as far as they can be removed. Raises nothing."""
    found: list[Opened] = []
    try:
        _unwrapped(body, note=lambda wrapping, content: found.append(Opened(wrapping, content)))
    except Undecodable:
        return found
    return found


def _callback_of(document: dict[str, Any], *, raw: str) -> Result:
    members = _with_inner_members(document)
    execution = _execution(members)
    run_id, type_ = label(members, "RunId") or label(execution, "RunId"), label(members, "Type")
    state = state_of(members, execution)
    job_id = label(members, "JobId")
    if not job_id and not run_id:
        raise Undecodable("the callback has neither a JobId nor a RunId, nor the EventType of an event")
    activities = _activities(execution) if execution else {}
    text, token = _user_data(members, execution)
    return make_result(
        job_id=job_id,
        run_id=run_id,
        type=type_,
        state=RUNNING if run_id and _is_start(type_) and state == SUCCESS else state,
        function=as_text(members.get("functionname")),
        code=as_text(members.get("code")),
        message=as_text(members.get("message", members.get("msg"))),
        details=_details(members.get("details")),
        pipeline=as_text(members.get("pipelineid")),
        user_data=text,
        token=token,
        activity_job_ids=tuple(activities),
        activity_states=tuple(activities.values()),
        raw=raw,
    )


def all_members_of(raw: str) -> Mapping[str, Any]:
    """All members of a callback without its wrappers (``Result.raw``), by lower-cased name, also within each other.

    Those that ``decode`` finds in an inner document are there twice: at their place, and at the top.
    """
    try:
        members = folded(_json_object(raw))
        found = with_body(members) if is_event(members) else _with_inner_members(members)
    except Undecodable:
        return {}
    return {name: folded_deeply(value) for name, value in found.items()}


def _unwrapped(
    body: str, *, note: Callable[[Wrapping, str], None] | None = None
) -> tuple[str, dict[str, Any]]:
    """The innermost document, as text and as members by lower-cased name. Each wrapper on the way is noted."""
    text = storable(body).strip(_BLANK)
    if not text:
        raise Undecodable("the message has no body")
    for _ in range(MAX_WRAPPINGS + 1):
        if text[0] in "{[":
            members = folded(_json_object(text))
            if (inner := _inside_json(members)) is None:
                return text, members
            wrapping = Wrapping.TOPIC_JSON
        elif text[0] == "<":
            inner, wrapping = _inside_xml(text), Wrapping.TOPIC_XML
        else:
            inner, wrapping = _inside_base64(text), Wrapping.BASE64
        text = storable(inner).strip(_BLANK)
        if note is not None:
            note(wrapping, text)
        if not text:
            raise Undecodable("the message body is a wrapper with empty content")
    raise Undecodable(f"the body is wrapped more than {MAX_WRAPPINGS} times")


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = lenient_json.parse(text)
    except lenient_json.BadJson as error:
        raise Undecodable(f"the body is {error}") from error
    if not isinstance(value, dict):
        raise Undecodable("the body is a JSON array, not an object")
    return value


def _inside_json(members: Mapping[str, Any]) -> str | None:
    """The content of the JSON wrapper of a topic; None if the document is not such a wrapper."""
    message = members.get("message")
    return message if isinstance(message, str) and not _NOTIFICATION_MEMBERS.isdisjoint(members) else None


def _inside_xml(text: str) -> str:
    try:
        root = _notification(text)
    except safe_xml.BadXml as error:
        raise Undecodable(f"the body is {error}") from error
    members = safe_xml.children_text(root)
    if "Message" not in members:
        raise Undecodable(
            f"the body is XML ({safe_xml.local(root.tag)[:40]}), but not the Notification of a topic"
        )
    return members["Message"]


def _notification(text: str) -> Element:
    try:
        return safe_xml.parse(text)
    except safe_xml.BadXml:
        repaired = _DOCUMENTED_SLIP.sub(r"<PublishTime>\1</PublishTime>", text)
        if repaired == text:
            raise
        return safe_xml.parse(repaired)


def _inside_base64(text: str) -> str:
    """Strict, since a lenient decoder turns other text into garbage; only line breaks are ignored."""
    try:
        return binascii.a2b_base64(text.replace("\r", "").replace("\n", ""), strict_mode=True).decode()
    except ValueError as error:
        raise Undecodable(f"the body is neither JSON nor XML nor base64 of UTF-8 text: {error}") from error


def members_of(raw: str) -> dict[str, Any]:
    """The members of a decoded callback, by lower-cased name; ``raw`` is that of its result. Raises Undecodable."""
    return _with_inner_members(folded(_json_object(raw)))


def _with_inner_members(members: dict[str, Any]) -> dict[str, Any]:
    """If the document has no id, the members of its single ``…Notify`` member are added.

    The documentation is inconsistent on whether FpShot and MediaCensor callbacks are nested like this.
    """
    if "jobid" not in members and "runid" not in members:
        nested = [
            value for name, value in members.items() if name.endswith("notify") and isinstance(value, dict)
        ]
        if len(nested) == 1:
            members = members | folded(nested[0])
    if "state" not in members and "code" not in members:
        members = folded_object(members.get("result")) | members
    return members


def state_of(members: Mapping[str, Any], execution: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The state, normalised if its meaning is known, else verbatim; if missing, derived from the code.

    Raises Undecodable for a state that MPS does not report.
    """
    if state := label(members, "State") or label(execution, "State"):
        return reported_state(state)
    code = as_text(members.get("code")).lower()
    return "" if not code else SUCCESS if code == "success" else FAIL


def _is_start(type_: str) -> bool:
    """Whether this callback of a workflow reports its start, whose success is no outcome: the run has begun."""
    return type_.casefold() == "start"


def _user_data(members: Mapping[str, Any], execution: Mapping[str, Any]) -> tuple[str | None, str]:
    """The text of the submitter and our token. A workflow has its user data in its input."""
    wire = members.get("userdata")
    if wire is None and execution:
        wire = folded(execution.get("input")).get("userdata")
    return user_data.extract_token(None if wire is None else as_text(wire))


def _details(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)


def _execution(members: Mapping[str, Any]) -> Mapping[str, Any]:
    """The run of a workflow, if the document is about one; the reply to a query has its members at the top."""
    inner = folded(members.get("mediaworkflowexecution"))
    return inner or (members if "activitylist" in members else {})


def _activities(execution: Mapping[str, Any]) -> Mapping[str, str]:
    """The activities that are jobs, each once with its state, in the order of the list, which is not chronological."""
    found: dict[str, str] = {}
    for activity in activities_of(execution):
        if job_id := label(activity, "JobId"):
            found.setdefault(job_id, state_of(activity))
    return found


def activities_of(execution: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """The members of each activity of a ``MediaWorkflowExecution``, whose members are given by lower-cased name.

    A callback has them in a list, the reply to a query in the member ``Activity`` of an object.
    """
    listed = items(execution.get("activitylist"), "Activity")
    return [folded(activity) for activity in listed if isinstance(activity, dict)]
