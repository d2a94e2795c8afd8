"""Reads what a job of any kind produced: from the reply to a query, or else from the callback alone.

The names of members are those of the official SDK (alibabacloud-mts20140618); the documentation shows them in other
spellings and shapes too. Smart production has a format of its own, see ``listener.formats.job_outputs``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from listener.core import job_kinds
from listener.core.errors import Undecodable
from listener.core.job_kinds import JobKind
from listener.core.model import SUCCESS
from listener.core.outputs import MediaProperties, OutputFile, Outputs, Template
from listener.formats import (
    activities,
    ai_outputs,
    callback,
    job_outputs,
    lenient_json,
    media_properties,
    snapshot_files,
)
from listener.formats.found_outputs import FoundOutputs
from listener.formats.json_members import Members, as_text, excerpt, folded, items
from listener.formats.object_names import named_after, unresolved
from listener.formats.oss_files import oss_file
from listener.formats.states import known_state
from listener.formats.unicode_text import storable

Reader = Callable[[Members, FoundOutputs], None]

#: Members of a job that are not part of what it produced, and are known from its result.
_IDENTITY: Final = (
    "JobId",
    "Id",
    "RunId",
    "RequestId",
    "Type",
    "State",
    "JobStatus",
    "UserData",
    "PipelineId",
)


def read(
    kind: JobKind | None, text: str | None, *, function: str = "", output: str = "", raw: str = ""
) -> Outputs | None:
    """What a job produced; None if that is not known. Never raises for any text, and takes linear time.

    ``text`` is the ``outputs`` of its result, ``raw`` the JSON text of its callback. The callback is read only if MPS
    was not asked, or would not say: it can be forged. ``output`` is the Output of the job, an OSS URL, which determines
    the bucket of paths.
    """
    if not text:
        return _of_callback(kind, raw)
    if kind is None or kind is job_kinds.IPRODUCTION:
        return job_outputs.read(function, text, output=output)
    return _of_query(kind, storable(text))


def _of_query(kind: JobKind, text: str) -> Outputs:
    found = FoundOutputs()
    try:
        value = lenient_json.parse(text)
    except lenient_json.BadJson as error:
        found.problem(f"the job is {error}")
        value = None
    if isinstance(value, dict):
        _job(kind, Members(value), found)
    elif value is not None:
        found.problem(f"the job is {excerpt(value)}, which is not an object")
    return found.outputs(text)


def _job(kind: JobKind, job: Members, found: FoundOutputs) -> None:
    """A job that failed keeps its members unchanged: the names of its files are those that were requested."""
    for name in ("code", "message"):
        if value := job.take(name):
            found.set(name, as_text(value))
    state = as_text(job.get(kind.state))
    if kind is job_kinds.WORKFLOW or not state or known_state(state) == SUCCESS:
        _READERS[kind.name](job, found)
    if others := job.left(without=_IDENTITY):
        found.add("others", others)


def _of_callback(kind: JobKind | None, text: str) -> Outputs | None:
    """What the callback itself reports, as only a few kinds do."""
    names, read_members = _CALLBACK_READERS.get(kind.name if kind else "", ((), None))
    if read_members is None:
        return None
    try:
        members = callback.members_of(text)
        succeeded = callback.state_of(members) == SUCCESS
    except Undecodable:
        return None
    if not succeeded or not any(name.casefold() in members for name in names):
        return None
    found = FoundOutputs()
    found.set("source", "callback")
    read_members(Members(members), found)
    return found.outputs(storable(text))


def _transcode(job: Members, found: FoundOutputs) -> None:
    output = Members(job.take("Output"))
    properties = media_properties.read(output.take("Properties"), found)
    found.set("properties", properties)
    named = output.take("OutputFile")
    if file := oss_file(named):
        source = oss_file(job.get("Input"))
        file = named_after(_as_playlist(file, output, properties), source.path if source else "")
        if left := unresolved(file.path):
            found.problem(f"the name of a file contains {left[0]}, whose value is not known")
        else:
            found.add("files", _described(file, properties))
    elif named is not None:
        found.problem(f"OutputFile is {excerpt(named)}, which does not name a file")
    for subtitle in items(output.take("OutSubtitleList"), "OutSubtitle"):
        _subtitle(subtitle, found)
    if left_over := output.left(without=("UserData",)):
        job.put("Output", left_over)


def _as_playlist(file: OutputFile, output: Members, properties: MediaProperties | None) -> OutputFile:
    """HLS is written to a playlist, whose name MPS completes by ``.m3u8``."""
    container = Members(Members(properties.others if properties else None).get("Format")).get("FormatName")
    formats = (as_text(Members(output.get("Container")).get("Format")), as_text(container))
    if not any(each.casefold().startswith(("m3u8", "hls")) for each in formats):
        return file
    if file.path.casefold().endswith(".m3u8"):
        return file
    return replace(file, path=f"{file.path}.m3u8", url=f"{file.url}.m3u8" if file.url else "")


def _described(file: OutputFile, properties: MediaProperties | None) -> OutputFile:
    if properties is None:
        return file
    names = ("width", "height", "duration", "bit_rate", "size", "format")
    return replace(file, **{name: getattr(properties, name) for name in names})


def _subtitle(subtitle: Any, found: FoundOutputs) -> None:
    """A subtitle that was extracted, or could not be: then its message says why."""
    found.add("details", subtitle)
    members = Members(subtitle)
    file = oss_file(members.get("OutSubtitleFile"))
    if file and as_text(members.get("Success")).casefold() != "false":
        found.add("files", replace(file, role="subtitle"))


def _media_info(job: Members, found: FoundOutputs) -> None:
    found.set("properties", media_properties.read(job.take("Properties"), found))


def _analysis(job: Members, found: FoundOutputs) -> None:
    for template in items(job.take("TemplateList"), "Template"):
        members = Members(template)
        identity = {name: as_text(members.take(name)) for name in ("id", "name")}
        if not identity["id"]:
            found.problem(f"a template is {excerpt(template)}, which has no id")
        found.add("templates", Template(**identity, settings=members.left()))


def _workflow(job: Members, found: FoundOutputs) -> None:
    for activity in activities.activities_of(folded({"ActivityList": job.take("ActivityList")})):
        found.add("activities", activity)


_READERS: Final[Mapping[str, Reader]] = {
    job_kinds.TRANSCODE.name: _transcode,
    job_kinds.SNAPSHOT.name: snapshot_files.of_query,
    job_kinds.MEDIA_INFO.name: _media_info,
    job_kinds.ANALYSIS.name: _analysis,
    job_kinds.SMARTTAG.name: ai_outputs.tags,
    job_kinds.FP_SHOT.name: ai_outputs.matches,
    job_kinds.MEDIA_CENSOR.name: ai_outputs.moderation,
    job_kinds.WORKFLOW.name: _workflow,
}
#: The kinds whose callbacks may report what was produced: by which members, and how they are read.
_CALLBACK_READERS: Final[Mapping[str, tuple[tuple[str, ...], Reader | None]]] = {
    job_kinds.SNAPSHOT.name: (("UrlPattern", "LastUrl"), snapshot_files.of_callback),
    job_kinds.FP_SHOT.name: (("FpShots", "FpShotResult"), ai_outputs.matches),
    job_kinds.MEDIA_CENSOR.name: (ai_outputs.MODERATION_MEMBERS, ai_outputs.moderation),
}
