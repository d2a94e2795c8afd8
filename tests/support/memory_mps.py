"""An MPS in memory, for the reconciler and the enricher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from listener.core.errors import FailureKind, MpsRejected, MpsUnavailable
from listener.core.job_kinds import IPRODUCTION, JobKind
from listener.core.model import Answer, Source
from tests.support.builders import a_result


class MemoryMps:
    """Knows the jobs that it is given; ``trouble`` is raised instead of an answer."""

    def __init__(self, **states: str) -> None:
        self.states = states
        self.trouble: dict[str, MpsUnavailable] = {}
        self.away = False
        self.asked: list[str] = []
        self.kinds: list[str] = []
        self.calls: list[tuple[str, ...]] = []  #: the ids that were asked about together

    def query(self, job_id: str, *, kind: JobKind = IPRODUCTION) -> Answer:
        self.asked.append(job_id)
        self.kinds.append(kind.name)
        if self.away or job_id in self.trouble:
            raise self.trouble.get(job_id) or MpsUnavailable("away", kind=FailureKind.TIMEOUT)
        if job_id not in self.states:
            raise MpsRejected("no such job", code="InvalidParameter.ResourceNotFound")
        return Answer(
            result=a_result(job_id=job_id, state=self.states[job_id], source=Source.QUERY, outputs="{}")
        )

    def query_all(self, job_ids: Sequence[str], *, kind: JobKind) -> Mapping[str, Answer]:
        self.calls.append(tuple(job_ids))
        if len(job_ids) == 1:
            return {job_ids[0]: self.query(job_ids[0], kind=kind)}
        known = [job_id for job_id in job_ids if job_id in self.states or job_id in self.trouble or self.away]
        return {job_id: self.query(job_id, kind=kind) for job_id in known}

    def submit(self, job: object, *, user_data: str | None, on_turn: object = None) -> Any:
        raise AssertionError("the reconciler submits nothing")
