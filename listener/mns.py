"""The only place that knows MNS and its SDK.

The SDK signs and connects. Replies are decoded here, element by element, because the SDK loses a whole batch for
one message that it cannot decode, and does not know a time-out over HTTPS (facts: mns 1.2, 1.6).
"""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from html import unescape
from typing import Any
from xml.sax.saxutils import escape

from mns.mns_client import MNSClient
from mns.mns_exception import MNSExceptionBase
from mns.mns_http import RequestInternal
from mns.mns_request import RequestBase

from listener import clock, faults, xmltext
from listener.credentials import Credentials
from listener.errors import Fault, QueueUnavailable, SettingsError, UnavailableError
from listener.model import Message
from listener.text import shortened, storable

#: A reply of 16 messages of 64 KB, XML-escaped, is far below this; what is larger is not MNS.
LARGEST_REPLY = 16 * 1024 * 1024
CONNECT_PATIENCE = timedelta(seconds=5)
#: How much longer than its poll wait a reply may take.
REPLY_PATIENCE = timedelta(seconds=4)

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


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    date: str


class MnsQueue:
    """Keeps the promises of ``listener.interfaces.Queue``. One of these has one connection."""

    def __init__(self, *, endpoint: str, queue: str, name: str, credentials: Credentials) -> None:
        self.name = name
        self._path = f"/queues/{queue}"
        self._shown = f"queue {queue} at {endpoint}"
        self._interrupted = False
        try:
            self._client = MNSClient(endpoint, credentials_provider=credentials)
        except (MNSExceptionBase, http.client.InvalidURL) as error:
            raise SettingsError(f"endpoint = {endpoint!r} can't be used: {error}") from error

    def receive(self, *, limit: int, wait: timedelta) -> Sequence[Message]:
        seconds = int(wait.total_seconds())
        reply = self._exchange(
            "GET", f"{self._path}/messages?numOfMessages={limit}&waitseconds={seconds}", patience=wait
        )
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
        reply = self._exchange("DELETE", f"{self._path}/messages", body=body.encode())
        if reply is None:
            return messages
        if reply.status == http.client.NO_CONTENT:
            return ()
        failed = _failed_handles(reply.body)
        if not failed:
            raise self._refused(reply)
        return [message for message in messages if message.receipt_handle in failed]

    def probe(self) -> str:
        """Ask for the queue's attributes without touching a message; returns what was found, in words."""
        reply = self._exchange("GET", self._path)
        if reply is not None and reply.status == http.client.OK:
            root = _root(reply.body)
            found = xmltext.children_text(root) if root is not None else {}
            return f"about {found.get('ActiveMessages', '?')} messages waiting"
        if reply is not None and _code(reply.body) == "AccessDenied":
            return "reachable; its attributes may not be read with this key"
        raise self._refused(reply) if reply else QueueUnavailable(self._shown, fault=Fault.CONNECTION)

    def interrupt(self) -> None:
        self._interrupted = True
        self._hang_up()

    def expire(self) -> None:
        """End the exchange under way as if its time were over; another thread's last resort."""
        self._hang_up()

    def close(self) -> None:
        self._client.close_connection()

    def _hang_up(self) -> None:
        connection = self._client.http.conn.sock
        if connection is not None:
            try:
                # The plain socket's, since a TLS socket would tear down the state that the reader is using.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            except OSError:
                pass  # closed meanwhile, which is as good

    def _exchange(
        self, method: str, uri: str, *, body: bytes = b"", patience: timedelta = timedelta(0)
    ) -> Reply | None:
        """One request and its reply; None when interrupted."""
        with self._translated():
            request = RequestInternal(method, uri, data=body or "")
            self._client.build_header(RequestBase(), request)
            kept_open = self._client.http.conn.sock is not None
            try:
                return self._send(request, patience)
            except (http.client.RemoteDisconnected, ConnectionError):
                # The peer may close an idle connection at any time; what it did receive is safe to repeat.
                if not kept_open or self._interrupted:
                    raise
                return self._send(request, patience)

    def _send(self, request: Any, patience: timedelta) -> Reply | None:
        connection = self._client.http.conn
        try:
            if connection.sock is None:
                self._connect(connection)
            if self._interrupted:
                return None
            connection.sock.settimeout((patience + REPLY_PATIENCE).total_seconds())
            connection.request(request.method, request.uri, request.data or None, request.header)
            response = connection.getresponse()
            return Reply(response.status, response.read(LARGEST_REPLY), response.headers.get("Date", ""))
        except BaseException:
            connection.close()
            if self._interrupted:
                return None
            raise

    def _connect(self, connection: Any) -> None:
        # Two names for one thing: the SDK's own connection over http, the standard library's over https.
        connection.connection_timeout = connection.timeout = CONNECT_PATIENCE.total_seconds()
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

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
