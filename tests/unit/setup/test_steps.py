"""What the steps say about what they did."""

from __future__ import annotations

import pytest

from listener.core.account import Pipeline
from listener.setup.plan import Action, PipelinePlan
from listener.setup.steps import (
    DEFAULT_ROLE,
    Status,
    destination,
    role_note,
    set_up_pipeline,
    status_of,
)
from tests.support.cases import each_case
from tests.support.memory_pipelines import MemoryPipelines

ID = "88c6ca184c0e47b2a17a1b6ef2c6a1f0"


@each_case(
    ("action", "planned", "done"),
    [
        (Action.CREATE, Status.TO_CREATE, Status.CREATED),
        (Action.CHANGE, Status.TO_CHANGE, Status.CHANGED),
        (Action.KEEP, Status.UNCHANGED, Status.UNCHANGED),
        (Action.LEAVE, Status.DIFFERS, Status.DIFFERS),
    ],
)
def test_a_dry_run_has_other_words_for_what_changes(action: Action, planned: Status, done: Status) -> None:
    assert (status_of(action, dry_run=True), status_of(action, dry_run=False)) == (planned, done)


def test_a_dry_run_touches_no_pipeline() -> None:
    found = Pipeline(id=ID, name="transcode", state="Paused", queue="other")
    pipelines = MemoryPipelines(found)
    plan = PipelinePlan(action=Action.CHANGE, name="transcode", found=found)
    pipeline, step = set_up_pipeline(plan, pipelines, queue="q", dry_run=True)

    assert (pipeline, pipelines.pipelines) == (found, [found])
    assert "before to the queue other" in step.detail
    assert "paused" in step.detail


def test_a_pipeline_is_bound_and_returned() -> None:
    found = Pipeline(id=ID, name="transcode", state="Active", topic="events")
    pipelines = MemoryPipelines(found)
    plan = PipelinePlan(action=Action.CHANGE, name="transcode", found=found)
    pipeline, step = set_up_pipeline(plan, pipelines, queue="q", dry_run=False)

    assert pipeline is not None
    assert (pipeline.queue, pipeline.topic, pipelines.pipelines) == ("q", "", [pipeline])
    assert "before to the topic events" in step.detail
    assert "paused" not in step.detail


def test_destinations() -> None:
    assert destination(Pipeline(id=ID, queue="q")) == "the queue q"
    assert destination(Pipeline(id=ID, topic="t")) == "the topic t"
    assert destination(Pipeline(id=ID)) == ""


@each_case(
    ("pipeline", "begins"),
    [
        pytest.param(None, "Not visible here", id="no-pipeline"),
        pytest.param(Pipeline(id=ID), "MPS reports no role", id="no-role"),
        pytest.param(Pipeline(id=ID, role="Mine"), "The pipeline has the role Mine", id="role"),
    ],
)
def test_what_is_known_about_the_role_is_said_and_what_is_not(pipeline: Pipeline | None, begins: str) -> None:
    note = role_note(pipeline)

    assert note.startswith(begins)
    assert "Not visible here" in note
    assert DEFAULT_ROLE in note
