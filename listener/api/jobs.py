"""``/v1/jobs``: submit jobs, wait for them, look at them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Body, Header, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, WithJsonSchema

from listener.api.context import ApiContext
from listener.api.deliveries import DeliveryDocument
from listener.api.parameters import (
    NEXT_PAGE,
    Digits,
    DurationText,
    FiltersQuery,
    ObjectOrText,
    PageQuery,
    Text,
    shown,
)
from listener.api.problems import LIST_JOBS, documented
from listener.api.results import ResultDocument
from listener.api.serialize import attempt_dict, delivery_dict, job_dict, result_dict
from listener.api.threads import Threads
from listener.api.waiting import unless_disconnected
from listener.core.documents import to_plain
from listener.core.errors import AlreadyExists, NotFound, UsageError
from listener.core.job_kinds import IPRODUCTION, SUBMITTED_KINDS
from listener.core.model import OUTCOME_NAMES, Job, JobState
from listener.jobs.request import KIND_NAMES, JobRequest, kind_name, registered_kind
from listener.jobs.submission import Accepted
from listener.runtime import tracing
from listener.store.queries import Queries

#: How many requests to MPS run at a time; it takes no more than about 100 a second.
MPS_THREADS: Final = 16
#: The longest that a request may wait, in seconds.
MAX_WAIT: Final = 60

Name = Annotated[Text, Path(description="The job id, the reference, or the run id of a workflow")]
#: Of externally submitted jobs: the ids of MPS have neither blanks nor commas.
JobId = Annotated[
    Text,
    Path(
        description="The id from MPS, or the run id of a workflow",
        pattern=r"^[^\s\u001c-\u001f\u0085,]+$",  # dialects of patterns differ in what is a blank
        max_length=256,
    ),
]


def _given(text: str) -> str:
    if not text:
        raise ValueError("is empty, so a repeat would submit a second job; leave it out if that is meant")
    return text


def _one_of(names: Sequence[str], otherwise: str) -> AfterValidator:
    """One of these names, or nothing; ``otherwise`` is said of any other text."""

    def known(given: str) -> str:
        if given and given not in names:
            raise ValueError(f"{shown(given)} {otherwise}; use one of {', '.join(names)}, or leave it out")
        return given

    return AfterValidator(known)


_SUBMITTED: Final = [kind.name for kind in SUBMITTED_KINDS]
SubmittedKind = Annotated[
    Text,
    _one_of(_SUBMITTED, "cannot be submitted here: submit it yourself and register it"),
    WithJsonSchema({"type": "string", "enum": ["", *_SUBMITTED]}),
]
RegisteredKind = Annotated[
    Text,
    _one_of(KIND_NAMES, "is not a kind of MPS jobs"),
    WithJsonSchema({"type": "string", "enum": ["", *KIND_NAMES]}),
]
#: Not empty: that is more likely a variable without a value than a wish.
Reference = Annotated[Text, AfterValidator(_given), Field(json_schema_extra={"minLength": 1})]
#: ASCII: clients do not agree on how other characters are sent in a header, and it becomes a reference.
IdempotencyKey = Annotated[
    str,
    Header(
        description="Becomes the reference of a job that has none: a repeat submits nothing. ASCII only",
        pattern=r"^[ -~]*$",
        json_schema_extra={"minLength": 1},
    ),
    AfterValidator(_given),
]
Traceparent = Annotated[
    Text, Header(description="The job continues this trace, see W3C Trace Context and `trace`")
]
#: RFC 7240.
RESPOND_ASYNC: Final = "respond-async"
Prefer = Annotated[
    Sequence[str],  # it may be sent in several lines
    Header(
        description=f"With `{RESPOND_ASYNC}` the answer does not wait for MPS: 202, and it is submitted soon"
    ),
]


class JobDocument(BaseModel):
    """What is known of a job."""

    job_id: str = Field(description="The id from MPS; empty until MPS has answered the submission")
    reference: str = Field(description="The submitter's own name for the job")
    state: JobState
    function: str = Field(examples=["Cover"])
    pipeline: str
    input: str
    output: str
    params: str = Field(description="JSON text; empty if the job was submitted elsewhere")
    model: str
    schedule_params: str
    notify_url: str
    user_data: str | None
    error: str = Field(description="Why it failed, or was refused")
    created_at: datetime
    submitted_at: datetime | None
    finished_at: datetime | None = Field(description="When the outcome was recorded; null in progress")
    tenant: str
    deadline_at: datetime | None = Field(description="When the callback becomes overdue")
    queries: int = Field(description="How often MPS was asked for the state of the job")
    kind: str = Field(examples=["IProduction", "Transcode"])
    trace: str = Field(description="The `traceparent` of its submission; empty if it was not traced")


class SubmittedJob(JobDocument):
    warnings: list[str] = Field(description="What is unusual about the request, and probably not meant")


class ListedJob(JobDocument):
    id: int = Field(description="The number of its row, for `before`")
    deliveries: dict[str, int] = Field(
        description="How many of its deliveries are in each state, and how many results are parked or wait"
    )


class JobPage(BaseModel):
    jobs: list[ListedJob]
    next: int | None = Field(description=NEXT_PAGE)


class AttemptDocument(BaseModel):
    """An attempt at a delivery that failed, or that followed one which did."""

    delivery_id: int
    attempt: int
    outcome: str = Field(json_schema_extra={"enum": [*OUTCOME_NAMES.values()]})
    error: str
    owner: str = Field(description="The process that made it")
    started_at: datetime | None = Field(description="Null if no handler was called, or its process crashed")
    seconds: float | None
    settled_at: datetime


class JobHistoryDocument(BaseModel):
    """What the store knows about a job."""

    job: JobDocument | None = Field(description="null if only results are known")
    results: list[ResultDocument] = Field(description="A page of them, oldest first")
    deliveries: list[DeliveryDocument] = Field(description="Of these results")
    attempts: list[AttemptDocument] = Field(
        description="That failed, or followed a failure, of these deliveries; the newest, if there are very many"
    )
    next: int | None = Field(description="The `before` of the page with older results; null at the end")


class JobOutputs(BaseModel):
    job_id: str
    state: JobState
    outputs: dict[str, Any] | None = Field(
        description="What it produced; null for a job without success, and if MPS refuses to tell"
    )


class JobSubmission(BaseModel):
    """The values of one submission to MPS; what is left out comes from the settings."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "function": "Cover",
                    "input": "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4",
                    "output": "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg",
                    "route": "covers",
                    "data": {"article": 7},
                    "reference": "talk-7",
                }
            ]
        },
    )

    function: Text = Field("", description="Of smart production, e.g. `Cover`")
    kind: SubmittedKind = Field("", description="For other jobs: `Transcode`, `Snapshot` or `MediaInfo`")
    input: Text = ""
    output: Text = ""
    params: ObjectOrText = Field({}, description="JobParams, as an object or as JSON text")
    pipeline: Text | None = None
    notify_url: Text | None = None
    route: Text = Field("", description="The route that its result goes to")
    data: ObjectOrText = Field("", description="The user data: text, or an object")
    user_data: Text | None = Field(None, description="The complete user data, instead of route and data")
    model: Text = ""
    schedule_params: Text = ""
    reference: Reference = Field(
        default_factory=str, description="Your own name for the job: unique, and makes a repeat safe"
    )
    deadline: DurationText | None = Field(None, description="Until its callback is overdue")
    force: StrictBool = Field(False, description="Submit it although it probably cannot work")
    tenant: Text = ""

    def request(self, reference: str) -> JobRequest:
        """With this reference, if it has none."""
        return JobRequest(
            function=self.function,
            kind=kind_name(self.kind),
            input=self.input,
            output=self.output,
            params=_json_text(self.params),
            pipeline=self.pipeline,
            notify_url=self.notify_url,
            route=self.route,
            data=_json_text(self.data),
            user_data=self.user_data,
            model=self.model,
            schedule_params=self.schedule_params,
            reference=self.reference or reference,
            deadline=self.deadline,
            force=self.force,
        )


