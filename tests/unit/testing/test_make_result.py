"""Results that are made for tests of handlers are like those that the daemon makes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from listener import JobResult
from listener.core.job_kinds import IPRODUCTION, JOB_KINDS, WORKFLOW
from listener.emulator.mps.sample_results import FUNCTION_NAMES, SHAPES
from listener.formats import callback
from listener.testing import make_result
from tests.support.cases import each_case

#: Other kinds of jobs, by the types of their callbacks.
OTHERS = ["Report" if kind is WORKFLOW else kind.name for kind in JOB_KINDS if kind is not IPRODUCTION]
KINDS = [
    pytest.param({}, id="nothing"),
    pytest.param({"state": "Fail", "data": {"a": 1}}, id="failed"),
    pytest.param({"state": "Cancelled", "user_data": "captions:7"}, id="cancelled"),
    pytest.param({"state": "Processing", "details": ["50 %"]}, id="in-progress"),
    pytest.param({"type": "Transcode", "state": "Processing"}, id="transcode-in-progress"),
    pytest.param({"type": "Start", "state": "Running"}, id="workflow-started"),
    pytest.param({"type": "unheard-of"}, id="unknown-type"),
    *(pytest.param({"type": name, "data": {"a": 1}}, id=name) for name in OTHERS),
    *(
        pytest.param({"type": name, "state": "Fail", "message": "bad"}, id=f"{name}-failed")
        for name in OTHERS
    ),
    pytest.param({"type": "Start"}, id="workflow-started-whatever-its-state"),
    pytest.param({"type": "ProduceMediaComplete", "data": {"a": 1}}, id="event-about-a-job"),
    pytest.param({"type": "SnapshotComplete", "media_id": "v1", "state": "Fail"}, id="event-about-a-medium"),
    *(pytest.param({"function": name}, id=name) for name in FUNCTION_NAMES),
]


@each_case("fields", KINDS)
def test_the_callback_says_the_same_as_the_fields(fields: dict[str, Any]) -> None:
    made = make_result(**fields)
    decoded = callback.decode(made.raw)

    said = "job_id run_id media_id type function state code message details user_data"
    for name in said.split():
        assert getattr(decoded, name) == getattr(made, name), name


@each_case("fields", [*KINDS, pytest.param({"state": "Lost"}, id="lost")])
def test_every_kind_is_a_document_and_read_back(fields: dict[str, Any]) -> None:
    made = make_result(**fields)

    assert JobResult.from_document(json.loads(json.dumps(made.to_document()))) == made
    assert made.job_id or made.run_id or made.media_id
    assert {name: getattr(made, name) for name in fields} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }


@each_case("function", sorted(SHAPES))
def test_a_function_brings_its_outputs(function: str) -> None:
    outputs = make_result(function=function).outputs

    assert outputs is not None
    assert any((outputs.files, outputs.inline, outputs.covers, outputs.segments, outputs.splits))


def test_a_failed_job_has_a_cause_and_outputs_without_files() -> None:
    failed = make_result(state="Fail", message="too dark")

    assert failed.outputs is not None
    assert (failed.code, failed.message) == ("InvalidParameter.ResourceContentBad", "too dark")
    assert (failed.outputs.code, failed.outputs.message) == (failed.code, failed.message)
    assert failed.outputs.files == failed.outputs.covers == ()


@each_case("kind", OTHERS)
def test_a_kind_brings_its_outputs_and_a_failed_job_none(kind: str) -> None:
    made, failed = (make_result(type=kind, state=state).outputs for state in ("Success", "Fail"))

    assert made is not None
    assert (made.source, made.problems) == ("query", ())
    assert any(
        (
            made.files,
            made.properties,
            made.templates,
            made.moderation,
            made.matches,
            made.tags,
            made.activities,
        )
    )
    assert failed is not None
    assert (failed.files, failed.properties, failed.suggestion) == ((), None, "")


def test_a_workflow_brings_its_activities() -> None:
    states = {
        state: [(each.type, each.state) for each in make_result(type="Report", state=state).activities]
        for state in ("Success", "Fail")
    }

    assert states == {
        "Success": [("Start", "Success"), ("Transcode", "Success"), ("Report", "Success")],
        "Fail": [("Start", "Fail"), ("Transcode", "Skipped"), ("Report", "Success")],
    }


@each_case("fields", [{"state": "Processing"}, {"state": "Lost"}, {"type": "unheard-of"}])
def test_a_result_about_which_mps_is_not_queried_has_no_outputs(fields: dict[str, Any]) -> None:
    assert make_result(**fields).outputs is None


def test_a_lost_job_has_no_callback() -> None:
    lost = make_result(state="Lost")

    assert (lost.source, lost.raw, lost.queue, lost.code) == ("listener", "", "", "Lost")


def test_data_and_user_data_follow_from_each_other() -> None:
    assert make_result(data={"名": "早"}).user_data == '{"名": "早"}'
    assert make_result(user_data='{"a": 1}').data == {"a": 1}


def test_the_key_depends_on_what_identifies_a_delivery() -> None:
    keys = [make_result(**fields).key for fields in ({}, {"attempt": 2}, {"state": "Fail"}, {"route": "a"})]

    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_outputs_may_be_left_out() -> None:
    assert make_result(outputs=None).outputs is None


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(TypeError, match="JobResult has no field 'sate'"):
        make_result(sate="Fail")
