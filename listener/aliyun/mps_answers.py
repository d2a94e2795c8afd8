"""Reads the replies of the queries for the state of jobs, each kind by its row of the table of kinds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from listener.core.errors import FailureKind, MpsUnavailable, Undecodable
from listener.core.job_kinds import IPRODUCTION, WORKFLOW, JobKind
from listener.core.model import Answer, Source
from listener.formats import lenient_json
from listener.formats.callback import decode
from listener.formats.unicode_text import shortened, storable


def answers(kind: JobKind, job_ids: Sequence[str], reply: Mapping[str, Any]) -> dict[str, Answer]:
    """The answers in a reply, by the ids that were asked for; those that MPS does not know are missing.

    Raises MpsUnavailable for a job that cannot be decoded, and for a reply without any member.
    """
    if not reply:
        raise _garbled(kind, ",".join(job_ids), "it is empty")
    return {
        job_id: _answer(kind, job_id, job) for job_id, job in _jobs(kind, job_ids, reply) if job_id in job_ids
    }


def result_members(result: str | None) -> dict[str, Any]:
    """The members of ``Result``, if it is a JSON object; listener.formats.job_outputs reads its other forms."""
    try:
        value = lenient_json.parse(result or "")
    except lenient_json.BadJson:
        return {}
    return value if isinstance(value, dict) else {}


def _jobs(
    kind: JobKind, job_ids: Sequence[str], reply: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each job of the reply with its id. A reply about a single job does not always repeat it."""
    if not kind.entries:
        named = str(reply.get(kind.id) or job_ids[0])
        if named != job_ids[0]:
            raise _garbled(kind, job_ids[0], f"it is about {shortened(named, 60)}")
        yield named, reply
        return
    value: Any = reply
    for name in kind.entries:
        value = value.get(name) if isinstance(value, Mapping) else None
    for job in value if isinstance(value, list) else ():
        if isinstance(job, Mapping):
            yield str(job.get(kind.id) or ""), job


def _answer(kind: JobKind, job_id: str, job: Mapping[str, Any]) -> Answer:
    """The state of a job, decoded like a callback: both have the same members."""
    try:
        job = lenient_json.parse(json.dumps(job))  # strict, without NaN and infinity
        result = decode(json.dumps(_document(kind, job_id, job)))
    except (Undecodable, ValueError) as error:
        raise _garbled(kind, job_id, error) from error
    text, output = _outputs(kind, job)
    return Answer(
        result=replace(result, source=Source.QUERY, outputs=storable(text), output=storable(output))
    )


def _garbled(kind: JobKind, job_id: str, reason: object) -> MpsUnavailable:
    return MpsUnavailable(
        f"{kind.queried_by} for {job_id} returned a reply that cannot be decoded: {reason}",
        kind=FailureKind.PROTOCOL,
    )


def _document(kind: JobKind, job_id: str, job: Mapping[str, Any]) -> dict[str, Any]:
    if kind is WORKFLOW:
        return {"Type": "Report", "RunId": job_id, "MediaWorkflowExecution": job}
    said = result_members(_text(job.get("Result"))) if kind is IPRODUCTION else job
    return {
        "Type": kind.name,
        "JobId": job_id,
        "FunctionName": job.get("FunctionName") or "",
        "State": job.get(kind.state) or "",
        "Code": said.get("Code") or "",
        "Message": said.get("Message") or "",
        "PipelineId": job.get("PipelineId") or "",
        "UserData": _at(job, kind.user_data) or "",
    }


def _outputs(kind: JobKind, job: Mapping[str, Any]) -> tuple[str, str]:
    """The text that holds what the job produced, and the address that its names belong to, if they need one.

    Smart production has its Result; ``null`` says that there is none. Of the other kinds it is the whole job.
    """
    if kind is IPRODUCTION:
        return _text(job.get("Result")) or "null", _text(job.get("Output"))
    return lenient_json.render(job), ""


def _text(value: Any) -> str:
    """A string unchanged, None as "", and anything else, which is not documented, as its JSON text."""
    return value if isinstance(value, str) else "" if value is None else lenient_json.render(value)


def _at(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
