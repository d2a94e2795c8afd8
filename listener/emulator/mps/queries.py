"""Answers queries for jobs: by one id, by several, or for all jobs of a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from listener.emulator.mps.call import Call, Document
from listener.emulator.mps.errors import MpsError
from listener.emulator.mps.jobs import EmulatedJob, EmulatedKind

MAX_PAGE = 100


def one(job_id: str, jobs: Mapping[str, EmulatedJob]) -> EmulatedJob:
    if job_id not in jobs:
        raise MpsError("InvalidParameter.ResourceNotFound", f'"{job_id}"')
    return jobs[job_id]


def several(kind: EmulatedKind, call: Call, *, jobs: Mapping[str, EmulatedJob]) -> Document:
    """The jobs with the ids that the call names, each once; unknown ids are a member of their own."""
    text = call.parameters.get(kind.api.ids, "")
    if not text and kind.lists_all:
        return _page(kind, call, jobs=jobs)
    if not text:
        raise MpsError("InvalidParameter", kind.api.ids)
    ids = list(dict.fromkeys(text.split(",")))
    if len(ids) > kind.api.ids_per_query:
        raise MpsError("InvalidParameter.OutOfRange", kind.api.ids)
    unknown = [job_id for job_id in ids if job_id not in jobs]
    document = _entries(kind, [jobs[job_id] for job_id in ids if job_id in jobs])
    return document | (_nested(kind.missing, unknown) if unknown else {})


def _page(kind: EmulatedKind, call: Call, *, jobs: Mapping[str, EmulatedJob]) -> Document:
    """A page of all jobs, oldest first; the token of the next page is the id of its first job."""
    state, pipeline = call.parameters.get("State") or "All", call.parameters.get("PipelineId")
    found = [
        job
        for job in jobs.values()
        if state in {"All", job.state} and pipeline in {None, "", job.pipeline.id}
    ]
    size = call.whole_number("MaximumPageSize", default=10, high=MAX_PAGE)
    if token := call.parameters.get("NextPageToken"):
        found = found[found.index(one(token, {job.id: job for job in found})) :]
    document = _entries(kind, found[:size])
    return document | ({"NextPageToken": found[size].id} if len(found) > size else {})


def _entries(kind: EmulatedKind, jobs: Sequence[EmulatedJob]) -> Document:
    return _nested(kind.api.entries, [kind.describe(job) for job in jobs])


def _nested(names: Sequence[str], value: list[Document] | list[str]) -> Document:
    outer, inner = names
    return {outer: {inner: value}}
