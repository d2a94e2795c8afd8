"""Callbacks that reach their queue through a topic of MNS, from the submission to the handler."""

from __future__ import annotations

import json

import pytest

from listener.emulator import Emulator, Fault, FaultKind
from listener.emulator.mns.topics import ContentFormat, SubscriptionAttributes
from tests.support.builders import a_callback, wrapped
from tests.support.emulator_clients import BareMps, submit
from tests.support.program import QUEUE, Place
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

WITHOUT_QUERIES = """\
[[routes]]
name = "all"
enrich = false
handlers = [{{ use = "jsonl", path = "{folder}/results.jsonl" }}]
"""
ENDPOINT = f"acs:mns:cn-shanghai:1234567890:queues/{QUEUE}"


def make_topics(emulator: Emulator) -> None:
    """One of each content format, named after it."""
    for content in ContentFormat:
        emulator.mns.topics.create(content)
        attributes = SubscriptionAttributes(endpoint=ENDPOINT, notify_content_format=content)
        emulator.mns.topics.subscribe(content, "to-queue", attributes)


def pipeline_bound_to(topic: str, mps: BareMps) -> str:
    reply = mps.call("AddPipeline", Name=topic, NotifyConfig=json.dumps({"Topic": topic}))
    pipeline_id: str = reply.json()["Pipeline"]["Id"]
    return pipeline_id


def publish_base64(emulator: Emulator) -> None:
    """As a publisher may do that is not MPS."""
    for content in ContentFormat:
        emulator.mns.topics.publish(content, wrapped(a_callback(JobId=f"base64-{content}"), "base64"))


def test_callbacks_through_topics_of_each_format_reach_the_handler_once(place: Place) -> None:
    place.settings(WITHOUT_QUERIES)
    place.server.call(make_topics)
    twice = Fault(kind=FaultKind.DUPLICATE, topic="*")
    place.server.call(lambda emulator: emulator.faults.add([twice]))
    daemon = place.run().ready()
    mps = BareMps(place.server.url)
    with mps.http:
        replies = [
            submit(mps, PipelineId=pipeline_bound_to(each, mps), NotifyUrl="") for each in ContentFormat
        ]
    place.server.call(publish_base64)
    wait_until(lambda: len(place.lines()) >= 6 and place.messages_left() == 0)

    assert daemon.stop() == 0
    assert place.happened("duplicate") == 6
    assert place.quarantined() == []
    assert sorted(line["job_id"] for line in place.lines()) == sorted(
        [*(reply.json()["JobId"] for reply in replies), *(f"base64-{each}" for each in ContentFormat)]
    )
