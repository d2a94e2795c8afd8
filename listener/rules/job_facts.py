"""What is known of a result's job: from our own submission where there is one, else from the result itself.

Whoever may send to the queue can write anything into a callback, so what the store knows takes precedence.
"""

from __future__ import annotations

from dataclasses import dataclass

from listener.core.job_kinds import IPRODUCTION, WORKFLOW, JobKind, kind_of_type
from listener.core.model import Job, Result
from listener.core.quick_init import maker, quick_init


@quick_init
@dataclass(frozen=True, slots=True)
class JobFacts:
    """What routes and handlers are given."""

    user_data: str | None
    function: str
    pipeline: str
    type: str  #: that of the callback; if it has none, the kind of its job


_make_facts = maker(JobFacts)


def job_facts(result: Result, job: Job | None) -> JobFacts:
    """The facts for this result, whose job is ``job`` if that is known."""
    if job is None:
        return _make_facts(result.user_data, result.function, result.pipeline, result.type)
    if not is_own(result, job):
        text = job.user_data if result.user_data is None else result.user_data
        return _make_facts(
            text, result.function or job.function, result.pipeline or job.pipeline, result.type
        )
    # A job that was registered without user data may have been submitted with some.
    ours = job.submitted_here or job.user_data is not None
    return _make_facts(
        user_data=job.user_data if ours else result.user_data,
        function=job.function or result.function,
        pipeline=job.pipeline or result.pipeline,
        type=result.type or job.kind_name,
    )


def is_own(result: Result, job: Job) -> bool:
    """False for the result of a workflow of which the job is only an activity."""
    return job.job_id in (result.job_id, result.run_id)


def kind_of(result: Result, job: Job | None) -> JobKind | None:
    """How MPS can be asked about the job of this result; None if it cannot be.

    What the store knows takes precedence, also if only a newer release knows the kind. A callback without a type is
    taken for one of smart production, or of a workflow if it has a run id only. An event is about a job of another
    service.
    """
    if result.event:
        return None
    own = job if job is not None and is_own(result, job) else None
    if own and own.has_newer_kind:
        return None
    known = own.queried_kind if own else None
    untyped = IPRODUCTION if result.job_id else WORKFLOW
    return known or (kind_of_type(result.type) if result.type else untyped)
