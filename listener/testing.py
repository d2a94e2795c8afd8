"""For tests of handlers: results of every kind, and a runner that calls a handler as the daemon does.

For example::

    from listener.testing import HandlerRunner, make_result

    with HandlerRunner(handle) as runner:
        report = runner.run(make_result(function="Cover", state="Fail"))
    assert report.outcome == "retry"
"""

from __future__ import annotations

import contextvars
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Literal, Self

from listener.core import clock, job_kinds
from listener.core.call_deadline import time_left
from listener.core.event_types import is_complete
from listener.core.job_kinds import JobKind
from listener.core.model import (
    FAIL,
    LOST,
    SUCCESS,
    Delivery,
    DeliveryState,
    Done,
    Job,
    JobResult,
    JobState,
    Offered,
    Outcome,
    Result,
    RetryAfter,
    Source,
    Target,
)
from listener.core.ports import Handler
from listener.dispatch import handler_loader
from listener.dispatch.attempt import HandlerBinding, run_attempt
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.dispatch.job_result import job_result
from listener.emulator.mps import sample_results
from listener.emulator.mps.jobs import BAD_CONTENT, BAD_CONTENT_TEXT
from listener.emulator.mps.sample_jobs import SampleJob, reports_of
from listener.formats import callback
from listener.jobs import reconciler
from listener.rules import retry
from listener.settings.sections import DispatchSettings, RetrySettings

#: What a result is about unless a test says otherwise.
JOB_ID: Final = "39f8e0bc005e4f309379701645f4a1b2"
RUN_ID: Final = "5d7c3d0a1b2e4f60a7b8c9d0e1f2a3b4"
#: The default of ``dispatch.handler_timeout``.
TIMEOUT: Final = DispatchSettings().handler_timeout
ROUTE, QUEUE = "videos", "mps-callbacks"
INPUT: Final = "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4"
OUTPUT: Final = "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}"
SUBMITTED_AT: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
FINISHED_AT: Final = SUBMITTED_AT + timedelta(minutes=1)

_IPRODUCTION: Final = "IProduction"
_WORKFLOWS: Final = ("Start", "Report")
_CAUSES: Final = {SUCCESS: ("Success", "success"), FAIL: (BAD_CONTENT, BAD_CONTENT_TEXT)}


