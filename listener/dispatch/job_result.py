"""The document that handlers get: one delivery as a ``JobResult``."""

from __future__ import annotations

from listener.core.model import Delivery, Job, JobResult, Result
from listener.core.outputs import Outputs
from listener.core.quick_init import from_values
from listener.formats import activities, kind_outputs, user_data
from listener.rules.job_facts import JobFacts, job_facts, kind_of

#: From the values of all fields, in their order: with keywords, a document takes 1 us more, for each delivery.
_from_values = from_values(JobResult)


def job_result(delivery: Delivery, *, traceparent: str = "") -> JobResult:
    """The result of the delivery, completed with what the store knows about its job.

    Of a job that is known, its stored user data, function and pipeline take precedence over those of the callback, and
    its kind is the type of a callback that has none. ``traceparent`` is that of the attempt, if that is traced.
    """
    result, job = delivery.result, delivery.job
    facts = job_facts(result, job)
    return _from_values(
        (
            delivery.key,
            delivery.attempt,
            delivery.target.route,
            result.job_id,
            facts.type,
            facts.function,
            result.state,
            result.code,
            result.message,
            result.details,
            facts.user_data,
            user_data.fields(facts.user_data),  # data
            job.reference if job else "",
            result.run_id,
            result.media_id,
            facts.pipeline,
            delivery.queue,
            job.input if job else "",
            _output(result, job),
            job.submitted_at if job else None,
            delivery.received_at,
            delivery.received_at if result.terminal_id else None,  # finished_at
            result.source,
            _outputs(result, job, facts),
            activities.read(result.raw) if result.run_id else (),
            result.raw,
            traceparent or (job.trace if job else ""),
        )
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
