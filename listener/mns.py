"""Queues of MNS: requests as its API wants them, replies decoded element by element.

The SDK's own decoding loses a whole batch for one message that it can't decode (facts: mns 1.6).
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from html import unescape
from typing import Any
from xml.sax.saxutils import escape

from listener import clock, faults, xmltext
from listener.credentials import Credentials
from listener.errors import Fault, QueueUnavailable, UnavailableError
from listener.mns_connection import Connection, Reply
from listener.model import Message
from listener.text import shortened, storable

_FAULTS = {
    "QueueNotExist": Fault.MISSING,
    "AccessDenied": Fault.DENIED,
    "InvalidAccessKeyId": Fault.CREDENTIALS,
    "SignatureDoesNotMatch": Fault.CREDENTIALS,
    "TimeExpired": Fault.CLOCK,
    "InvalidDateHeader": Fault.CLOCK,
    "TooManyRequests": Fault.THROTTLED,
    "QpsLimitExceeded": Fault.THROTTLED,
}
_ADVICE = faults.ADVICE | {
    Fault.MISSING: "create it in this region and account, or mend [[queues]] in the settings",
    Fault.DENIED: "give the RAM user mns:ReceiveMessage and mns:DeleteMessage on the queue's messages",
    Fault.CREDENTIALS: "see that access key id and secret belong together and are active",
    Fault.CLOCK: "set this machine's clock; MNS refuses requests that are more than 15 minutes off",
}


class MnsQueue:
    """Keeps the promises of ``listener.interfaces.Queue``. One of these has one connection."""

    def __init__(self, *, endpoint: str, queue: str, name: str, credentials: Credentials) -> None:
        self.name = name
        self._path = f"/queues/{queue}"
        self._shown = f"queue {queue} at {endpoint}"
        self._connection = Connection(endpoint, credentials)

    def receive(self, *, limit: int, wait: timedelta) -> Sequence[Message]:
        seconds = int(wait.total_seconds())
        uri = f"{self._path}/messages?numOfMessages={limit}&waitseconds={seconds}"
        with self._translated():
            reply = self._connection.poll(uri, wait=wait)
        if reply is None:
            return ()
        if reply.status == http.client.OK:
            return _messages(reply.body)
        if _code(reply.body) == "MessageNotExist":
            return ()
        raise self._refused(reply)

    def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
        handles = "".join(
            f"<ReceiptHandle>{escape(message.receipt_handle)}</ReceiptHandle>" for message in messages
        )
        body = f'<ReceiptHandles xmlns="http://mns.aliyuncs.com/doc/v1/">{handles}</ReceiptHandles>'
        with self._translated():
            reply = self._connection.exchange("DELETE", f"{self._path}/messages", body=body.encode())
        if reply.status == http.client.NO_CONTENT:
            return ()
        failed = _failed_handles(reply.body)
        if not failed:
            raise self._refused(reply)
        return [message for message in messages if message.receipt_handle in failed]

    def probe(self) -> str:
        """Ask for the queue's attributes without touching a message; returns what was found, in words."""
        with self._translated():
            reply = self._connection.exchange("GET", self._path)
        if reply.status == http.client.OK:
            root = _root(reply.body)
            found = xmltext.children_text(root) if root is not None else {}
            return f"about {found.get('ActiveMessages', '?')} messages waiting"
        if _code(reply.body) == "AccessDenied":
            return "reachable; its attributes may not be read with this key"
        raise self._refused(reply)

    def interrupt(self) -> None:
        self._connection.interrupt()

    def expire(self) -> None:
        """Break an exchange that is over its time; from another thread, now and then."""
        self._connection.expire()

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The one door where foreign errors become ours."""
        try:
            yield
        except QueueUnavailable:
            raise
        except UnavailableError as error:
            raise QueueUnavailable(f"{self._shown}: {error}", fault=error.fault) from error
        except (OSError, http.client.HTTPException) as error:
            fault = faults.fault_of(error)
            raise QueueUnavailable(
                f"{self._shown}: {faults.said(error)}", fault=fault, advice=_ADVICE.get(fault, "")
            ) from error

    def _refused(self, reply: Reply) -> QueueUnavailable:
        """The error that a reply stands for."""
        root = _root(reply.body)
        if root is None or xmltext.local(root.tag) != "Error":
            return QueueUnavailable(
                f"{self._shown}: HTTP {reply.status} with a body that is not MNS's: {_excerpt(reply.body)}",
                fault=_fault_of_status(reply.status),
            )
        error = xmltext.children_text(root)
        code = error.get("Code", "")
        fault = _FAULTS.get(code) or _fault_of_status(reply.status)
        return QueueUnavailable(
            f"{self._shown}: {code}: {error.get('Message', '')}{_skew(fault, reply.date)}",
            fault=fault,
            code=code,
            advice=_ADVICE.get(fault, ""),
        )


def _fault_of_status(status: int) -> Fault:
    if status == http.client.TOO_MANY_REQUESTS:
        return Fault.THROTTLED
    if status == http.client.REQUEST_TIMEOUT:
        return Fault.CLOCK  # facts: TimeExpired comes as 408
    return Fault.SERVER if status >= http.client.INTERNAL_SERVER_ERROR else Fault.PROTOCOL


def _skew(fault: Fault, date: str) -> str:
    """How far this clock is off, by the server's own Date header."""
    if fault is not Fault.CLOCK or not date:
        return ""
    try:
        theirs = parsedate_to_datetime(date)
    except ValueError:
        return ""
    off = clock.now() - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))
    return f" (this clock is {abs(off.total_seconds()):.0f} s {'ahead' if off > timedelta(0) else 'behind'})"