class JobRegistration(BaseModel):
    """What is known of a job that something else has submitted."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "anyOf": [  # only jobs of smart production have functions
                {"properties": {"function": {"const": ""}}},
                {"properties": {"kind": {"enum": ["", IPRODUCTION.name]}}},
            ]
        },
    )

    kind: RegisteredKind = Field("", description="E.g. `Transcode` or `Workflow`: lets MPS be asked about it")
    function: Text = Field("", description="The same for smart production")
    pipeline: Text = ""
    user_data: Text | None = Field(None, description="Used if the callback has none")
    reference: Text = ""
    deadline: DurationText | None = Field(None, description="Until its callback is overdue")
    tenant: Text = ""


class _Jobs:
    """The operations. Those that may call MPS have threads of their own: while MPS is slow, others go on."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._mps = Threads(MPS_THREADS)

    async def submit_job(
        self,
        submission: JobSubmission,
        response: Response,
        idempotency_key: IdempotencyKey = "",
        traceparent: Traceparent = "",
        prefer: Prefer = (),
    ) -> dict[str, Any]:
        """Submit a job to MPS.

        With a `reference`, or an `Idempotency-Key` in its place, the request can be repeated: the same request answers
        with the same job and status 200, another one is refused with 409. With `Prefer: respond-async` the job is
        `accepted`: it is in the store, and submitted as soon as MPS takes it.
        """
        if prefers_async(prefer):
            answer = await accept_job(
                self._context, submission, idempotency_key=idempotency_key, traceparent=traceparent
            )
        else:
            request = _named_request(submission, idempotency_key)
            with tracing.called_by(traceparent):
                done = await self._mps.run(self._submit, request, submission.tenant)
            answer = SubmissionAnswer(done, new=HTTPStatus.CREATED)
        response.status_code = answer.status
        response.headers.update(answer.headers)
        return answer.document

    def _submit(self, request: JobRequest, tenant: str) -> Accepted:
        client = self._context.client
        warnings = client.check(request, tenant=tenant)
        if request.reference:
            job, new = client.submit_once(request, tenant=tenant, warn=_ignore)
            return Accepted(job=job, warnings=warnings, new=new)
        return Accepted(job=client.submit(request, tenant=tenant, warn=_ignore), warnings=warnings)

    def register_job(
        self,
        name: JobId,
        response: Response,
        registration: Annotated[JobRegistration, Body(default_factory=JobRegistration)],
        traceparent: Traceparent = "",
    ) -> dict[str, Any]:
        """Register a job that was submitted elsewhere.

        Results that arrived earlier stop waiting for it. The same request again answers with the same job and status
        200.
        """
        fields = {name: getattr(registration, name) for name in JobRegistration.model_fields}
        try:
            with tracing.called_by(traceparent):
                job = self._context.client.register(name, **fields)
        except AlreadyExists as error:
            found = self._context.store.find_job(name)
            if found is None or found.job_id != name:
                raise _named_already(error, found) from error
            _require_the_same(found, registration)
            return job_dict(found)
        response.status_code = HTTPStatus.CREATED
        response.headers["location"] = _location(job)
        return job_dict(job)

    def list_jobs(
        self,
        filters: FiltersQuery,
        page: PageQuery,
        state: Annotated[JobState | None, Query(description="Only jobs in this state")] = None,
    ) -> dict[str, Any]:
        """List jobs, newest first."""
        queries = Queries(self._context.store.database)
        found = queries.jobs(state=state or "", filters=filters, before=page.before, limit=page.limit)
        counts = queries.delivery_counts([row for row, _ in found])
        rows = [{"id": row, **job_dict(job), "deliveries": counts.get(row, {})} for row, job in found]
        return {"jobs": rows, "next": found.next or None}

    async def show_job(
        self,
        name: Name,
        request: Request,
        wait: Annotated[
            float,
            Query(
                ge=0,
                le=MAX_WAIT,
                allow_inf_nan=False,
                description="Answer when the job has ended, or after so many seconds",
            ),
            Digits,
        ] = 0,
    ) -> dict[str, Any]:
        """Show a job, at once or when it has ended."""
        find = self._context.client.find
        job = await self._context.threads.run(find, name)
        if wait and job.finished_at is None:
            outcome = self._context.outcomes.wait(job.token, seconds=wait)
            if await unless_disconnected(request, outcome):
                job = await self._context.threads.run(find, job.token)
        return job_dict(job)

    def show_history(self, name: Name, page: PageQuery) -> dict[str, Any]:
        """Show a job with its newest results and their deliveries.

        The `raw` text of a result is the callback as it arrived; its `source` says where it comes from. Few jobs have
        more results than one page; `next` leads to older ones.
        """
        queries = Queries(self._context.store.database)
        history = queries.history(name, before=page.before, limit=page.limit)
        if history is None:
            raise NotFound(f"nothing is known about {name!r} in this store", field="name", hint=LIST_JOBS)
        return {
            "job": job_dict(history.job) if history.job else None,
            "results": [result_dict(stored, job=history.job) for stored in history.results],
            "deliveries": [delivery_dict(delivery) for delivery in history.deliveries],
            "attempts": [attempt_dict(attempt) for attempt in history.attempts],
            "next": history.next or None,
        }

    async def fetch_outputs(self, name: Name) -> dict[str, Any]:
        """What a successful job produced: from the store, or else as MPS reports it now."""
        return await self._mps.run(self._outputs, name)

    def _outputs(self, name: str) -> dict[str, Any]:
        job = self._context.client.find(name)
        outputs = self._context.client.outputs(job)
        return {"job_id": job.job_id, "state": job.state, "outputs": to_plain(outputs)}


