"""Values for tests with every field defaulted: say only what matters to the test.

``wrapped(a_callback(State="Fail"), "topic-xml")`` is a message body as a topic would push it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from xml.sax.saxutils import escape

from listener.core.model import (
    Claim,
    DecodedMessage,
    Delivery,
    DeliveryState,
    Job,
    JobState,
    Message,
    Result,
    ResultStatus,
    RoutingDecision,
    Target,
)
from listener.core.ports import Decide
from listener.store.daemons import RunningDaemon

NOON: Final = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
JOB_ID: Final = "39f8e0bc005e4f309379701645f4a1b2"
TOKEN: Final = "abcdefghijklmnopqrstuv"
#: Given as a member's value, leaves that member out of the callback.
ABSENT: Final = object()


def a_callback(**members: Any) -> str:
    """The JSON text of an IProduction callback as documented (facts: mps 1.1), with these members changed."""
    callback = {
        "Code": "Success",
        "Details": [],
        "FunctionName": "VideoH2V",
        "JobId": JOB_ID,
        "Message": "success",
        "State": "Success",
        "Type": "IProduction",
        **members,
    }
    return json.dumps({name: value for name, value in callback.items() if value is not ABSENT})


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _notification(text: str) -> dict[str, str]:
    """What a topic puts around a payload; members in the order of a captured push."""
    return {
        "TopicOwner": "123456789012",
        "Message": text,
        "Subscriber": "123456789012",
        "PublishTime": "1714564800000",
        "SubscriptionName": "to-queue",
        "MessageMD5": "0123456789ABCDEF0123456789ABCDEF",
        "TopicName": "mps-callbacks",
        "MessageId": "5F299B2D8E1B4D1E8B5C1D2E3F405162",
    }


def _topic_json(text: str) -> str:
    return json.dumps(_notification(text))


def _topic_xml(text: str) -> str:
    members = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in _notification(text).items())
    return (
        f'<?xml version="1.0"?><Notification xmlns="http://mns.aliyuncs.com/doc/v1/">{members}</Notification>'
    )


def _documented_topic_xml(text: str) -> str:
    """Ill-formed, as the documentation prints it (facts: mps 1.5)."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<Notification xlmns="http://mns.aliyuncs.com/doc/v1/">\n'
        "  <TopicOwner>owner</TopicOwner>\n  <TopicName>mps-callbacks</TopicName>\n"
        f"  <Message>{escape(text)}</Message>\n"
        "  <PublishTime>1449556920975</MessagePublishTime>\n</Notification>"
    )


#: Every way in which a callback is met on the wire, by name.
WRAPPINGS: Final[Mapping[str, Callable[[str], str]]] = {
    "raw": lambda text: text,
    "base64": _base64,
    "topic-xml": _topic_xml,
    "topic-xml-as-documented": _documented_topic_xml,
    "topic-json": _topic_json,
    "topic-simplified": lambda text: text,
    "topic-simplified-base64": _base64,
    "topic-xml-of-base64": lambda text: _topic_xml(_base64(text)),
    "topic-json-of-base64": lambda text: _topic_json(_base64(text)),
    "base64-of-topic-xml": lambda text: _base64(_topic_xml(text)),
    "base64-of-topic-json": lambda text: _base64(_topic_json(text)),
    "base64-of-topic-xml-of-base64": lambda text: _base64(_topic_xml(_base64(text))),
    "base64-of-topic-json-of-base64": lambda text: _base64(_topic_json(_base64(text))),
}


def wrapped(text: str, how: str = "base64") -> str:
    """The message body in which this text travels; ``how`` is a name in WRAPPINGS."""
    return WRAPPINGS[how](text)


def a_message(**fields: Any) -> Message:
    """A message on first arrival, with a decodable body."""
    defaults: dict[str, Any] = {
        "message_id": "5F299B2D8E1B4D1E8B5C1D2E3F405162",
        "receipt_handle": "8-BzvT93jFnzuz6zcJz0zhAzcUxr0B2GnZl",
        "body": wrapped(a_callback()),
        "dequeue_count": 1,
        "enqueued_at": NOON,
    }
    return Message(**(defaults | fields))


