"""The document that handlers get: one delivery as a ``JobResult``."""

from __future__ import annotations

from listener.core.model import Delivery, JobResult
from listener.core.outputs import Outputs
from listener.formats import job_outputs, user_data
from listener.rules.job_facts import job_facts


def job_result(delivery: Delivery) -> JobResult:
    """The result of the delivery, completed with what the store knows about its job.

    Of a job that is known, its stored user data, function and pipeline take precedence over those of the callback.
    """
    result, job = delivery.result, delivery.job
    facts = job_facts(result, job)
    return JobResult(
        key=delivery.key,
        attempt=delivery.attempt,
        route=delivery.target.route,
        job_id=result.job_id,
        type=result.type,
        function=facts.function,
        state=result.state,
        code=result.code,
        message=result.message,
        details=result.details,
        user_data=facts.user_data,
        data=user_data.parse(facts.user_data).fields,
        reference=job.reference if job else "",
        run_id=result.run_id,
        pipeline=facts.pipeline,
        queue=delivery.queue,
        input=job.input if job else "",
        output=job.output if job else "",
        submitted_at=job.submitted_at if job else None,
        received_at=delivery.received_at,
        finished_at=delivery.received_at if result.terminal else None,
        source=result.source,
        outputs=_outputs(delivery, function=facts.function),
        raw=result.raw,
    )


def _outputs(delivery: Delivery, *, function: str) -> Outputs | None:
    result, job = delivery.result, delivery.job
    if result.outputs is None:
        return None
    return job_outputs.read(function, result.outputs, output=job.output if job else "")
