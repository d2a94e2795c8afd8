"""What has to be done to a queue and a pipeline, decided without doing it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from listener.core.account import Pipeline
from listener.core.errors import NotFound, UsageError
from listener.core.queue_status import QueueStatus
from listener.rules.queue_advice import QueueNeeds, queue_advice
from listener.rules.queue_attributes import RECOMMENDED, WANTED, differences
from listener.settings.sections import QueueSettings, StoreSettings
from listener.setup.plan import (
    MAX_LISTED,
    Action,
    existing_pipeline,
    pipeline_named,
    plan_pipeline,
    plan_queue,
)
from tests.support.cases import each_case
from tests.support.memory_pipelines import MemoryPipelines

ID = "88c6ca184c0e47b2a17a1b6ef2c6a1f0"


def a_pipeline(
    pipeline_id: str = ID, name: str = "transcode", *, queue: str = "", topic: str = ""
) -> Pipeline:
    return Pipeline(id=pipeline_id, name=name, state="Active", queue=queue, topic=topic)


def test_a_queue_that_is_not_there_is_created() -> None:
    assert plan_queue(None, fix=False).action is Action.CREATE


@each_case("fix", [False, True])
def test_a_queue_as_recommended_is_kept(fix: bool) -> None:
    assert plan_queue(WANTED, fix=fix).action is Action.KEEP
    assert plan_queue({}, fix=fix).action is Action.KEEP, "attributes that are not reported do not count"


def test_a_queue_that_differs_is_changed_only_with_consent() -> None:
    found = WANTED | {"VisibilityTimeout": 30, "DelaySeconds": 5}

    left, changed = plan_queue(found, fix=False), plan_queue(found, fix=True)

    assert (left.action, changed.action) == (Action.LEAVE, Action.CHANGE)
    assert [str(each) for each in left.differences] == [
        "VisibilityTimeout is 30 s, recommended 60 s",
        "DelaySeconds is 5 s, recommended 0 s",
    ]


def test_the_recommended_attributes_fit_the_defaults_of_the_settings() -> None:
    seconds = timedelta(seconds=1)

    assert RECOMMENDED["VisibilityTimeout"].value > StoreSettings().timeout / seconds
    assert (
        RECOMMENDED["PollingWaitSeconds"].value
        == QueueSettings(endpoint="http://h", queue="q").wait / seconds
    )
    assert differences(WANTED) == []


def test_check_has_no_advice_about_a_queue_as_recommended() -> None:
    status = QueueStatus(
        retention=timedelta(seconds=WANTED["MessageRetentionPeriod"]),
        visibility_timeout=timedelta(seconds=WANTED["VisibilityTimeout"]),
        delay=timedelta(seconds=WANTED["DelaySeconds"]),
        polling_wait=timedelta(seconds=WANTED["PollingWaitSeconds"]),
        maximum_message_size=WANTED["MaximumMessageSize"],
    )
    needs = QueueNeeds(store_retention=StoreSettings().retention, reconciled=False)

    assert list(queue_advice("q", status, needs)) == []


def test_check_advises_the_value_that_setup_sets() -> None:
    status = QueueStatus(visibility_timeout=timedelta(seconds=1))
    (advice,) = queue_advice("q", status, QueueNeeds(store_retention=timedelta(0), reconciled=False))

    assert f"VisibilityTimeout of the queue to {WANTED['VisibilityTimeout']} s" in advice.advice


@each_case(
    ("found", "rebind", "action"),
    [
        pytest.param(None, False, Action.CREATE, id="new"),
        pytest.param(a_pipeline(queue="q"), False, Action.KEEP, id="bound-already"),
        pytest.param(a_pipeline(), False, Action.CHANGE, id="bound-to-nothing"),
        pytest.param(a_pipeline(queue="other"), False, Action.LEAVE, id="other-queue"),
        pytest.param(a_pipeline(topic="q"), False, Action.LEAVE, id="topic"),
        pytest.param(a_pipeline(queue="other"), True, Action.CHANGE, id="other-queue-with-consent"),
    ],
)
def test_a_pipeline_is_taken_away_from_others_only_with_consent(
    found: Pipeline | None, rebind: bool, action: Action
) -> None:
    assert plan_pipeline(found, name="transcode", queue="q", rebind=rebind).action is action


@each_case("wanted", [ID, "transcode"], ids=["id", "name"])
def test_a_pipeline_is_found_by_id_and_by_name(wanted: str) -> None:
    assert existing_pipeline(MemoryPipelines(a_pipeline()), wanted) == a_pipeline()


def test_a_name_that_looks_like_an_id_is_found() -> None:
    odd = a_pipeline("1" * 32, name=ID)

    assert existing_pipeline(MemoryPipelines(odd), ID) == odd


def test_an_unknown_pipeline_is_an_error_that_lists_the_known_ones() -> None:
    pipelines = [a_pipeline(f"{number:032x}", f"number-{number}") for number in range(MAX_LISTED + 1)]

    with pytest.raises(NotFound) as unknown:
        existing_pipeline(MemoryPipelines(*pipelines), "other")
    with pytest.raises(NotFound, match="--new-pipeline NAME"):
        existing_pipeline(MemoryPipelines(), "other")

    assert f"number-0 ({0:032x})" in str(unknown.value)
    assert f"number-{MAX_LISTED - 1} (" in str(unknown.value)
    assert f"number-{MAX_LISTED} (" not in str(unknown.value)
    assert "…" in str(unknown.value)


def test_a_name_of_several_pipelines_is_an_error_that_lists_their_ids() -> None:
    pipelines = MemoryPipelines(a_pipeline("1" * 32), a_pipeline("2" * 32))

    with pytest.raises(UsageError, match=f"{'1' * 32}, {'2' * 32}"):
        existing_pipeline(pipelines, "transcode")
    with pytest.raises(UsageError, match="--pipeline"):
        pipeline_named(pipelines, "transcode", queue="q")


def test_the_pipeline_of_an_earlier_run_is_found_again_beside_others_of_its_name() -> None:
    ours = a_pipeline("2" * 32, queue="q")
    pipelines = MemoryPipelines(a_pipeline("1" * 32, queue="other"), ours)

    assert pipeline_named(pipelines, "transcode", queue="q") == ours
    assert pipeline_named(pipelines, "new", queue="q") is None