class SubmissionAnswer:
    """The answer to a submission."""

    def __init__(self, done: Accepted, *, new: HTTPStatus, preference: str = "") -> None:
        """``new`` is the status if the request has not been sent before, ``preference`` the one that was applied."""
        self.status = new if done.new else HTTPStatus.OK
        self.headers = {"preference-applied": preference} if preference else {}
        self.headers["location"] = _location(done.job)
        self.document = job_dict(done.job) | {"warnings": done.warnings}


async def accept_job(
    context: ApiContext, submission: JobSubmission, *, idempotency_key: str, traceparent: str
) -> SubmissionAnswer:
    """Store a job that is submitted soon. Raises what is wrong with it."""
    request = _named_request(submission, idempotency_key)
    with tracing.called_by(traceparent):
        done = await context.acceptance.accept_one(request, submission.tenant)
    return SubmissionAnswer(done, new=HTTPStatus.ACCEPTED, preference=RESPOND_ASYNC)


def router(context: ApiContext) -> APIRouter:
    jobs = _Jobs(context)
    made = APIRouter(prefix="/jobs", tags=["jobs"])
    repeated: dict[int | str, dict[str, Any]] = {
        200: {"model": SubmittedJob, "description": "The same request has been sent before"},
        202: {"model": SubmittedJob, "description": "It is accepted, and submitted soon"},
    }
    made.add_api_route(
        "",
        jobs.submit_job,
        methods=["POST"],
        status_code=HTTPStatus.CREATED,
        response_model=SubmittedJob,
        responses={**repeated, **documented(409)},
    )
    made.add_api_route("", jobs.list_jobs, response_model=JobPage)
    # A reference may contain slashes.
    found: dict[str, Any] = {"responses": documented(404)}
    made.add_api_route("/{name:path}/history", jobs.show_history, response_model=JobHistoryDocument, **found)
    made.add_api_route("/{name:path}/outputs", jobs.fetch_outputs, response_model=JobOutputs, **found)
    made.add_api_route("/{name:path}", jobs.show_job, response_model=JobDocument, **found)
    made.add_api_route(
        "/{name}",
        jobs.register_job,
        methods=["PUT"],
        response_model=JobDocument,
        responses={201: {"model": JobDocument, "description": "It is registered now"}, **documented(409)},
    )
    return made