def make_result(**fields: Any) -> JobResult:
    """What a handler gets for a job that succeeded; ``fields`` are those of ``JobResult`` that differ.

    The others follow from these: ``state="Fail"`` brings a code and outputs without files, ``state="Lost"`` comes from
    the listener, ``function="Cover"`` brings the outputs of that function, ``type="Snapshot"`` those of that kind,
    ``type="Report"`` the activities of a workflow, ``type="ProduceMediaComplete"`` or a ``media_id`` makes it an event,
    and ``data={"a": 1}`` is also the user data.
    """
    unknown = fields.keys() - JobResult.__dataclass_fields__.keys()
    if unknown:
        raise TypeError(f"JobResult has no field {min(unknown)!r}")
    if "details" in fields:
        fields["details"] = tuple(fields["details"])
    job = _job(fields)
    delivery = _delivery(
        _result(fields, job),
        job=job,
        target=Target(fields.get("route", ROUTE), "handler"),
        attempt=fields.get("attempt", 1),
        queue=QUEUE,
    )
    return replace(job_result(delivery), **fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptReport:
    """What the daemon would record about one attempt."""

    outcome: Literal["done", "retry", "dead", "offered"]  #: offered: by the handler `pull`, to applications
    reason: str = ""  #: why it is retried, or is a dead letter
    #: The pause before a retry; the daemon shortens back-offs by up to half, at random.
    after: timedelta | None = None
    spent: bool = False  #: whether one of ``max_attempts`` was spent
    error: BaseException | None = None  #: what the handler raised


class HandlerRunner:
    """Calls a handler as the daemon does, regular or async, and reports the outcome instead of recording it.

    ``timeout`` is ``dispatch.handler_timeout``, in seconds, and ``retry`` a ``[retry]`` table. As in the daemon, only
    coroutines can be interrupted. Close it, or use it as a context manager: that closes the handler, too.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        timeout: timedelta | float = TIMEOUT,
        retry: Mapping[str, Any] | None = None,
    ) -> None:
        self.handler = handler
        self._timeout = timeout if isinstance(timeout, timedelta) else timedelta(seconds=timeout)
        self._policy = RetrySettings.model_validate(retry or {}).policy()
        self._coroutines = CoroutineRunner()

    @classmethod
    def from_options(
        cls, use: str | Callable[..., Handler], options: Mapping[str, Any] | None = None, **settings: Any
    ) -> Self:
        """Build the handler from options as they are written in the settings file.

        ``use`` is the name of an installed handler, or a factory; ``settings`` are those of the constructor. Raises
        SettingsError for options that would stop the daemon at startup.
        """
        given, where = options or {}, "HandlerRunner"
        if isinstance(use, str):
            return cls(handler_loader.load(use, given, where=where), **settings)
        return cls(handler_loader.build(use, given, where=where), **settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        try:
            self._coroutines.close_handler(self.handler, timeout=self._timeout)
        finally:
            self._coroutines.close()

    def run(self, result: JobResult) -> AttemptReport:
        """One attempt, by the result's ``attempt``; all earlier ones count as failed."""
        now = clock.now()
        return self._attempt(result, failures=result.attempt - 1, created_at=now, now=now)

    def deliver(self, result: JobResult, *, limit: int = 100) -> Sequence[AttemptReport]:
        """All attempts until the delivery is done or dead, at most ``limit``. The pauses between them take no time."""
        reports: list[AttemptReport] = []
        failures, now = 0, (created_at := clock.now())
        for attempt in range(1, limit + 1):
            report = self._attempt(
                replace(result, attempt=attempt), failures=failures, created_at=created_at, now=now
            )
            reports.append(report)
            if report.after is None:
                break
            failures, now = failures + report.spent, now + report.after
        return reports

    def _attempt(
        self, result: JobResult, *, failures: int, created_at: datetime, now: datetime
    ) -> AttemptReport:
        delivery = replace(_delivery_of(result), failures=failures, created_at=created_at)
        errors: list[BaseException] = []

        def failed(delivery: Delivery, error: BaseException) -> Outcome:
            errors.append(error)
            return retry.after_failure(delivery, error, self._policy, now=now, jitter=1.0)

        def run(_document: JobResult) -> None:
            self._coroutines.run(self.handler, result, timeout=time_left)

        # In a context of its own: the time limit of this call is not that of the test.
        outcome = contextvars.copy_context().run(
            run_attempt, delivery, HandlerBinding(run, self._policy), limit=self._timeout, failed=failed
        )
        if errors and isinstance(errors[0], KeyboardInterrupt):
            raise errors[0]
        return _report(outcome, errors[0] if errors else None)


def _report(outcome: Outcome, error: BaseException | None) -> AttemptReport:
    if isinstance(outcome, Done):
        return AttemptReport(outcome="done")
    if isinstance(outcome, Offered):
        return AttemptReport(outcome="offered")
    if isinstance(outcome, RetryAfter):
        return AttemptReport(
            outcome="retry", reason=outcome.reason, after=outcome.wait, spent=outcome.spent, error=error
        )
    return AttemptReport(outcome="dead", reason=outcome.reason, spent=True, error=error)


def _job(fields: Mapping[str, Any]) -> Job:
    kind = fields.get("type", _IPRODUCTION)
    known = kind == _IPRODUCTION
    data = fields.get("data")
    known_kind = job_kinds.kind_of_type(kind)
    return Job(
        token="testing-" + "0" * 14,
        job_id=fields.get("job_id", "" if kind in _WORKFLOWS else JOB_ID),
        function=fields.get("function", "Cover" if known else ""),
        reference=fields.get("reference", ""),
        pipeline=fields.get("pipeline", ""),
        input=fields.get("input", INPUT if known else ""),
        output=fields.get("output", OUTPUT if known else ""),
        user_data=fields.get("user_data", json.dumps(data, ensure_ascii=False) if data else None),
        state=JobState.SUBMITTED,
        created_at=SUBMITTED_AT,
        submitted_at=SUBMITTED_AT,
        kind=known_kind.name if known_kind else "",
    )


def _result(fields: Mapping[str, Any], job: Job) -> Result:
    """As the daemon would have it from a callback and a query; a job that is lost has neither."""
    state, kind = fields.get("state", SUCCESS), fields.get("type", _IPRODUCTION)
    if state == LOST:
        return reconciler.lost(job, now=FINISHED_AT)
    if fields.get("media_id") or is_complete(kind):
        return _event(fields, job, type_=kind)
    other = job_kinds.kind_of_type(kind) if kind not in (_IPRODUCTION, "Start") else None
    if other and state in _CAUSES:
        return _of_other_kind(fields, job, other)
    code, message = _CAUSES.get(state, ("", ""))
    members = {
        "Type": kind,
        "State": state,
        "Code": fields.get("code", code),
        "Message": fields.get("message", message),
        "Details": list(fields.get("details", ())),
        "UserData": job.user_data,
    }
    if kind in _WORKFLOWS or "run_id" in fields:
        execution = {"RunId": fields.get("run_id", RUN_ID), "State": state}
        members |= {"MediaWorkflowExecution": execution}
    else:
        members |= {"JobId": job.job_id, "FunctionName": job.function}
    given = {name: value for name, value in members.items() if value not in (None, "")}
    decoded = callback.decode(json.dumps(given, ensure_ascii=False))
    queried = kind == _IPRODUCTION and decoded.terminal
    return replace(decoded, outputs=_sample_outputs(decoded, job)) if queried else decoded


def _event(fields: Mapping[str, Any], job: Job, *, type_: str) -> Result:
    """An event of IMS, about a job unless only a medium is given."""
    state, media_id = fields.get("state", SUCCESS), fields.get("media_id", "")
    code, message = _CAUSES[FAIL] if state == FAIL else ("", "")
    members = {
        "Status": state,
        "JobId": fields.get("job_id", "" if media_id else job.job_id),
        "MediaId": media_id,
        "FunctionName": job.function,
        "ErrorCode": fields.get("code", code),
        "ErrorMessage": fields.get("message", message),
        "UserData": job.user_data,
    }
    body = {name: value for name, value in members.items() if value not in (None, "")}
    event = {"EventType": type_, "EventTime": f"{FINISHED_AT:%Y-%m-%dT%H:%M:%SZ}", "MessageBody": body}
    return callback.decode(json.dumps(event, ensure_ascii=False))


def _of_other_kind(fields: Mapping[str, Any], job: Job, kind: JobKind) -> Result:
    """A job of another kind that succeeded or failed, with what MPS reports about it."""
    failed = fields.get("state", SUCCESS) == FAIL
    code, message = _CAUSES[FAIL] if failed else ("", "")
    sample = SampleJob(
        id=fields.get("run_id", RUN_ID) if kind is job_kinds.WORKFLOW else job.job_id,
        pipeline=job.pipeline,
        user_data=job.user_data or "",
        code=fields.get("code", code) if failed else "",
        message=fields.get("message", message) if failed else "",
        created=SUBMITTED_AT,
        finished=FINISHED_AT,
    )
    report, entry = reports_of(kind, sample)
    given = {"Code": "code", "Message": "message", "Details": "details"}
    report |= {name: fields[field] for name, field in given.items() if field in fields}
    decoded = callback.decode(json.dumps(report, ensure_ascii=False))
    return replace(decoded, outputs=json.dumps(entry, ensure_ascii=False))


def _sample_outputs(result: Result, job: Job) -> str:
    """The ``Result`` that MPS reports when the callback is verified, as it is by default."""
    if result.state == FAIL:
        return sample_results.failure(result.code, result.message)
    if result.state != SUCCESS:
        return ""
    work = sample_results.Work(
        function=job.function,
        input=job.input,
        output=job.output,
        params={},
        timestamp=int(FINISHED_AT.timestamp()),
    )
    return sample_results.result(work)


def _delivery_of(result: JobResult) -> Delivery:
    """A delivery of this result, for what the daemon derives from it: the retry policy and the fields of log lines."""
    reported = Result(
        job_id=result.job_id, run_id=result.run_id, type=result.type, state=result.state, raw=result.raw
    )
    target = Target(result.route, "handler")
    return _delivery(reported, job=None, target=target, attempt=result.attempt, queue=result.queue)


def _delivery(result: Result, *, job: Job | None, target: Target, attempt: int, queue: str) -> Delivery:
    return Delivery(
        id=1,
        target=target,
        result=result,
        job=job,
        received_at=FINISHED_AT,
        queue="" if result.source is Source.LISTENER else queue,
        attempt=attempt,
        failures=attempt - 1,
        state=DeliveryState.RUNNING,
        created_at=FINISHED_AT,
    )
