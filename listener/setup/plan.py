"""What has to be done to a queue and a pipeline so that callbacks arrive; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from listener.core.account import Pipeline, PipelineAdmin, QueueAttributes
from listener.core.errors import NotFound, UsageError
from listener.rules.queue_attributes import Difference, differences
from listener.setup.location import is_pipeline_id

#: Names that are listed if none of them is the one that was asked for.
MAX_LISTED = 10


class Action(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    KEEP = "keep"  #: it is as it should be
    LEAVE = "leave"  #: it should be different, but is left as it is without consent


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePlan:
    action: Action
    differences: Sequence[Difference] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelinePlan:
    """``LEAVE``: it notifies another queue or a topic, and would have to be taken away from there."""

    action: Action
    name: str
    found: Pipeline | None = None


def plan_queue(found: QueueAttributes | None, *, fix: bool) -> QueuePlan:
    if found is None:
        return QueuePlan(action=Action.CREATE)
    differing = differences(found)
    if not differing:
        return QueuePlan(action=Action.KEEP)
    return QueuePlan(action=Action.CHANGE if fix else Action.LEAVE, differences=differing)


def plan_pipeline(found: Pipeline | None, *, name: str, queue: str, rebind: bool) -> PipelinePlan:
    """``name`` is that of a new pipeline if there is none."""
    if found is None:
        return PipelinePlan(action=Action.CREATE, name=name)
    if found.queue == queue:
        action = Action.KEEP
    elif found.queue or found.topic:
        action = Action.CHANGE if rebind else Action.LEAVE
    else:
        action = Action.CHANGE
    return PipelinePlan(action=action, name=found.name, found=found)


def existing_pipeline(pipelines: PipelineAdmin, wanted: str) -> Pipeline:
    """The pipeline with this id or name. Raises NotFound and UsageError."""
    if is_pipeline_id(wanted) and (found := pipelines.find(wanted)):
        return found
    named = pipelines.search(wanted)
    if not named:
        raise NotFound(f"there is no pipeline {wanted!r} in this region; {_known(pipelines.search())}")
    return _only(named, wanted)


def pipeline_named(pipelines: PipelineAdmin, name: str, *, queue: str) -> Pipeline | None:
    """The pipeline that an earlier run created under this name, if any. Raises UsageError if there are several."""
    named = pipelines.search(name)
    bound = [each for each in named if each.queue == queue]
    return _only(bound or named, name) if named else None


def _only(named: Sequence[Pipeline], name: str) -> Pipeline:
    if len(named) > 1:
        ids = ", ".join(each.id for each in named)
        raise UsageError(
            f"{len(named)} pipelines have the name {name!r}; use --pipeline with one of the ids {ids}"
        )
    return named[0]


def _known(pipelines: Sequence[Pipeline]) -> str:
    if not pipelines:
        return "it has none; create one with --new-pipeline NAME"
    listed = ", ".join(f"{each.name} ({each.id})" for each in pipelines[:MAX_LISTED])
    more = ", …" if len(pipelines) > MAX_LISTED else ""
    return f"use one of {listed}{more}, or create one with --new-pipeline NAME"
