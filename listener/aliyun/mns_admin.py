"""An MNS queue for those who set it up: its attributes, creating it, and sending to it."""

from __future__ import annotations

import http.client
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar, Final
from xml.sax.saxutils import escape

from listener.aliyun.mns_connection import MnsRequest
from listener.aliyun.mns_queue import MnsQueue
from listener.core.account import QueueAttributes
from listener.core.errors import FailureKind, QueueUnavailable
from listener.core.model import Message
from listener.core.queue_status import QueueStatus

_NAMESPACE: Final = 'xmlns="http://mns.aliyuncs.com/doc/v1/"'


class MnsQueueAdmin(MnsQueue):
    """Implements ``listener.core.account.QueueAdmin`` on one connection."""

    hints: ClassVar[Mapping[FailureKind, str]] = {
        **MnsQueue.hints,
        FailureKind.DENIED: "grant the RAM user mns:GetQueueAttributes, mns:CreateQueue and mns:SetQueueAttributes on "
        "the queue, and mns:SendMessage, mns:ReceiveMessage, mns:PeekMessage and mns:DeleteMessage on its messages",
    }

    def attributes(self) -> QueueAttributes | None:
        try:
            status = self.status()
        except QueueUnavailable as error:
            if error.kind is FailureKind.MISSING:
                return None
            raise
        if status is None:
            raise QueueUnavailable(
                f"{self._description}: AccessDenied: this key has no permission to read the attributes",
                kind=FailureKind.DENIED,
                code="AccessDenied",
                hint=self.hints[FailureKind.DENIED],
            )
        return _attributes_of(status)

    def create(self, attributes: QueueAttributes) -> None:
        self._put(self._path, attributes)

    def change(self, attributes: QueueAttributes) -> None:
        self._put(f"{self._path}?metaoverride=true", attributes)

    def peek(self, *, limit: int) -> Sequence[Message]:
        """The next messages that could be received, at most ``MAX_BATCH``; they stay visible to others."""
        uri = f"{self._path}/messages?peekonly=true&numOfMessages={limit}"
        return self._received(self._ask(MnsRequest("GET", uri)))

    def send(self, body: str, *, delay: timedelta = timedelta(0)) -> None:
        """A message may arrive twice, since a request is repeated if its connection was closed meanwhile."""
        seconds = f"<DelaySeconds>{delay.total_seconds():.0f}</DelaySeconds>" if delay else ""
        document = f"<Message {_NAMESPACE}><MessageBody>{escape(body)}</MessageBody>{seconds}</Message>"
        self._carry_out("POST", f"{self._path}/messages", document)

    def _put(self, uri: str, attributes: QueueAttributes) -> None:
        members = "".join(f"<{name}>{value}</{name}>" for name, value in attributes.items())
        self._carry_out("PUT", uri, f"<Queue {_NAMESPACE}>{members}</Queue>")

    def _carry_out(self, method: str, uri: str, document: str) -> None:
        reply = self._ask(MnsRequest(method, uri, document.encode()))
        if reply.status not in (http.client.CREATED, http.client.NO_CONTENT):
            raise self._error_of(reply)


def _attributes_of(status: QueueStatus) -> QueueAttributes:
    seconds = {
        "DelaySeconds": status.delay,
        "MessageRetentionPeriod": status.retention,
        "PollingWaitSeconds": status.polling_wait,
        "VisibilityTimeout": status.visibility_timeout,
    }
    found = {name: int(value.total_seconds()) for name, value in seconds.items() if value is not None}
    size = status.maximum_message_size
    return found if size is None else found | {"MaximumMessageSize": size}
