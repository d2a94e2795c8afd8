"""An MNS queue for those who set it up: its attributes, creating it, and sending to it."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar, Final
from xml.sax.saxutils import escape

from listener.aliyun.mns_queue import MnsQueue
from listener.core.account import QueueAttributes
from listener.core.errors import FailureKind
from listener.formats import safe_xml

ATTRIBUTES: Final = (
    "DelaySeconds",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "PollingWaitSeconds",
    "VisibilityTimeout",
)
_NAMESPACE: Final = 'xmlns="http://mns.aliyuncs.com/doc/v1/"'


class MnsQueueAdmin(MnsQueue):
    """Implements ``listener.core.account.QueueAdmin`` on one connection.

    Not with the SDK's ``Queue``: it rejects attributes with an element that is missing.
    """

    hints: ClassVar[Mapping[FailureKind, str]] = {
        **MnsQueue.hints,
        FailureKind.DENIED: "grant the RAM user mns:GetQueueAttributes, mns:CreateQueue and mns:SetQueueAttributes on "
        "the queue, and mns:SendMessage, mns:ReceiveMessage and mns:DeleteMessage on its messages",
    }

    def attributes(self) -> QueueAttributes | None:
        with self._translated():
            reply = self._connection.exchange("GET", self._path)
        element, members = _content(reply.body)
        if reply.status == http.client.OK and element == "Queue":
            return {name: int(members[name]) for name in ATTRIBUTES if _is_number(members.get(name, ""))}
        if members.get("Code") == "QueueNotExist":
            return None
        raise self._error_of(reply)

    def create(self, attributes: QueueAttributes) -> None:
        self._put(self._path, attributes)

    def change(self, attributes: QueueAttributes) -> None:
        self._put(f"{self._path}?metaoverride=true", attributes)

    def send(self, body: str, *, delay: timedelta = timedelta(0)) -> None:
        """A message may arrive twice, since a request is repeated if its connection was closed meanwhile."""
        seconds = f"<DelaySeconds>{delay.total_seconds():.0f}</DelaySeconds>" if delay else ""
        document = f"<Message {_NAMESPACE}><MessageBody>{escape(body)}</MessageBody>{seconds}</Message>"
        self._carry_out("POST", f"{self._path}/messages", document)

    def _put(self, uri: str, attributes: QueueAttributes) -> None:
        members = "".join(f"<{name}>{value}</{name}>" for name, value in attributes.items())
        self._carry_out("PUT", uri, f"<Queue {_NAMESPACE}>{members}</Queue>")

    def _carry_out(self, method: str, uri: str, document: str) -> None:
        with self._translated():
            reply = self._connection.exchange(method, uri, body=document.encode())
        if reply.status not in (http.client.CREATED, http.client.NO_CONTENT):
            raise self._error_of(reply)


def _content(body: bytes) -> tuple[str, Mapping[str, str]]:
    """The name of the root and the texts of its children; empty if the body is not XML."""
    try:
        root = safe_xml.parse(body)
    except safe_xml.BadXml:
        return "", {}
    return safe_xml.local(root.tag), safe_xml.children_text(root)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19
