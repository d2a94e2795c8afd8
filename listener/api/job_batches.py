"""``/v1/jobs/batch``: many jobs in one request, accepted in one transaction and submitted soon."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from listener.api.context import ApiContext
from listener.api.jobs import JobSubmission, Traceparent
from listener.api.problems import ProblemOfOne, problem_of_one
from listener.core.errors import ListenerError
from listener.core.model import JobState
from listener.jobs.submission import Accepted
from listener.runtime import tracing

#: How many jobs one request may bring.
MAX_JOBS: Final = 1_000


class JobBatch(BaseModel):
    model_config = ConfigDict(extra="forbid")

    jobs: Annotated[list[JobSubmission], Field(min_length=1, max_length=MAX_JOBS)]


class BatchedJob(BaseModel):
    """What became of one of them, or why it was refused."""

    reference: str = Field(description="Its name; one is given to a job without")
    state: JobState | None = Field(
        None, description="`accepted`, or that of the job which the same request made"
    )
    job_id: str = ""
    warnings: list[str] = []
    problem: ProblemOfOne | None = None


class AcceptedBatch(BaseModel):
    accepted: int = Field(description="How many are submitted soon")
    existing: int = Field(description="How many were accepted or submitted before by the same request")
    refused: int = Field(description="How many have a problem")
    jobs: list[BatchedJob] = Field(description="In the order of the request")


class _Batches:
    def __init__(self, context: ApiContext) -> None:
        self._context = context

    async def accept_jobs(self, batch: JobBatch, traceparent: Traceparent = "") -> dict[str, Any]:
        """Accept up to 1,000 jobs, which are submitted as soon as MPS takes them.

        Each is accepted, or refused, by itself. With a `reference` for each, the request can be repeated.
        """
        with tracing.called_by(traceparent):
            answers = await self._context.acceptance.accept(
                [(each.request(""), each.tenant) for each in batch.jobs]
            )
        counts = Counter(map(_outcome, answers))
        jobs = [
            _refused(given.reference, answer) if isinstance(answer, ListenerError) else _accepted(answer)
            for given, answer in zip(batch.jobs, answers, strict=True)
        ]
        return {"jobs": jobs} | {name: counts[name] for name in ("accepted", "existing", "refused")}


def router(context: ApiContext) -> APIRouter:
    made = APIRouter(tags=["jobs"])
    made.add_api_route(
        "/jobs/batch",
        _Batches(context).accept_jobs,
        methods=["POST"],
        status_code=HTTPStatus.ACCEPTED,
        response_model=AcceptedBatch,
    )
    return made


def _outcome(answer: Accepted | ListenerError) -> str:
    if isinstance(answer, ListenerError):
        return "refused"
    return "accepted" if answer.new else "existing"


def _accepted(answer: Accepted) -> dict[str, Any]:
    job = answer.job
    return {
        "reference": job.reference,
        "state": job.state,
        "job_id": job.job_id,
        "warnings": answer.warnings,
    }


def _refused(reference: str, error: ListenerError) -> dict[str, Any]:
    return {"reference": reference, "problem": problem_of_one(error)}
