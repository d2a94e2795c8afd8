"""An MPS in memory, for the reconciler and the enricher."""

from __future__ import annotations

from typing import Any

from listener.core.errors import FailureKind, MpsRejected, MpsUnavailable
from listener.core.model import Answer, Source
from tests.support.builders import a_result


class MemoryMps:
    """Knows the jobs that it is given; ``trouble`` is raised instead of an answer."""

    def __init__(self, **states: str) -> None:
        self.states = states
        self.trouble: dict[str, MpsUnavailable] = {}
        self.away = False
        self.asked: list[str] = []

    def query(self, job_id: str) -> Answer:
        self.asked.append(job_id)
        if self.away or job_id in self.trouble:
            raise self.trouble.get(job_id) or MpsUnavailable("away", kind=FailureKind.TIMEOUT)
        if job_id not in self.states:
            raise MpsRejected("no such job", code="InvalidParameter.ResourceNotFound")
        return Answer(
            result=a_result(job_id=job_id, state=self.states[job_id], source=Source.QUERY, outputs="{}")
        )

    def submit(self, job: object, *, user_data: str | None) -> Any:
        raise AssertionError("the reconciler submits nothing")
