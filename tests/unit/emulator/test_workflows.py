"""Workflows: added and started by the official SDK, their two messages, and the query for their runs."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from listener.core.job_kinds import ANALYSIS, MEDIA_INFO, SNAPSHOT, TRANSCODE, WORKFLOW, JobKind
from listener.emulator import Emulator, Options
from listener.emulator.mps.jobs import BAD_CONTENT
from listener.emulator.server import RunningEmulator, running
from tests.support.cases import each_case
from tests.support.clocks import freeze_time
from tests.support.emulated_jobs import (
    FILE_URL,
    add_workflow,
    bind_pipeline,
    call_sdk,
    done,
    query_job,
    received,
    start_run,
    topology,
)
from tests.support.emulator_clients import BareMns, BareMps, code, mps_client, next_callback
from tests.support.waiting import wait_until

UNKNOWN = "0" * 32


def query_run(mps: BareMps, run_id: str) -> dict[str, Any]:
    reply = done(mps.call(WORKFLOW.queried_by, RunIds=run_id))
    (run,) = reply["MediaWorkflowExecutionList"]["MediaWorkflowExecution"]
    return dict(run)


@pytest.mark.parametrize("algorithm", [None, "v2"], ids=["acs3", "rpc-v1"])
def test_official_sdk_adds_a_workflow_runs_it_and_queries(
    server: RunningEmulator, mps: BareMps, bare: BareMns, algorithm: str | None
) -> None:
    client = mps_client(server.port, algorithm)
    added = call_sdk(
        client, "AddMediaWorkflow", {"Name": "mine", "Topology": topology("Transcode-1", "Snapshot-1")}
    )
    workflow_id = added["MediaWorkflow"]["MediaWorkflowId"]
    media = call_sdk(
        client,
        "AddMedia",
        {"FileURL": FILE_URL, "MediaWorkflowId": workflow_id, "MediaWorkflowUserData": "order-7"},
    )
    (run_id,) = media["Media"]["RunIdList"]["RunId"]
    start, report = received(server.url, 2)
    reply = call_sdk(client, WORKFLOW.queried_by, {WORKFLOW.ids: run_id})

    assert [(result.type, result.run_id, result.state) for result in (start, report)] == [
        ("Start", run_id, "Running"),
        ("Report", run_id, "Success"),
    ]
    assert [result.user_data for result in (start, report)] == ["order-7"] * 2
    assert (len(start.activity_job_ids), len(report.activity_job_ids)) == (1, 3)
    raw = done(mps.call(WORKFLOW.queried_by, RunIds=run_id))
    assert {**reply, "RequestId": ""} == {**raw, "RequestId": ""}
    (run,) = raw["MediaWorkflowExecutionList"]["MediaWorkflowExecution"]
    assert (run["State"], run["MediaWorkflowId"], run["MediaId"]) == (
        "Completed",
        workflow_id,
        media["Media"]["MediaId"],
    )
    assert run["Input"] == {
        "InputFile": {
            "Bucket": "example-bucket",
            "Location": "oss-cn-shanghai",
            "Object": "in/a%20film.mp4",
        },
        "UserData": "order-7",
    }


def test_messages_are_spelled_as_real_ones(mps: BareMps, bare: BareMns) -> None:
    run_id = start_run(mps, add_workflow(mps, "Transcode-1", "Snapshot-1"))
    start, report = next_callback(bare), next_callback(bare)

    assert list(report) == ["RunId", "Name", "Type", "State", "MediaWorkflowExecution"]
    assert (start["Name"], report["Name"]) == ("Act-Start", "Act-Report")
    runs = [message["MediaWorkflowExecution"] for message in (start, report)]
    assert [run["State"] for run in runs] == ["Running", "Completed"]
    assert {(run["RunId"], run["Name"]) for run in runs} == {(run_id, "mine")}
    # Not in the order of time, and in the message an array without a name of its elements.
    assert [[activity["Type"] for activity in run["ActivityList"]] for run in runs] == [
        ["Start"],
        ["Report", "Transcode", "Snapshot", "Start"],
    ]
    assert {activity["RunId"] for activity in runs[1]["ActivityList"]} == {run_id}
    assert runs[0]["ActivityList"][0]["JobId"] == runs[1]["ActivityList"][3]["JobId"]


def test_times_end_in_z_and_activities_begin_and_end_with_the_run() -> None:
    with (
        freeze_time() as clock,
        running(Options(durations={"Workflow": 60.0}, queues=("q",))) as server,
    ):
        mps = BareMps(server.url)
        with mps.http:
            run_id = start_run(mps, add_workflow(mps, "Transcode-1"))
            server.call(Emulator.wake)
            before = query_run(mps, run_id)
            clock.tick(60)
            after = query_run(mps, run_id)

    assert (before["State"], after["State"]) == ("Running", "Completed")
    assert before["CreationTime"] == "2024-05-01T12:00:00Z"
    times = {one["Type"]: (one["StartTime"], one["EndTime"]) for one in after["ActivityList"]["Activity"]}
    begun, ended = "2024-05-01T12:00:00Z", "2024-05-01T12:01:00Z"
    assert times == {"Report": (ended, ended), "Transcode": (begun, ended), "Start": (begun, begun)}


def test_run_on_a_file_named_to_fail_says_why(server: RunningEmulator, mps: BareMps, bare: BareMns) -> None:
    url = "http://example-bucket.oss-cn-shanghai.aliyuncs.com/in/fail.mp4"
    run_id = start_run(mps, add_workflow(mps, "Transcode-1"), FileURL=url)
    start, report = received(server.url, 2)
    run = query_run(mps, run_id)

    assert [(message.state, message.code) for message in (start, report)] == [("Fail", BAD_CONTENT)] * 2
    assert run["State"] == "Fail"
    assert [(one["Type"], one["State"], one.get("Code")) for one in run["ActivityList"]["Activity"]] == [
        ("Report", "Success", None),
        ("Transcode", "Skipped", None),
        ("Start", "Fail", BAD_CONTENT),
    ]


def test_activity_named_to_fail_does_not_fail_its_run(
    server: RunningEmulator, mps: BareMps, bare: BareMns
) -> None:
    run_id = start_run(mps, add_workflow(mps, "Transcode-1", "Snapshot-fail"))
    _, report = received(server.url, 2)

    assert (report.state, report.activity_states) == ("Success", ("Success", "Fail", "Success"))
    assert query_run(mps, run_id)["State"] == "Completed"


@pytest.mark.parametrize("kind", [TRANSCODE, SNAPSHOT, ANALYSIS, MEDIA_INFO], ids=lambda kind: kind.name)
def test_job_of_an_activity_is_found_by_the_query_for_its_kind(
    server: RunningEmulator, mps: BareMps, bare: BareMns, kind: JobKind
) -> None:
    bind_pipeline(mps)
    run_id = start_run(mps, add_workflow(mps, "Transcode-1", "Snapshot-1", "Analysis-fail"))
    received(server.url, 2)
    type_ = "Start" if kind is MEDIA_INFO else kind.name
    (activity,) = (one for one in query_run(mps, run_id)["ActivityList"]["Activity"] if one["Type"] == type_)
    job = query_job(mps, kind, activity["JobId"])

    assert activity["State"] == ("Fail" if kind is ANALYSIS else "Success")
    assert job["State"] == {"Analysis": "Fail", "Transcode": "TranscodeSuccess"}.get(kind.name, "Success")
    assert job.get("Code") == activity.get("Code", "")
    assert bare.receive("q").status_code == 404  # the job itself is not called back


def test_activity_of_a_type_without_jobs_has_no_job_id(
    server: RunningEmulator, mps: BareMps, bare: BareMns
) -> None:
    run_id = start_run(mps, add_workflow(mps, "PackageConfig-1"))
    received(server.url, 2)
    activity = query_run(mps, run_id)["ActivityList"]["Activity"][1]

    assert (activity["Type"], activity["State"], "JobId" in activity) == ("PackageConfig", "Success", False)


def test_activities_of_a_run_are_running_until_it_ends() -> None:
    with running(Options(job_seconds=3600, queues=("q",))) as server:
        mps = BareMps(server.url)
        with mps.http:
            run_id = start_run(mps, add_workflow(mps, "Transcode-1"))
            received(server.url)
            activities = query_run(mps, run_id)["ActivityList"]["Activity"]
            job = query_job(mps, TRANSCODE, activities[0]["JobId"])

    assert [(one["Type"], one["State"]) for one in activities] == [
        ("Transcode", "Running"),
        ("Start", "Success"),
    ]
    assert job["State"] == "Transcoding"


def test_queue_of_the_start_activity_is_used_and_not_that_of_the_pipeline(
    server: RunningEmulator, mps: BareMps, bare: BareMns
) -> None:
    bare.request("PUT", "/queues/other")
    bind_pipeline(mps, "q")
    run_id = start_run(mps, add_workflow(mps, queue="other"))

    assert [result.run_id for result in received(server.url, 2, queue="other")] == [run_id] * 2
    assert bare.receive("q").status_code == 404


def test_run_without_a_report_activity_reports_its_start_only(
    server: RunningEmulator, mps: BareMps, bare: BareMns
) -> None:
    run_id = start_run(mps, add_workflow(mps, report=False))

    assert next_callback(bare)["Type"] == "Start"
    wait_until(lambda: server.call(lambda emulator: emulator.engine.jobs[run_id].over))
    assert server.call(Emulator.state)["callbacks"]["sent"] == 1


def test_unknown_runs_are_listed_apart_and_more_than_ten_are_refused(mps: BareMps) -> None:
    run_id = start_run(mps, add_workflow(mps))
    reply = done(mps.call(WORKFLOW.queried_by, RunIds=f"{run_id},{UNKNOWN}"))
    many = ",".join(f"{number:032x}" for number in range(11))

    assert [run["RunId"] for run in reply["MediaWorkflowExecutionList"]["MediaWorkflowExecution"]] == [run_id]
    assert reply["NonExistRunIds"] == {"RunId": [UNKNOWN]}
    assert code(mps.call(WORKFLOW.queried_by, RunIds=many)) == (400, "InvalidParameter.OutOfRange")
    assert code(mps.call(WORKFLOW.queried_by)) == (400, "InvalidParameter")


def test_query_in_xml_names_each_activity(server: RunningEmulator, mps: BareMps, bare: BareMns) -> None:
    run_id = start_run(mps, add_workflow(mps, "Snapshot-1"))
    received(server.url, 2)
    root = ElementTree.fromstring(mps.call(WORKFLOW.queried_by, Format="XML", RunIds=run_id).content)

    run = root.find("MediaWorkflowExecutionList/MediaWorkflowExecution")
    assert run is not None
    assert [one.findtext("Type") for one in run.iterfind("ActivityList/Activity")] == [
        "Report",
        "Snapshot",
        "Start",
    ]


def test_medium_without_a_workflow_has_no_run(mps: BareMps) -> None:
    media = done(mps.call("AddMedia", FileURL=FILE_URL))["Media"]

    assert (media["RunIdList"], media["File"]["URL"]) == ({"RunId": []}, FILE_URL)


@each_case(
    ("action", "parameters", "expected"),
    [
        pytest.param("AddMedia", {"FileURL": ""}, (400, "MissingParameter"), id="no-file"),
        pytest.param("AddMedia", {"FileURL": "http://127.0.0.1/a"}, (400, "InvalidParameter.Format"), id="no-oss"),
        pytest.param(
            "AddMedia", {"MediaWorkflowId": UNKNOWN}, (404, "InvalidParameter.ResourceNotFound"), id="workflow"
        ),
        pytest.param(
            "AddMedia", {"MediaWorkflowUserData": "x" * 1025}, (400, "InvalidParameter.OutOfRange"), id="user-data"
        ),
        pytest.param("AddMediaWorkflow", {"Name": ""}, (400, "MissingParameter"), id="no-name"),
        pytest.param("AddMediaWorkflow", {"Topology": "{}"}, (400, "InvalidParameter"), id="no-activities"),
        pytest.param(
            "AddMediaWorkflow", {"Topology": '{"Activities":{"a":{"Type":"Report"}}}'}, (400, "InvalidParameter"),
            id="no-start",
        ),
        pytest.param(
            "AddMediaWorkflow", {"Topology": '{"Activities":{"a":{"Type":7}}}'}, (400, "InvalidParameter"), id="type"
        ),
        pytest.param(
            "AddMediaWorkflow", {"Topology": "["}, (400, "InvalidParameter.JsonObjectFormatInvalid"), id="no-json"
        ),
    ],
)  # fmt: skip
def test_wrong_call_is_refused(
    mps: BareMps, action: str, parameters: dict[str, str], expected: tuple[int, str]
) -> None:
    given = {"FileURL": FILE_URL, "Name": "mine", "Topology": topology(), **parameters}

    assert code(mps.call(action, **given)) == expected
