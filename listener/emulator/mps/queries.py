"""Answers queries for jobs: by one id, by several, or for all jobs of a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from listener.emulator.mps.errors import MpsError
from listener.emulator.mps.jobs import EmulatedJob, EmulatedKind
from listener.emulator.rpc.call import Call, Document

MAX_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsOfKind:
    """The jobs of one kind that queries find, out of the jobs of all kinds."""

    kind: EmulatedKind
    jobs: Mapping[str, EmulatedJob]

    def find(self, job_id: str) -> EmulatedJob | None:
        job = self.jobs.get(job_id)
        return job if job is not None and job.kind is self.kind and not job.forgotten else None

    def one(self, job_id: str) -> EmulatedJob:
        job = self.find(job_id)
        if job is None:
            raise MpsError("InvalidParameter.ResourceNotFound", f'"{job_id}"')
        return job

    def several(self, call: Call) -> Document:
        """The jobs with the ids that the call names, each once; unknown ids are a member of their own."""
        api = self.kind.api
        text = call.parameters.get(api.ids, "")
        if not text and self.kind.lists_all:
            return self._page(call)
        if not text:
            raise MpsError("InvalidParameter", api.ids)
        ids = list(dict.fromkeys(text.split(",")))
        if len(ids) > api.ids_per_query:
            raise MpsError("InvalidParameter.OutOfRange", api.ids)
        found = [self.find(job_id) for job_id in ids]
        unknown = [job_id for job_id, job in zip(ids, found, strict=True) if job is None]
        document = self._entries([job for job in found if job is not None])
        return document | (_nested(self.kind.missing, unknown) if unknown else {})

    def _page(self, call: Call) -> Document:
        """A page of all jobs, oldest first; the token of the next page is the id of its first job."""
        state, pipeline = call.parameters.get("State") or "All", call.parameters.get("PipelineId")
        size = call.whole_number("MaximumPageSize", default=10, high=MAX_PAGE)
        first = self.one(token).number if (token := call.parameters.get("NextPageToken")) else 0
        found = [
            job
            for job in filter(None, map(self.find, self.jobs))
            if job.number >= first and state in {"All", job.state} and pipeline in {None, "", job.pipeline.id}
        ]
        document = self._entries(found[:size])
        return document | ({"NextPageToken": found[size].id} if len(found) > size else {})

    def _entries(self, jobs: Sequence[EmulatedJob]) -> Document:
        return _nested(self.kind.api.entries, [self.kind.describe(job) for job in jobs])


def _nested(names: Sequence[str], value: list[Document] | list[str]) -> Document:
    outer, inner = names
    return {outer: {inner: value}}
