"""The document that handlers get: one delivery as a ``JobResult``."""

from __future__ import annotations

from listener.core.model import Delivery, Job, JobResult, Result, make_job_result
from listener.core.outputs import Outputs
from listener.formats import activities, kind_outputs, user_data
from listener.rules.job_facts import JobFacts, job_facts, kind_of


def job_result(delivery: Delivery, *, traceparent: str = "") -> JobResult:
    """The result of the delivery, completed with what the store knows about its job.

    Of a job that is known, its stored user data, function and pipeline take precedence over those of the callback, and
    its kind is the type of a callback that has none. ``traceparent`` is that of the attempt, if that is
    traced.
    """
    result, job = delivery.result, delivery.job
    facts = job_facts(result, job)
    return make_job_result(
        key=delivery.key,
        attempt=delivery.attempt,
        route=delivery.target.route,
        job_id=result.job_id,
        type=facts.type,
        function=facts.function,
        state=result.state,
        code=result.code,
        message=result.message,
        details=result.details,
        user_data=facts.user_data,
        data=user_data.fields(facts.user_data),
        reference=job.reference if job else "",
        run_id=result.run_id,
        media_id=result.media_id,
        pipeline=facts.pipeline,
        queue=delivery.queue,
        input=job.input if job else "",
        output=_output(result, job),
        submitted_at=job.submitted_at if job else None,
        received_at=delivery.received_at,
        finished_at=delivery.received_at if result.terminal_id else None,
        source=result.source,
        outputs=_outputs(result, job, facts),
        activities=activities.read(result.raw) if result.run_id else (),
        raw=result.raw,
        traceparent=traceparent or (job.trace if job else ""),
    )


def outputs_of(result: Result, job: Job | None) -> Outputs | None:
    """What the job of this result produced; None if that is not known."""
    return _outputs(result, job, job_facts(result, job))


def _outputs(result: Result, job: Job | None, facts: JobFacts) -> Outputs | None:
    return kind_outputs.read(
        kind_of(result, job),
        result.outputs,
        function=facts.function,
        output=_output(result, job),
        raw=result.raw,
    )


def _output(result: Result, job: Job | None) -> str:
    """The Output of the job: of its submission, else as MPS reported it."""
    return (job.output if job else "") or result.output
