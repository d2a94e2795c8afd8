"""The steps of ``mns-listener setup``: each carries out one part of the plan, or says what it would do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from listener.core.account import Pipeline, PipelineAdmin, QueueAdmin
from listener.rules.queue_attributes import RECOMMENDED, WANTED
from listener.rules.routing import Rule
from listener.setup.plan import Action, PipelinePlan, QueuePlan
from listener.setup.round_trip import RoundTrip


class Status(StrEnum):
    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    DIFFERS = "differs"  #: left as it is
    SKIPPED = "skipped"
    RECEIVED = "received"
    NOT_RECEIVED = "not received"
    TO_CREATE = "to create"  #: with --dry-run
    TO_CHANGE = "to change"  #: with --dry-run
    TO_SEND = "to send"  #: with --dry-run


#: The role that MPS assumes unless another one is configured.
DEFAULT_ROLE: Final = "AliyunMTSDefaultRole"
#: Statuses after which something is different from before.
CHANGES = (Status.CREATED, Status.CHANGED)
_DONE = {
    Action.CREATE: Status.CREATED,
    Action.CHANGE: Status.CHANGED,
    Action.KEEP: Status.UNCHANGED,
    Action.LEAVE: Status.DIFFERS,
}
_PLANNED = _DONE | {Action.CREATE: Status.TO_CREATE, Action.CHANGE: Status.TO_CHANGE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step and what became of it."""

    name: str
    status: Status
    detail: str = ""


def status_of(action: Action, *, dry_run: bool) -> Status:
    return (_PLANNED if dry_run else _DONE)[action]


def set_up_queue(plan: QueuePlan, queue: QueueAdmin, *, dry_run: bool) -> Step:
    if not dry_run and plan.action is Action.CREATE:
        queue.create(WANTED)
    if not dry_run and plan.action is Action.CHANGE:
        queue.change({each.attribute: each.wanted for each in plan.differences})
    return Step(
        name=f"queue {queue.name}", status=status_of(plan.action, dry_run=dry_run), detail=_attributes(plan)
    )


def set_up_pipeline(
    plan: PipelinePlan, pipelines: PipelineAdmin, *, queue: str, dry_run: bool
) -> tuple[Pipeline | None, Step]:
    """The pipeline, if it exists by now, and the step."""
    pipeline = plan.found
    if not dry_run and plan.action is Action.CREATE:
        pipeline = pipelines.add(plan.name, queue=queue)
    if not dry_run and plan.action is Action.CHANGE and plan.found:
        pipeline = pipelines.bind(plan.found, queue=queue)
    status = status_of(plan.action, dry_run=dry_run)
    step = Step(name=f"pipeline {plan.name}", status=status, detail=_binding(plan, pipeline, queue))
    return pipeline, step


def trip_step(trip: RoundTrip, rule: Rule | None, queue: str) -> Step:
    others = (
        f"; {trip.others} other messages were received on the way: they stay in the queue, hidden for its "
        "visibility timeout"
        if trip.others
        else ""
    )
    if trip.result is None:
        detail = (
            f"it was sent to {queue}, but another consumer took it, or it is behind other messages; a daemon that "
            "receives it drops it: look for it with `mns-listener results list --status dropped`"
        )
        return Step(name="test message", status=Status.NOT_RECEIVED, detail=detail + others)
    route = f"the route {rule.name!r} ({', '.join(rule.handlers)})" if rule else "no route, and be parked"
    detail = (
        f"sent to {queue}, received, decoded as a callback, and deleted; no handler was called. A callback of a "
        f"successful job would go to {route}"
    )
    return Step(name="test message", status=Status.RECEIVED, detail=detail + others)


def _attributes(plan: QueuePlan) -> str:
    match plan.action:
        case Action.CREATE:
            return ", ".join(f"{name} {each.value} {each.unit}" for name, each in RECOMMENDED.items())
        case Action.KEEP:
            return "all attributes are as recommended"
        case Action.LEAVE:
            return f"{'; '.join(map(str, plan.differences))}; change this with --fix"
        case Action.CHANGE:
            return "; ".join(map(str, plan.differences))


def _binding(plan: PipelinePlan, pipeline: Pipeline | None, queue: str) -> str:
    before = destination(plan.found) if plan.found and plan.action is Action.CHANGE else ""
    parts = (
        f"id {pipeline.id}" if pipeline else "",
        f"its callbacks go to the queue {queue}",
        f"before to {before}" if before else "",
        "it is paused: its jobs wait" if pipeline and pipeline.state == "Paused" else "",
    )
    return "; ".join(part for part in parts if part)


def destination(pipeline: Pipeline) -> str:
    """Where the callbacks of a pipeline go; empty if nowhere."""
    if pipeline.queue:
        return f"the queue {pipeline.queue}"
    return f"the topic {pipeline.topic}" if pipeline.topic else ""


def role_note(pipeline: Pipeline | None) -> str:
    """What can be known here about the right of MPS to send to the queue."""
    seen = (
        f"The pipeline has the role {pipeline.role}. "
        if pipeline and pipeline.role
        else "MPS reports no role for this pipeline. "
        if pipeline
        else ""
    )
    return (
        f"{seen}Not visible here: whether MPS may send to the queue. It assumes a RAM role of the account, by default "
        f"{DEFAULT_ROLE}, which the console of MPS creates when MPS is authorized for the first time; verify in the "
        "RAM console that it exists. Only a job proves it: submit one, and wait for its callback."
    )
