"""``/v1/explain``: what happens to a message, or happened to a job, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Self

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator

from listener.api.context import ApiContext
from listener.api.jobs import JobDocument
from listener.api.parameters import StrictRowId, Text
from listener.api.problems import LIST_JOBS, documented, wrong_member
from listener.api.results import RouteReasonDocument
from listener.core.documents import to_plain
from listener.core.errors import NotFound
from listener.core.model import DeliveryState, RecordKind, ResultStatus
from listener.explanations import PAGE, Explanations
from listener.store.job_names import whole_name
from listener.store.queries import Queries

#: In characters. A message of MNS has at most 64 KiB.
MAX_MESSAGE: Final = 128 * 1024


class MemberDocument(BaseModel):
    name: str = Field(description="As the callback spells it, with dots", examples=["MessageBody.Status"])
    fields: list[str] = Field(description="What it determines; empty if it is not read")


class ReadingDocument(BaseModel):
    """How a message was decoded, or why it could not be."""

    wrappings: list[str] = Field(description="Outermost first", examples=[["topic-xml", "base64"]])
    members: list[MemberDocument]
    error: str = Field(description="Why there is no result; empty if there is one")
    before: str = Field(description="The text before the place that cannot be read, if that is known")
    after: str = Field(description="The text after it")


class RetryPlanDocument(BaseModel):
    """What failing again and again leads to."""

    attempts: int
    waits: list[float] = Field(description="The first pauses between them, in seconds, at their longest")
    until_dead: float = Field(description="Seconds until it is a dead letter, at most")
    limit: str = Field(
        description="The setting of the route that ends it",
        json_schema_extra={"enum": ["max_attempts", "max_elapsed"]},
    )


class DeliveryPlanDocument(BaseModel):
    route: str
    handler: str
    retries: RetryPlanDocument
    outputs: str = Field(description="Whether MPS is asked for the outputs first, or why not")
    pulled: bool = Field(description="Whether an application claims it, instead of being called")


class ExplanationDocument(BaseModel):
    """The way of one message or result, by the present settings."""

    queue: str
    reading: ReadingDocument | None = Field(description="null for a result that is recorded")
    result: dict[str, Any] | None = Field(
        description="What was reported, in the fields of a result; null if the message cannot be decoded"
    )
    job: JobDocument | None
    correlation: str = Field(description="How the job was found, or what happens without it")
    verification: str = Field(description="Whether MPS is asked if it is true, or why not")
    routes: list[RouteReasonDocument] = Field(description="In the order of precedence")
    outcome: RecordKind = Field(description="What recording it now would lead to")
    reason: str
    deliveries: list[DeliveryPlanDocument]


class ExplainedDeliveryDocument(BaseModel):
    id: int
    route: str
    handler: str
    state: DeliveryState
    attempt: int
    failures: int
    next_at: datetime | None
    settled_at: datetime | None
    last_error: str


class ExplainedResultDocument(BaseModel):
    """A recorded result: what was decided about it then, and what the present settings mean for it."""

    id: int
    status: ResultStatus
    received_at: datetime
    copies: int
    contradictions: int
    deliveries: list[ExplainedDeliveryDocument]
    explanation: ExplanationDocument


class ExplainedJobDocument(BaseModel):
    name: str
    job: JobDocument | None = Field(description="null if only results of it are known")
    awaited: str = Field(description="What happens next")
    if_it_succeeds: ExplanationDocument | None = Field(
        description="Where the outcome of an open job would go"
    )
    results: list[ExplainedResultDocument] = Field(
        description=f"The newest {PAGE}, or as many of those before `before`"
    )
    next: int | None = Field(
        description="The `before` with which older results are explained; null at the end"
    )


class Explained(BaseModel):
    """One of the two, as was asked for."""

    message: ExplanationDocument | None = None
    job: ExplainedJobDocument | None = None


class Question(BaseModel):
    """Either a message or a job."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"message": '{"JobId": "39f8e0bc", "State": "Success"}'}, {"job": "talk-7"}],
            "oneOf": [
                {
                    "required": ["message"],
                    "properties": {
                        "message": {"type": "string"},
                        "job": {"type": "null"},
                        "before": {"type": "null"},
                    },
                },
                {
                    "required": ["job"],
                    "properties": {
                        "job": {"type": "string"},
                        "message": {"type": "null"},
                        "queue": {"type": "null"},
                    },
                },
            ],
        },
    )

    message: str | None = Field(None, max_length=MAX_MESSAGE, description="The body, as MNS delivers it")
    queue: Text | None = Field(
        None, description="The queue that brings the message; the first one if left out"
    )
    job: Text | None = Field(
        None, description="The job id, the reference or the run id, or the beginning of one"
    )

    before: StrictRowId | None = Field(
        None,
        description="Of a job: explain older results than the one with this id: `next` of the answer before",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.message is None and self.job is None:
            raise wrong_member("message", "is missing; give either message or job")
        if self.message is not None and self.job is not None:
            raise wrong_member("job", "is given beside message; give only one of the two")
        if self.queue is not None and self.message is None:
            raise wrong_member("queue", "belongs to message; leave it out for a job")
        if self.before is not None and self.job is None:
            raise wrong_member("before", "belongs to job; leave it out for a message")
        return self


class _Explain:
    def __init__(self, context: ApiContext) -> None:
        self._context = context

    def explain(self, question: Question) -> dict[str, Any]:
        """Explain what happens to a message, or happened to a job. Changes nothing, so a token may be read-only."""
        explanations = Explanations(self._context.settings, self._context.store.database)
        if question.message is not None:
            found = explanations.message(question.message, queue=question.queue)
            return {"message": _without_token(to_plain(found))}
        name, before = question.job or "", question.before or 0
        job = explanations.job(name, before=before) or explanations.job(
            whole_name(Queries(self._context.store.database), name), before=before
        )
        if job is None:
            raise NotFound(f"no job {question.job!r} in this store", field="job", hint=LIST_JOBS)
        document = to_plain(job)
        explained = [document["if_it_succeeds"], *(each["explanation"] for each in document["results"])]
        for each in filter(None, explained):
            _without_token(each)
        return {"job": document}


def _without_token(document: dict[str, Any]) -> dict[str, Any]:
    """Tokens stay here: a callback with one is taken for that of its job."""
    if document["result"]:
        del document["result"]["token"]
    return document


def router(context: ApiContext) -> APIRouter:
    made = APIRouter(prefix="/explain", tags=["explain"])
    made.add_api_route(
        "",
        _Explain(context).explain,
        methods=["POST"],
        response_model=Explained,
        responses=documented(404),
    )
    return made
