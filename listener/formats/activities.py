"""Reads the activities of a workflow from a callback, or from the reply to a query for the workflow's execution."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from listener.core.errors import Undecodable
from listener.core.outputs import Activity
from listener.formats import callback
from listener.formats.json_members import as_text, folded

_NEVER: Final = datetime.max.replace(tzinfo=UTC)
#: The first and the last activity of every workflow, beside which all others are in the middle.
_PLACES: Final = {"start": 0, "report": 2}


def read(text: str) -> tuple[Activity, ...]:
    """The activities in the JSON text of a callback or of an execution, as ``activities_of`` returns them.

    Never raises; text that is neither has none.
    """
    try:
        members = callback.members_of(text)
    except Undecodable:
        return ()
    execution = members.get("mediaworkflowexecution", members)
    return activities_of(folded(execution)) if isinstance(execution, dict) else ()


def activities_of(execution: Mapping[str, Any]) -> tuple[Activity, ...]:
    """The activities of an execution by their start, those without a time last; MPS lists them in any order.

    The members of the execution are given by case-folded name.
    """
    found = [_activity(members) for members in callback.activities_of(execution)]
    return tuple(sorted(found, key=_place))


def _activity(members: Mapping[str, Any]) -> Activity:
    return Activity(
        name=as_text(members.get("name")),
        type=as_text(members.get("type")),
        job_id=as_text(members.get("jobid")),
        state=_state(members),
        code=as_text(members.get("code")),
        message=as_text(members.get("message")),
        started_at=_timestamp(members.get("starttime")),
        ended_at=_timestamp(members.get("endtime")),
    )


def _state(members: Mapping[str, Any]) -> str:
    try:
        return callback.state_of(members)
    except Undecodable:
        return as_text(members.get("state"))


def _timestamp(value: Any) -> datetime | None:
    """A time in UTC. Samples have blanks within: ``2016-04-01T02: 53: 41Z``."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        time = datetime.fromisoformat("".join(value.split()))
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _place(activity: Activity) -> tuple[datetime, datetime, int]:
    """Where it belongs; times are in whole seconds, so several may be equal."""
    started = activity.started_at or activity.ended_at or _NEVER
    return started, activity.ended_at or _NEVER, _PLACES.get(activity.type.casefold(), 1)
