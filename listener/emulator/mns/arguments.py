"""What requests to MNS carry, checked: names, numbers within their limits, attributes, messages to send."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from typing import Any
from xml.etree.ElementTree import Element

from listener.emulator.messages import Request
from listener.emulator.mns import xml
from listener.emulator.mns.errors import MnsError, range_text, schema_text
from listener.emulator.mns.queue import Attributes, Draft, EmulatedQueue, md5_text
from listener.emulator.xml_text import escape

BATCH = 16
BATCH_BYTES = 65_536
WEEK = 604_800

QUEUE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
QUEUE_NAME_LENGTH = 120
NUMBER = re.compile(r"-?[0-9]{1,10}")

#: Element, attribute, lowest and highest value, unit.
LIMITS = (
    ("DelaySeconds", "delay_seconds", 0, WEEK, "seconds"),
    ("MaximumMessageSize", "maximum_message_size", 1024, 65_536, "bytes"),
    ("MessageRetentionPeriod", "message_retention_period", 60, WEEK, "seconds"),
    ("VisibilityTimeout", "visibility_timeout", 1, 43_200, "seconds"),
    ("PollingWaitSeconds", "polling_wait_seconds", 0, 30, "seconds"),
)


def queue_name(request: Request) -> str:
    name = request.path.split("/")[2]
    check_queue_name(name)
    return name


def check_queue_name(name: str) -> None:
    if len(name) > QUEUE_NAME_LENGTH:
        raise MnsError("QueueNameLengthError")
    if not QUEUE_NAME.fullmatch(name):
        raise MnsError("InvalidQueueName")


def is_queue_name(name: str) -> bool:
    return len(name) <= QUEUE_NAME_LENGTH and QUEUE_NAME.fullmatch(name) is not None


def check_attributes(attributes: Attributes) -> None:
    """Raise MnsError for a value beyond the limits."""
    for element, attribute, low, high, unit in LIMITS:
        parameter_in_range(str(getattr(attributes, attribute)), element, low, high, unit)


def batch_limit(request: Request) -> int:
    wanted = request.query.get("numofmessages")
    return 1 if wanted is None else parameter_in_range(wanted, "numOfMessages", 1, BATCH, "")


def draft(element: Element, queue: EmulatedQueue) -> Draft:
    """Check one message that is to be sent."""
    fields = xml.children(element)
    body = fields.get("MessageBody", "")
    data = body.encode()
    if not 1 <= len(data) <= queue.attributes.maximum_message_size:
        raise MnsError(
            "InvalidArgument", range_text("MessageBody", 1, queue.attributes.maximum_message_size, "bytes")
        )
    if queue.features.fifo and not fields.get("MessageGroupId"):
        raise MnsError("FifoMissingMessageGroupId")
    draft = Draft(body=escape(body), md5=md5_text(data))
    return (
        draft if len(fields) == 1 else replace(draft, **_extras(fields), properties=xml.properties(element))
    )


def _extras(fields: dict[str, str]) -> dict[str, Any]:
    delay = fields.get("DelaySeconds")
    return {
        "delay_seconds": None if delay is None else in_range(delay, "DelaySeconds", 0, WEEK, "seconds"),
        "priority": in_range(fields.get("Priority", "8"), "Priority", 1, 16, ""),
        "group": escape(fields.get("MessageGroupId", "")),
    }


def attributes_in(body: bytes, base: Attributes) -> Attributes:
    """The attributes that a request's XML names, over those that it leaves alone."""
    if not body.strip():
        return base
    fields = xml.children(xml.parse(body))
    changes: dict[str, Any] = {
        attribute: in_range(fields[element], element, low, high, unit)
        for element, attribute, low, high, unit in LIMITS
        if element in fields
    }
    if "LoggingEnabled" in fields:
        changes["logging_enabled"] = truth(fields["LoggingEnabled"])
    if fields.get("QueueType", "normal").lower() != "normal":
        raise MnsError("InvalidArgument", schema_text("QueueType is not normal"))
    return Attributes(**{**asdict(base), **changes})


def truth(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise MnsError("InvalidArgument", schema_text("LoggingEnabled is neither True nor False"))
    return text.lower() == "true"


def in_range(text: str, name: str, low: int, high: int, unit: str) -> int:
    """The number in an element of the body."""
    if not NUMBER.fullmatch(text.strip()):
        raise MnsError("InvalidArgument", schema_text(f"{name} is not a number"))
    return parameter_in_range(text, name, low, high, unit)


def parameter_in_range(text: str, name: str, low: int, high: int, unit: str) -> int:
    """The number in the query or in a header."""
    if not NUMBER.fullmatch(text.strip()) or not low <= int(text) <= high:
        raise MnsError("InvalidArgument", range_text(name, low, high, unit))
    return int(text)