def _excerpt(body: bytes) -> str:
    return shortened(" ".join(body[:400].decode("utf-8", "replace").split()), 120) or "(empty)"


def _root(body: bytes) -> Any:
    try:
        return xmltext.parse(body)
    except xmltext.BadXml:
        return None


def _code(body: bytes) -> str:
    root = _root(body)
    return xmltext.children_text(root).get("Code", "") if root is not None else ""


def _failed_handles(body: bytes) -> set[str]:
    """The handles that a batch delete refused; empty when the reply is about something else."""
    root = _root(body)
    if root is None or xmltext.local(root.tag) != "Errors":
        return set()
    return {xmltext.children_text(error).get("ReceiptHandle", "") for error in root}


def _messages(body: bytes) -> Sequence[Message]:
    root = _root(body)
    if root is None:
        return _salvaged(body)
    elements = list(root) if xmltext.local(root.tag) == "Messages" else [root]
    return [_message(xmltext.children_text(element)) for element in elements]


def _message(parts: dict[str, str]) -> Message:
    return Message(
        message_id=parts.get("MessageId", ""),
        receipt_handle=parts.get("ReceiptHandle", ""),
        body=parts.get("MessageBody", ""),
        dequeue_count=_number(parts.get("DequeueCount", "")) or 1,
        enqueued_at=_moment(_number(parts.get("EnqueueTime", ""))),
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _moment(milliseconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
    except (OverflowError, ValueError, OSError):
        return None


def _salvaged(body: bytes) -> Sequence[Message]:
    """The messages of an ill-formed reply, each on its own: MNS keeps bodies as sent, and one that XML can't
    carry must not take its neighbours with it."""
    found = [_salvage(piece) for piece in re.findall(rb"<Message>.*?</Message>", body, re.DOTALL)]
    if not found:
        raise QueueUnavailable(f"a reply without a message in it: {_excerpt(body)}", fault=Fault.PROTOCOL)
    return found


def _salvage(piece: bytes) -> Message:
    root = _root(piece)
    if root is not None:
        return _message(xmltext.children_text(root))
    text = piece.decode("utf-8", "replace")
    names = ("MessageId", "ReceiptHandle", "MessageBody", "DequeueCount", "EnqueueTime")
    return _message({name: storable(unescape(_between(text, name))) for name in names})


def _between(text: str, name: str) -> str:
    start, end = text.find(f"<{name}>"), text.rfind(f"</{name}>")
    return text[start + len(name) + 2 : end] if 0 <= start < end else ""
