"""Made-up callbacks are those that the emulator sends, and the decoder reads what they say."""

from __future__ import annotations

import json

from listener.core.job_kinds import JOB_KINDS
from listener.emulator.mps.sample_callbacks import SAMPLE_CALLBACKS, Subject
from listener.formats.callback import decode
from tests.support.builders import JOB_ID, NOON
from tests.support.cases import each_case

STATES = {
    "success": "Success",
    "fail": "Fail",
    "processing": "Processing",
    "pass": "Success",
    "review": "Success",
    "block": "Success",
    "start": "Running",
    "report": "Success",
    "activity-fail": "Success",
    "event": "Success",
}


@each_case("name", SAMPLE_CALLBACKS)
def test_each_sample_is_decoded_to_the_state_in_its_name_with_id_and_user_data(name: str) -> None:
    document = SAMPLE_CALLBACKS[name].build(Subject(id=JOB_ID, user_data="covers:7", at=NOON))

    result = decode(json.dumps(document))

    assert JOB_ID in (result.job_id, result.run_id)
    assert (result.state, result.user_data) == (STATES[name.partition(".")[2]], "covers:7")


def test_there_is_a_success_and_a_failure_of_every_kind() -> None:
    kinds = {kind.name.lower() for kind in JOB_KINDS} | {"ims", "vod"}

    assert {name.partition(".")[0] for name in SAMPLE_CALLBACKS if not name.endswith(".fail")} == kinds
    assert {name.partition(".")[0] for name in SAMPLE_CALLBACKS if name.endswith(".fail")} == kinds


def test_the_function_is_that_of_the_subject() -> None:
    built = SAMPLE_CALLBACKS["iproduction.success"].build(Subject(id=JOB_ID, function="ASR", at=NOON))

    assert decode(json.dumps(built)).function == "ASR"


def test_a_workflow_with_a_failed_activity_reports_the_state_of_each() -> None:
    built = SAMPLE_CALLBACKS["workflow.activity-fail"].build(Subject(id=JOB_ID, at=NOON))

    assert set(decode(json.dumps(built)).activity_states) == {"Success", "Fail"}


def test_two_runs_of_a_workflow_have_no_job_in_common() -> None:
    runs = [SAMPLE_CALLBACKS["workflow.report"].build(Subject(id=id_, at=NOON)) for id_ in (JOB_ID, "f" * 32)]
    first, second = (set(decode(json.dumps(run)).activity_job_ids) for run in runs)

    assert (len(first), len(second), first & second) == (2, 2, set())
