"""Every operation of MPS answers in XML and in JSON, over both signatures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from listener.core.job_kinds import TRANSCODE, WORKFLOW, JobKind
from listener.emulator import DEFAULT_PIPELINE_ID, Emulator, Options
from listener.emulator.mps.kinds import EMULATED_KINDS
from listener.emulator.server import RunningEmulator, running
from tests.support.cases import each_case
from tests.support.emulated_jobs import (
    FILE_URL,
    add_workflow,
    done,
    parameters_of,
    start_run,
    submit_job,
    topology,
)
from tests.support.emulator_clients import BareMps

Parameters = dict[str, str]
KINDS = [kind for kind in EMULATED_KINDS if kind.api is not WORKFLOW]


@pytest.fixture(scope="module")
def idle() -> Iterator[RunningEmulator]:
    """An emulator in which a job ends only when the test wants it."""
    with running(Options(seed=1, concurrency=0)) as emulator:
        yield emulator


@pytest.fixture
def calls(idle: RunningEmulator) -> Iterator[BareMps]:
    idle.call(Emulator.reset)
    client = BareMps(idle.url)
    with client.http:
        yield client


def new_pipeline(mps: BareMps) -> Parameters:
    return {"PipelineId": done(mps.call("AddPipeline", Name="mine"))["Pipeline"]["Id"]}


def new_run(mps: BareMps) -> Parameters:
    return {"RunIds": start_run(mps, add_workflow(mps, "Transcode-1", "Snapshot-1"))}


def submission(kind: JobKind) -> Callable[[BareMps], Parameters]:
    return lambda mps: parameters_of(kind)


def query(kind: JobKind, name: str) -> Callable[[BareMps], Parameters]:
    return lambda mps: {name: submit_job(mps, kind)}


#: For each operation, what makes the parameters of a call that succeeds.
OPERATIONS: dict[str, Callable[[BareMps], Parameters]] = {
    "AddPipeline": lambda mps: {"Name": "mine", "NotifyConfig": '{"QueueName":"q"}'},
    "UpdatePipeline": lambda mps: {"PipelineId": DEFAULT_PIPELINE_ID, "Name": "n", "State": "Active"},
    "SearchPipeline": lambda mps: {},
    "QueryPipelineList": lambda mps: {"PipelineIds": f"{DEFAULT_PIPELINE_ID},{'0' * 32}"},
    "DeletePipeline": new_pipeline,
    "CancelJob": lambda mps: {"JobId": submit_job(mps, TRANSCODE)},
    "AddMediaWorkflow": lambda mps: {"Name": "mine", "Topology": topology("Transcode-1")},
    "AddMedia": lambda mps: {"FileURL": FILE_URL, "MediaWorkflowId": add_workflow(mps, "Transcode-1")},
    WORKFLOW.queried_by: new_run,
}
for kind in KINDS:
    OPERATIONS[kind.api.submitted_by] = submission(kind.api)
    OPERATIONS[kind.api.queried_by] = query(kind.api, kind.api.ids)
    OPERATIONS |= {detail: query(kind.api, "JobId") for detail in kind.details}


def test_no_operation_is_left_out(idle: RunningEmulator) -> None:
    assert set(OPERATIONS) == set(idle.emulator.mps.operations)


@each_case("operation", OPERATIONS)
def test_reply_in_xml_has_the_members_of_that_in_json(
    idle: RunningEmulator, calls: BareMps, operation: str
) -> None:
    def parameters() -> Parameters:
        made = OPERATIONS[operation](calls)
        if operation.startswith("Query"):
            idle.call(finish_jobs)
        return made

    replies = [
        calls.call(operation, Format="JSON", **parameters()),
        calls.call(operation, Format="XML", **parameters()),
        calls.call_acs3(operation, accept="application/json", **parameters()),
        calls.call_acs3(operation, accept="application/xml", **parameters()),
    ]

    assert [reply.status_code for reply in replies] == [200] * 4, replies[0].text
    members = [
        members_of_json(reply.json()) if number % 2 == 0 else members_of_xml(reply.text, operation)
        for number, reply in enumerate(replies)
    ]
    assert "/RequestId" in members[0]
    for other in members[1:]:
        assert other ^ members[0] == set()


def finish_jobs(emulator: Emulator) -> None:
    for job in list(emulator.engine.jobs.values()):
        emulator.engine.finish_now(job)


def members_of_json(value: Any, path: str = "") -> set[str]:
    """The paths of all members; lists have no part in a path, as in XML."""
    if isinstance(value, dict):
        members = {member for name in value for member in members_of_json(value[name], f"{path}/{name}")}
        return members or {path}
    if isinstance(value, list):
        return {member for item in value for member in members_of_json(item, path)}
    return {path}


def members_of_xml(text: str, operation: str) -> set[str]:
    root = ElementTree.fromstring(text)
    assert root.tag == f"{operation}Response"
    return set(leaves(root, ""))


def leaves(element: ElementTree.Element, path: str) -> Iterator[str]:
    if not len(element):
        yield path
    for child in element:
        yield from leaves(child, f"{path}/{child.tag}")