def prefers_async(prefer: Iterable[str]) -> bool:
    """Other preferences, and parameters of this one, are ignored, as RFC 7240 has it."""
    return any(
        each.partition(";")[0].strip().lower() == RESPOND_ASYNC for line in prefer for each in line.split(",")
    )


def _named_request(submission: JobSubmission, idempotency_key: str) -> JobRequest:
    """Raises UsageError for a job with two names."""
    reference = submission.reference
    if reference and idempotency_key not in ("", reference):
        raise UsageError(
            f"the job has the reference {reference!r} and another Idempotency-Key; send only one of them: a reference "
            "makes the request safe to repeat, too",
            field="idempotency-key",
        )
    return submission.request(idempotency_key)


def _require_the_same(job: Job, registration: JobRegistration) -> None:
    """Raises AlreadyExists, which names the members that differ."""
    different = [
        name
        for name in ("function", "pipeline", "user_data", "reference", "tenant")
        if getattr(job, name) != getattr(registration, name)
    ]
    if job.kind != registered_kind(registration.kind, registration.function):
        different.insert(0, "kind")
    if registration.deadline is not None and job.deadline_at != job.created_at + registration.deadline:
        different.append("deadline")
    if different:
        raise AlreadyExists(
            f"job {job.job_id!r} is registered with another {' and another '.join(different)}",
            field=different[0],
        )


def _location(job: Job) -> str:
    return f"/v1/jobs/{quote(job.job_id or job.reference, safe='')}"


def _named_already(error: AlreadyExists, found: Job | None) -> AlreadyExists:
    """Of what was to be registered, either the reference belongs to another job, or its id is a job's reference."""
    if found is None or error.field:
        return error
    return AlreadyExists(
        f"{error}, as the reference of another job", field="name", hint="use the id that MPS returned"
    )


def _json_text(given: dict[str, Any] | str) -> str:
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def _ignore(_warning: str) -> None:
    """The answer contains the warnings already."""
