"""Pipelines through the official SDK: found by id and name, created, bound to a queue."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from listener.aliyun.credentials import AccessKey, Credentials
from listener.aliyun.mps_client import MpsClient
from listener.aliyun.mps_pipelines import PAGE_SIZE, Pipelines
from listener.core.account import Pipeline
from listener.core.errors import FailureKind, MpsRejected, MpsUnavailable
from listener.emulator import DEFAULT_PIPELINE_ID
from listener.emulator.server import RunningEmulator
from listener.settings.sections import MpsSettings
from tests.support.raw_server import http_reply, serving


def pipelines_at(url: str) -> Pipelines:
    key = AccessKey("testKeyId", "testKeySecret")
    return Pipelines(MpsClient(MpsSettings(endpoint=url), Credentials(lambda: key)))


@pytest.fixture
def pipelines(server: RunningEmulator) -> Pipelines:
    return pipelines_at(server.url)


def at_mps(server: RunningEmulator, pipeline_id: str) -> dict[str, Any]:
    """A pipeline as the service has it."""
    found = server.call(lambda emulator: emulator.engine.pipelines[pipeline_id])
    return {"name": found.name, "state": found.state, "role": found.role, "notify": found.notify}


def test_a_new_pipeline_sends_its_callbacks_to_the_queue(
    server: RunningEmulator, pipelines: Pipelines
) -> None:
    added = pipelines.add("smart-production", queue="q")

    assert added == Pipeline(id=added.id, name="smart-production", state="Active", queue="q")
    assert pipelines.find(added.id) == added
    assert at_mps(server, added.id)["notify"] == {"QueueName": "q"}


def test_a_pipeline_that_does_not_exist_is_none(pipelines: Pipelines) -> None:
    assert pipelines.find("0" * 32) is None


def test_binding_keeps_name_state_and_role(server: RunningEmulator, pipelines: Pipelines) -> None:
    def pause(emulator: Any) -> None:
        pipeline = emulator.engine.pipelines[DEFAULT_PIPELINE_ID]
        pipeline.state, pipeline.role, pipeline.notify = "Paused", "AliyunMTSDefaultRole", {"Topic": "events"}

    server.call(pause)
    before = pipelines.find(DEFAULT_PIPELINE_ID)
    assert before is not None
    assert (before.topic, before.queue) == ("events", "")

    bound = pipelines.bind(before, queue="q")

    assert (bound.queue, bound.topic) == ("q", "")
    assert at_mps(server, DEFAULT_PIPELINE_ID) == {
        "name": "mts-default-pipeline",
        "state": "Paused",
        "role": "AliyunMTSDefaultRole",
        "notify": {"QueueName": "q"},
    }


def test_all_pages_are_searched() -> None:
    names = [f"number-{number}" for number in range(2 * PAGE_SIZE + 1)]
    pages = [names[start : start + PAGE_SIZE] for start in range(0, len(names), PAGE_SIZE)]
    replies = [
        [json_reply({"PipelineList": {"Pipeline": [{"Id": name, "Name": name} for name in page]}})]
        for page in pages
    ]
    with serving(*replies, *replies, *replies) as server:
        pipelines = pipelines_at(server.url)
        assert [each.name for each in pipelines.search()] == names
        assert [re.findall(rb"PageNumber=(\d+)", line) for line in server.requests] == [
            [b"1"],
            [b"2"],
            [b"3"],
        ]
        assert [each.id for each in pipelines.search(names[-1])] == [names[-1]]
        assert pipelines.search("number") == []


def test_pipelines_of_the_service_are_listed(pipelines: Pipelines) -> None:
    added = pipelines.add("mine", queue="q")

    assert {each.id for each in pipelines.search()} == {DEFAULT_PIPELINE_ID, added.id}
    assert pipelines.search("mine") == [added]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param({"PipelineList": {"Pipeline": [{"Id": "p", "NotifyConfig": None}]}}, id="nested"),
        pytest.param({"PipelineList": {"Pipeline ": [{"Id": "p", "NotifyConfig": "{}"}]}}, id="blank-in-key"),
        pytest.param({"PipelineList": [{"Id": "p"}, {"Name": "no id"}, None]}, id="bare-array"),
    ],
)
def test_documented_shapes_of_a_reply_are_read(reply: dict[str, Any]) -> None:
    with serving([json_reply(reply)]) as server:
        assert pipelines_at(server.url).find("p") == Pipeline(id="p")


@pytest.mark.parametrize("reply", [{}, {"PipelineList": None}, {"PipelineList": "?"}, ["no object"]], ids=str)
def test_a_reply_without_pipelines_is_empty(reply: Any) -> None:
    with serving([json_reply(reply)]) as server:
        assert pipelines_at(server.url).find("p") is None


def test_a_service_that_repeats_its_first_page_does_not_keep_the_search_going() -> None:
    page = {"PipelineList": {"Pipeline": [{"Id": f"p{number}"} for number in range(PAGE_SIZE)]}}

    with serving([json_reply(page)]) as server:
        assert len(pipelines_at(server.url).search()) == PAGE_SIZE
        assert len(server.requests) == 2


def test_a_change_that_is_not_reported_is_taken_as_asked_for() -> None:
    with serving([json_reply({"RequestId": "1"})]) as server:
        bound = pipelines_at(server.url).bind(
            Pipeline(id="p", name="n", state="Active", topic="t"), queue="q"
        )

    assert bound == Pipeline(id="p", name="n", state="Active", queue="q")


def test_a_new_pipeline_without_an_id_is_an_error_that_names_it() -> None:
    with (
        serving([json_reply({"RequestId": "1"})]) as server,
        pytest.raises(MpsUnavailable, match="'mine'") as caught,
    ):
        pipelines_at(server.url).add("mine", queue="q")

    assert caught.value.kind == FailureKind.PROTOCOL


def test_a_rejected_call_is_named(pipelines: Pipelines) -> None:
    with pytest.raises(MpsRejected, match=r"UpdatePipeline: InvalidParameter\.ResourceNotFound"):
        pipelines.bind(Pipeline(id="0" * 32, name="gone", state="Active"), queue="q")


def json_reply(document: Any) -> bytes:
    body = json.dumps(document).encode()
    return http_reply(body, headers="Content-Type: application/json\r\nConnection: close\r\n")
