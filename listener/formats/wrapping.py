"""What a callback travels in: the inverse of what ``listener.formats.callback`` removes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from xml.sax.saxutils import escape

#: What the samples of a topic have; nothing depends on it.
_TOPIC: Final = {"TopicOwner": "1234567890", "TopicName": "mps-events", "SubscriptionName": "to-queue"}


def as_base64(text: str) -> str:
    """As MPS sends callbacks to a queue."""
    return base64.b64encode(text.encode("utf-8", "replace")).decode()


def _notification(text: str, at: datetime) -> Mapping[str, str]:
    return {
        **_TOPIC,
        "Message": text,
        "PublishTime": str(int(at.timestamp() * 1000)),
    }


def _topic_xml(text: str, at: datetime) -> str:
    members = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in _notification(text, at).items())
    return f'<Notification xmlns="http://mns.aliyuncs.com/doc/v1/">{members}</Notification>'


#: By name. The last three are the formats of a topic's subscription; SIMPLIFIED has nothing but the payload.
WRAPPINGS: Final[Mapping[str, Callable[[str, datetime], str]]] = {
    "base64": lambda text, _at: as_base64(text),
    "raw": lambda text, _at: text,
    "topic-xml": _topic_xml,
    "topic-json": lambda text, at: json.dumps(_notification(text, at), ensure_ascii=False),
    "simplified": lambda text, _at: text,
}


def wrapped(text: str, how: str, *, at: datetime) -> str:
    """The message body that carries this text; ``how`` is a name in ``WRAPPINGS``, ``at`` the time of publishing."""
    return WRAPPINGS[how](text, at)
