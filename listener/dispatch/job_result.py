"""The document that handlers get: one delivery as a ``JobResult``."""

from __future__ import annotations

from listener.core.model import Delivery, JobResult
from listener.core.outputs import Outputs
from listener.formats import job_outputs, user_data


def job_result(delivery: Delivery) -> JobResult:
    """The result of the delivery, completed with what the store knows about its job.

    The callback's own values win; those of the job fill what the callback left out.
    """
    result, job = delivery.result, delivery.job
    text = job.user_data if job and result.user_data is None else result.user_data
    return JobResult(
        key=delivery.key,
        attempt=delivery.attempt,
        route=delivery.target.route,
        job_id=result.job_id,
        type=result.type,
        function=result.function or (job.function if job else ""),
        state=result.state,
        code=result.code,
        message=result.message,
        details=result.details,
        user_data=text,
        data=user_data.parse(text).fields,
        reference=job.reference if job else "",
        run_id=result.run_id,
        pipeline=result.pipeline or (job.pipeline if job else ""),
        queue=delivery.queue,
        input=job.input if job else "",
        output=job.output if job else "",
        source=result.source,
        outputs=_outputs(delivery),
        raw=result.raw,
    )


def _outputs(delivery: Delivery) -> Outputs | None:
    result, job = delivery.result, delivery.job
    if result.outputs is None:
        return None
    return job_outputs.read(result.function, result.outputs, output=job.output if job else "")