def a_result(**fields: Any) -> Result:
    """A successful IProduction result; ``raw`` is a callback with the same claims unless given."""
    defaults: dict[str, Any] = {
        "job_id": JOB_ID,
        "state": "Success",
        "type": "IProduction",
        "function": "VideoH2V",
        "code": "Success",
        "message": "success",
    }
    given = defaults | fields
    raw = a_callback(JobId=given["job_id"], State=given["state"], FunctionName=given["function"])
    return Result(**({"raw": raw} | given))


def a_job(**fields: Any) -> Job:
    """A job that MPS has accepted."""
    defaults: dict[str, Any] = {
        "token": TOKEN,
        "function": "VideoH2V",
        "job_id": JOB_ID,
        "input": "oss://in-bucket.oss-cn-shanghai.aliyuncs.com/talk.mp4",
        "output": "oss://out-bucket.oss-cn-shanghai.aliyuncs.com/talk-{timestamp}.mp4",
        "params": "{}",
        "state": JobState.SUBMITTED,
        "created_at": NOON,
        "submitted_at": NOON,
    }
    return Job(**(defaults | fields))


def an_accepted_job(name: str, **fields: Any) -> Job:
    """A job that is still to be submitted; its token and its reference are ``name``."""
    defaults = {
        "token": name,
        "reference": name,
        "job_id": "",
        "state": JobState.ACCEPTED,
        "submitted_at": None,
        "deadline_at": NOON + timedelta(hours=1),
    }
    return a_job(**(defaults | fields))


def a_delivery(**fields: Any) -> Delivery:
    """The first attempt at a delivery, running."""
    defaults: dict[str, Any] = {
        "id": 1,
        "target": Target("videos", "log"),
        "result": a_result(),
        "job": None,
        "received_at": NOON,
        "queue": "mps-callbacks",
        "attempt": 1,
        "failures": 0,
        "state": DeliveryState.RUNNING,
        "created_at": NOON,
    }
    return Delivery(**(defaults | fields))


def a_decoded_message(**fields: Any) -> DecodedMessage:
    """A message of the queue ``mps-callbacks`` with its result. ``result=None`` makes it undecodable."""
    defaults: dict[str, Any] = {"queue": "mps-callbacks", "message": a_message(), "result": a_result()}
    given = defaults | fields
    return DecodedMessage(**({"reason": "" if given["result"] else "it is no callback"} | given))


def events_of_medium(count: int, *, media_id: str = "v") -> list[DecodedMessage]:
    """This many events about one medium, each in a message of its own."""
    return [
        a_decoded_message(
            message=a_message(message_id=f"{media_id}-{number}"),
            result=a_result(job_id="", media_id=media_id, event=f"{media_id}-{number}", type="Progress"),
        )
        for number in range(count)
    ]


def decoded_messages(
    count: int, *, queue: str = "mps-callbacks", prefix: str = "job"
) -> list[DecodedMessage]:
    """This many different results, each in a message of its own."""
    return [
        a_decoded_message(
            queue=queue,
            message=a_message(message_id=f"{queue}-{prefix}-{number}"),
            result=a_result(job_id=f"{queue}-{prefix}-{number}"),
        )
        for number in range(count)
    ]


def routes_all(*targets: Target) -> Decide:
    """The decision to give every result to these targets, or to one of the route ``videos``."""
    decision = RoutingDecision(status=ResultStatus.ROUTED, targets=targets or (Target("videos", "log"),))
    return lambda _result, _job, _queue: decision


def a_daemon(**fields: Any) -> RunningDaemon:
    """A daemon that started at noon, and reported then."""
    defaults: dict[str, Any] = {
        "owner": "host:1:one",
        "host": "host",
        "version": "1.0",
        "queues": ("mps-callbacks",),
        "started_at": NOON,
        "seen_at": NOON,
    }
    return RunningDaemon(**(defaults | fields))


def a_claim(**fields: Any) -> Claim:
    """A claim for up to 100 deliveries, its lease ending half a minute after noon."""
    defaults: dict[str, Any] = {"owner": "one", "until": NOON + timedelta(seconds=30), "limit": 100}
    return Claim(**(defaults | fields))
