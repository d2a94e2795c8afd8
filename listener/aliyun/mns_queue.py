"""MNS queues: builds the requests of its API, and says what their replies and failures mean."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, zip_longest
from typing import ClassVar, TypeVar
from xml.sax.saxutils import escape

from listener.aliyun import mns_replies, network_errors
from listener.aliyun.credentials import Credentials
from listener.aliyun.mns_connection import MnsReply, MnsRequest
from listener.aliyun.mns_connections import MnsConnections, RequestOutcome
from listener.aliyun.request_count import OK, OnRequest, not_counted
from listener.core import clock
from listener.core.errors import FailureKind, QueueUnavailable, UnavailableError
from listener.core.logger import get_logger
from listener.core.model import Message
from listener.core.queue_status import QueueStatus
from listener.formats import safe_xml
from listener.formats.unicode_text import shortened
from listener.runtime.log_throttle import ThrottledLog
from listener.settings.sections import MAX_BATCH, QueueSettings

log = get_logger(__name__)

_KINDS = {
    "QueueNotExist": FailureKind.MISSING,
    "AccessDenied": FailureKind.DENIED,
    "InvalidAccessKeyId": FailureKind.CREDENTIALS,
    "SignatureDoesNotMatch": FailureKind.CREDENTIALS,
    "TimeExpired": FailureKind.CLOCK,
    "InvalidDateHeader": FailureKind.CLOCK,
    "TooManyRequests": FailureKind.THROTTLED,
    "QpsLimitExceeded": FailureKind.THROTTLED,
}
_HINTS = network_errors.HINTS | {
    FailureKind.MISSING: "create it in this region and account, or fix [[queues]] in the settings",
    FailureKind.DENIED: "grant the RAM user mns:ReceiveMessage and mns:DeleteMessage on the messages of the queue",
    FailureKind.CREDENTIALS: "verify that access key id and secret belong together and are active",
    FailureKind.CLOCK: "correct the clock of this machine; MNS rejects requests that are off by more than 15 minutes",
}

Value = TypeVar("Value")


class MnsQueue:
    """Implements ``listener.core.ports.Queue``."""

    hints: ClassVar[Mapping[FailureKind, str]] = _HINTS

    def __init__(
        self,
        *,
        endpoint: str,
        queue: str,
        name: str,
        credentials: Credentials,
        on_date: Callable[[datetime], None] = lambda _theirs: None,
        on_request: OnRequest = not_counted,
    ) -> None:
        """``on_date`` is called with the date of every reply from MNS, ``on_request`` after every request with its
        operation and outcome: ``ok``, or the kind of its failure."""
        self.name = name
        self._on_date = on_date
        self._on_request = on_request
        self._path = f"/queues/{queue}"
        self._description = f"queue {queue} at {endpoint}"
        self._connections = MnsConnections(endpoint, credentials)
        self._warnings = ThrottledLog(log)

    def receive(self, *, limit: int, wait: timedelta, requests: int = 1) -> Sequence[Message]:
        uri = f"{self._path}/messages?numOfMessages={limit}&waitseconds={int(wait.total_seconds())}"
        replies = self._exchange("receive", [MnsRequest("GET", uri, wait=wait)] * requests, self._received)
        received = [reply for reply in replies if not isinstance(reply, QueueUnavailable)]
        if not any(received):
            _raise_first(replies)
        self._warn_of_failures("receive", replies)
        return received[0] if requests == 1 else list(chain.from_iterable(received))

    def _received(self, outcome: RequestOutcome) -> Sequence[Message]:
        """The messages of a reply; none at all are reported as an error. An interrupted request brought none."""
        if outcome is None:
            return ()
        reply = self._reply(outcome)
        if reply.status == http.client.OK:
            return self._messages(reply)
        if mns_replies.code_of(reply.body) == "MessageNotExist":
            self._note_date(reply)
            return ()
        raise self._error_of(reply)

    def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
        valid = [message for message in messages if message.receipt_handle]
        batches = [valid[at : at + MAX_BATCH] for at in range(0, len(valid), MAX_BATCH)]
        replies = self._exchange("delete", [self._delete_request(batch) for batch in batches], self._rejected)
        if all(isinstance(reply, QueueUnavailable) for reply in replies):
            _raise_first(replies)
        self._warn_of_failures("delete", replies)
        left = [message for message in messages if not message.receipt_handle]
        for batch, rejected in zip_longest(batches, replies):  # the last ones may not have been sent
            if rejected is None or isinstance(rejected, QueueUnavailable):
                left += batch
            else:
                left += [each for each in batch if each.receipt_handle in rejected]
        return left

    def _delete_request(self, messages: Sequence[Message]) -> MnsRequest:
        elements = "".join(
            f"<ReceiptHandle>{escape(each.receipt_handle)}</ReceiptHandle>" for each in messages
        )
        body = f'<ReceiptHandles xmlns="http://mns.aliyuncs.com/doc/v1/">{elements}</ReceiptHandles>'
        return MnsRequest("DELETE", f"{self._path}/messages", body.encode())

    def _rejected(self, outcome: RequestOutcome) -> set[str]:
        """The handles that MNS rejected, of a reply to a batch delete."""
        reply = self._reply(outcome)
        if reply.status == http.client.NO_CONTENT:
            return set()
        failed = mns_replies.failed_handles(reply.body)
        if not failed:
            raise self._error_of(reply)
        return failed

    def status(self) -> QueueStatus | None:
        """The attributes of the queue, without touching a message; None if this key has no permission to read them."""
        reply = self._ask(MnsRequest("GET", self._path))
        if reply.status == http.client.OK:
            root = mns_replies.root_of(reply.body)
            if root is None or safe_xml.local(root.tag) != "Queue":
                raise self._error_of(reply)
            self._note_date(reply)
            return mns_replies.status_of(root)
        if mns_replies.code_of(reply.body) == "AccessDenied":
            self._note_date(reply)
            return None
        raise self._error_of(reply)

    def interrupt(self) -> None:
        self._connections.interrupt()

    def abort(self) -> None:
        self._connections.abort()

    def close(self) -> None:
        self._connections.close()

    def _ask(self, request: MnsRequest) -> MnsReply:
        """The reply to one request that is not counted."""
        (outcome,) = self._connections.exchange([request])
        return self._reply(outcome)

    def _exchange(
        self, operation: str, requests: Sequence[MnsRequest], read: Callable[[RequestOutcome], Value]
    ) -> list[Value | QueueUnavailable]:
        """What these requests bring, or what they fail with, without those that were not sent; each is counted."""
        found = [_value_or_error(read, outcome) for outcome in self._connections.exchange(requests)]
        for each in found:
            self._on_request(operation, each.kind if isinstance(each, QueueUnavailable) else OK)
        return found

    def _warn_of_failures(self, operation: str, outcomes: Sequence[object]) -> None:
        """The caller has what the other requests brought, and does not learn why these failed."""
        failures = [outcome for outcome in outcomes if isinstance(outcome, QueueUnavailable)]
        if failures:
            self._warnings.warning(
                "queue.request_failed",
                queue=self.name,
                operation=operation,
                kind=failures[0].kind,
                error=str(failures[0]),
                failed=len(failures),
                requests=len(outcomes),
            )

    def _reply(self, outcome: RequestOutcome) -> MnsReply:
        """The only place where errors of sockets, HTTP and the SDK are translated; any other one is raised as it is."""
        match outcome:
            case MnsReply():
                return outcome
            case UnavailableError():
                raise QueueUnavailable(f"{self._description}: {outcome}", kind=outcome.kind) from outcome
            case OSError() | http.client.HTTPException():
                raise self._network_error(outcome) from outcome
            case ValueError():
                # http.client rejects a header: the key contains a line break or the like.
                # (A TLS error may be a ValueError too, but is an OSError first.)
                raise QueueUnavailable(
                    f"{self._description}: the access key contains characters that cannot be sent in a header",
                    kind=FailureKind.CREDENTIALS,
                    hint=self.hints[FailureKind.CREDENTIALS],
                ) from outcome
            case None:
                raise self._network_error(ConnectionAbortedError("interrupted"))
        raise outcome

    def _network_error(self, error: Exception) -> QueueUnavailable:
        kind = network_errors.failure_kind(error)
        return QueueUnavailable(
            f"{self._description}: {network_errors.describe(error)}", kind=kind, hint=self.hints.get(kind, "")
        )

    def _messages(self, reply: MnsReply) -> Sequence[Message]:
        found = mns_replies.messages_of(reply.body)
        if not found:
            raise self._error_of(reply)
        self._note_date(reply)
        return found

    def _note_date(self, reply: MnsReply) -> None:
        """Only of replies that are certainly from MNS: a local proxy would confirm the clock of this machine."""
        theirs = mns_replies.date_of(reply.date)
        if theirs is not None:
            self._on_date(theirs)

    def _error_of(self, reply: MnsReply) -> QueueUnavailable:
        """The error that a reply describes."""
        root = mns_replies.root_of(reply.body)
        if root is None or safe_xml.local(root.tag) != "Error":
            return QueueUnavailable(
                f"{self._description}: HTTP {reply.status} with a body that is not from MNS: {_excerpt(reply.body)}",
                kind=_kind_of_status(reply.status),
            )
        self._note_date(reply)
        error = safe_xml.children_text(root)
        code = error.get("Code", "")
        kind = _KINDS.get(code) or _kind_of_status(reply.status)
        return QueueUnavailable(
            f"{self._description}: {code}: {error.get('Message', '')}{_skew(kind, reply)}",
            kind=kind,
            code=code,
            hint=self.hints.get(kind, ""),
        )


def _value_or_error(
    read: Callable[[RequestOutcome], Value], outcome: RequestOutcome
) -> Value | QueueUnavailable:
    try:
        return read(outcome)
    except QueueUnavailable as error:
        return error


def _raise_first(outcomes: Sequence[object]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, QueueUnavailable):
            raise outcome


def queue_from(
    settings: QueueSettings,
    keys: Credentials,
    *,
    on_date: Callable[[datetime], None] = lambda _theirs: None,
    on_request: OnRequest = not_counted,
) -> MnsQueue:
    """The queue that the settings name; nothing is sent yet. Raises SettingsError if its endpoint cannot be used."""
    return MnsQueue(
        endpoint=settings.endpoint,
        queue=settings.queue,
        name=settings.label,
        credentials=keys,
        on_date=on_date,
        on_request=on_request,
    )


def read_status(
    settings: QueueSettings, keys: Credentials, *, on_date: Callable[[datetime], None] = lambda _theirs: None
) -> QueueStatus | None:
    """Ask for the attributes of a queue; None without the permission. Raises UnavailableError or SettingsError."""
    queue = queue_from(settings, keys, on_date=on_date)
    try:
        return queue.status()
    finally:
        queue.close()


def _kind_of_status(status: int) -> FailureKind:
    if status == http.client.TOO_MANY_REQUESTS:
        return FailureKind.THROTTLED
    if status == http.client.REQUEST_TIMEOUT:
        return FailureKind.CLOCK  # MNS sends TimeExpired with status 408
    return FailureKind.SERVER if status >= http.client.INTERNAL_SERVER_ERROR else FailureKind.PROTOCOL


def _skew(kind: FailureKind, reply: MnsReply) -> str:
    """The offset of this clock, according to the Date header of the server."""
    theirs = mns_replies.date_of(reply.date)
    if kind is not FailureKind.CLOCK or theirs is None:
        return ""
    off = clock.now() - theirs
    return f" (this clock is {abs(off.total_seconds()):.0f} s {'ahead' if off > timedelta(0) else 'behind'})"


def _excerpt(body: bytes) -> str:
    return shortened(" ".join(body[:400].decode("utf-8", "replace").split()), 120) or "(empty)"
