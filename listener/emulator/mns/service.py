"""MNS 2015-06-06: the queue and message operations over HTTP.

Each operation is one method, found by ``identify`` from verb and address; errors leave as ``MnsError``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from listener.core import clock
from listener.emulator import signatures
from listener.emulator.messages import Reply, Request
from listener.emulator.mns import xml
from listener.emulator.mns.queue import (
    Attributes,
    Draft,
    EmulatedQueue,
    HandleRejected,
    StoredMessage,
    body_md5,
)
from listener.emulator.options import Options

VERSION = "2015-06-06"
CLOCK_TOLERANCE = timedelta(minutes=15)
BATCH = 16
BATCH_BYTES = 65_536
WEEK = 604_800

QUEUE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
QUEUE_NAME_LENGTH = 120

#: Element, attribute, lowest and highest value, unit.
LIMITS = (
    ("DelaySeconds", "delay_seconds", 0, WEEK, "seconds"),
    ("MaximumMessageSize", "maximum_message_size", 1024, 65_536, "bytes"),
    ("MessageRetentionPeriod", "message_retention_period", 60, WEEK, "seconds"),
    ("VisibilityTimeout", "visibility_timeout", 1, 43_200, "seconds"),
    ("PollingWaitSeconds", "polling_wait_seconds", 0, 30, "seconds"),
)

#: Status and text of each error code, as the table of error codes has them.
ERRORS = {
    "AccessDenied": (
        403,
        "The OwnerId that your Access Key Id associated to is forbidden for this operation.",
    ),
    "InvalidAccessKeyId": (403, "The AccessKey Id you provided is not exist."),
    "SignatureDoesNotMatch": (
        403,
        "The request signature we calculated does not match the signature you provided.",
    ),
    "MissingAuthorizationHeader": (400, "Authorization header is required."),
    "InvalidAuthorizationHeader": (400, "The Authorization header format is invalid."),
    "MissingDateHeader": (400, "Date header is required."),
    "InvalidDateHeader": (400, "The Date header format is invalid."),
    "MissingVersionHeader": (400, "x-mns-version header is required."),
    "TimeExpired": (408, "The http request you sent is expired."),
    "InvalidDegist": (400, "The digest in your request is not valid."),
    "InvalidRequestURL": (400, "Http request URL format invalid."),
    "InvalidQueryString": (400, "Http request URL contains invalid querystring item."),
    "InvalidArgument": (400, "The argument is not valid."),
    "MalformedXML": (400, "The XML you provided was not well-formed."),
    "InvalidQueueName": (400, "The queue name you provided is invalid."),
    "QueueNameLengthError": (400, "Queue name length should not be longer than 120."),
    "MissingReceiptHandle": (400, "ReceiptHandle is required."),
    "MissingVisibilityTimeout": (400, "VisibilityTimeout is required."),
    "ReceiptHandleError": (400, "The receipt handle you provide is not valid."),
    "MessageNotExist": (404, "Message not exist."),
    "QueueNotExist": (404, "The queue name you provided is not exist."),
    "QueueAlreadyExist": (409, "The queue you want to create is already exist."),
    "TooManyRequests": (429, "The request is denied by cluster flow limiter for too many requests."),
    "InternalError": (500, "Internal error."),
}


class MnsError(Exception):
    """An error of the service, by its code."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.status, standard = ERRORS[code]
        self.text = text or standard


@dataclass(frozen=True, slots=True)
class Refused:
    """One part of a batch that was not carried out."""

    code: str
    text: str
    handle: str = ""


Operation = Callable[[Request], Awaitable[Reply] | Reply]


class Mns:
    """The MNS service of one account."""

    def __init__(self, options: Options, rng: Random) -> None:
        self.queues: dict[str, EmulatedQueue] = {}
        self._options = options
        self._rng = rng
        self._logging_bucket = ""
        self._operations: dict[str, Operation] = {
            "CreateQueue": self._create_queue,
            "SetQueueAttributes": self._set_queue_attributes,
            "GetQueueAttributes": self._get_queue_attributes,
            "DeleteQueue": self._delete_queue,
            "ListQueue": self._list_queue,
            "SendMessage": self._send,
            "BatchSendMessage": self._send,
            "ReceiveMessage": self._receive,
            "BatchReceiveMessage": self._receive,
            "PeekMessage": self._peek,
            "BatchPeekMessage": self._peek,
            "DeleteMessage": self._delete_message,
            "BatchDeleteMessage": self._batch_delete_message,
            "ChangeMessageVisibility": self._change_visibility,
            "SetAccountAttributes": self._set_account,
            "GetAccountAttributes": self._get_account,
        }
        self._create_first()

    async def answer(self, operation: str, request: Request, *, skew: timedelta = timedelta(0)) -> Reply:
        """Carry out one operation. Never raises MnsError: an error is a reply too."""
        try:
            self._check_signature(request, clock.now() + skew)
            handler = self._operations.get(operation)
            if handler is None:
                raise MnsError("InvalidRequestURL")
            reply = handler(request)
            return self._signed_off(reply if isinstance(reply, Reply) else await reply)
        except xml.Malformed:
            return self.error(MnsError("MalformedXML"), request)
        except MnsError as error:
            return self.error(error, request)

    def error(self, error: MnsError, request: Request) -> Reply:
        request_id = self.request_id()
        fields = (
            ("Code", error.code),
            ("Message", error.text),
            ("RequestId", request_id),
            ("HostId", f"http://{request.host}"),
        )
        body = xml.flat("Error", fields)
        return self._signed_off(Reply(status=error.status, body=body), request_id)

    def _signed_off(self, reply: Reply, request_id: str = "") -> Reply:
        """The reply with the headers that all replies of MNS have."""
        common = (
            ("Server", "AliyunMQS"),
            ("x-mns-version", VERSION),
            ("x-mns-request-id", request_id or self.request_id()),
        )
        return replace(reply, headers=(*common, *reply.headers))

    def request_id(self) -> str:
        return f"{self._rng.getrandbits(96):024X}"

    def reset(self) -> None:
        for queue in self.queues.values():
            queue.release()
        self.queues.clear()
        self._create_first()

    def _create_first(self) -> None:
        for name in self._options.queues:
            self.create(name)

    def queue(self, name: str) -> EmulatedQueue:
        """A queue by its name; raises MnsError QueueNotExist."""
        queue = self.queues.get(name)
        if queue is None:
            raise MnsError("QueueNotExist")
        return queue

    def create(self, name: str, attributes: Attributes | None = None) -> EmulatedQueue:
        """Make a queue without asking whether the name may be used."""
        queue = EmulatedQueue(
            name,
            attributes=attributes or Attributes(),
            rng=self._rng,
            lenient=self._options.lenient_handles,
        )
        self.queues[name] = queue
        return queue

    # Who may ask

    def _check_signature(self, request: Request, at: datetime) -> None:
        headers = request.headers
        scheme, _, credential = headers.get("authorization", "").partition(" ")
        if not scheme:
            raise MnsError("MissingAuthorizationHeader")
        key, colon, signature = credential.partition(":")
        if scheme != "MNS" or not colon:
            raise MnsError("InvalidAuthorizationHeader")
        if "x-mns-version" not in headers:
            raise MnsError("MissingVersionHeader")
        date = _check_date(headers, at)
        self._check_digest(request)
        if key != self._options.access_key_id:
            raise MnsError("InvalidAccessKeyId")
        expected = signatures.mns_v2(
            self._options.access_key_secret,
            method=request.method,
            headers=headers,
            target=request.target,
            date=date,
        )
        if signature.strip() != expected:
            raise MnsError("SignatureDoesNotMatch")

    @staticmethod
    def _check_digest(request: Request) -> None:
        """Content-MD5 is optional. Clients send the base64 of the hex digest or that of the raw digest; both count."""
        given = request.headers.get("content-md5")
        if not given:
            return
        digest = hashlib.md5(request.body, usedforsecurity=False)
        forms = (digest.hexdigest().encode(), digest.digest())
        if given.encode() not in {base64.b64encode(form) for form in forms}:
            raise MnsError("InvalidDegist")

    # Queues

    def _create_queue(self, request: Request) -> Reply:
        name = _queue_name(request)
        attributes = _attributes(request.body, Attributes())
        location = (("Location", f"http://{request.host}/queues/{name}"),)
        known = self.queues.get(name)
        if known is None:
            self.create(name, attributes)
            return Reply(status=201, headers=location)
        if known.attributes != attributes:
            raise MnsError("QueueAlreadyExist")
        return Reply(status=204, headers=location)

    def _set_queue_attributes(self, request: Request) -> Reply:
        queue = self._queue_of(request)
        queue.change(_attributes(request.body, queue.attributes))
        return Reply(status=204)

    def _get_queue_attributes(self, request: Request) -> Reply:
        return Reply(status=200, body=xml.flat("Queue", _queue_fields(self._queue_of(request))))

    def _delete_queue(self, request: Request) -> Reply:
        """Deleting what is not there counts as done; the documentation does not say."""
        queue = self.queues.pop(_queue_name(request), None)
        if queue is not None:
            queue.release()
        return Reply(status=204)

    def _list_queue(self, request: Request) -> Reply:
        limit = _in_range(request.headers.get("x-mns-ret-number", "1000"), "x-mns-ret-number", 1, 1000, "")
        marker = _unmarked(request.headers.get("x-mns-marker", ""))
        prefix = request.headers.get("x-mns-prefix", "")
        names = sorted(name for name in self.queues if name.startswith(prefix) and name > marker)
        with_meta = request.headers.get("x-mns-with-meta", "").lower() == "true"
        records = [self._listed(name, request=request, with_meta=with_meta) for name in names[:limit]]
        tail = [("NextMarker", _marked(names[limit - 1]))] if len(names) > limit else []
        return Reply(status=200, body=xml.nested("Queues", "Queue", records, tail=tail))

    def _listed(self, name: str, *, request: Request, with_meta: bool) -> list[tuple[str, object]]:
        url: list[tuple[str, object]] = [("QueueURL", f"http://{request.host}/queues/{name}")]
        return url + _queue_fields(self.queues[name]) if with_meta else url

    def _queue_of(self, request: Request) -> EmulatedQueue:
        return self.queue(_queue_name(request))

    # Messages

    def _send(self, request: Request) -> Reply:
        queue = self._queue_of(request)
        root = xml.parse(request.body)
        if xml.local(root) == "Messages":
            return self._send_batch(queue, root)
        if xml.local(root) != "Message":
            raise MnsError("InvalidArgument", _schema(f"unexpected element {xml.local(root)}"))
        sent = queue.send([_draft(root, queue)])[0]
        # Only a single delayed message has a handle already, which can take it back.
        handle = (("ReceiptHandle", handle) for handle in sent.handles)
        return Reply(status=201, body=xml.flat("Message", [*_sent_fields(sent), *handle]))

    @staticmethod
    def _send_batch(queue: EmulatedQueue, root: Element) -> Reply:
        """Send what can be sent. The status of a partial failure is not documented; 500 is inferred."""
        if not 1 <= len(root) <= BATCH:
            raise MnsError("InvalidArgument", _range("Messages", 1, BATCH, ""))
        outcomes = [_draft_or_refusal(element, queue) for element in root]
        drafts = [outcome for outcome in outcomes if isinstance(outcome, Draft)]
        if sum(len(draft.body.encode("utf-8", "surrogateescape")) for draft in drafts) > BATCH_BYTES:
            raise MnsError("InvalidArgument", _range("Messages", 1, BATCH_BYTES, "bytes"))
        sent = iter(queue.send(drafts))
        records = [
            _refusal_fields(outcome) if isinstance(outcome, Refused) else _sent_fields(next(sent))
            for outcome in outcomes
        ]
        status = 201 if len(drafts) == len(outcomes) else 500
        return Reply(status=status, body=xml.nested("Messages", "Message", records))

    async def _receive(self, request: Request) -> Reply:
        queue = self._queue_of(request)
        limit = _limit(request)
        wait = request.query.get("waitseconds")
        seconds = (
            queue.attributes.polling_wait_seconds
            if wait is None
            else _in_range(wait, "waitseconds", 0, 30, "seconds")
        )
        received = await queue.receive(limit, wait=seconds, gone=request.gone)
        return _shown(received, request, peeked=False)

    def _peek(self, request: Request) -> Reply:
        return _shown(self._queue_of(request).peek(_limit(request)), request, peeked=True)

    def _delete_message(self, request: Request) -> Reply:
        queue = self._queue_of(request)
        handle = request.query.get("receipthandle")
        if not handle:
            raise MnsError("MissingReceiptHandle")
        try:
            queue.delete(handle)
        except HandleRejected as error:
            raise MnsError(error.code) from error
        return Reply(status=204)

    def _batch_delete_message(self, request: Request) -> Reply:
        queue = self._queue_of(request)
        root = xml.parse(request.body)
        if xml.local(root) != "ReceiptHandles" or not 1 <= len(root) <= BATCH:
            raise MnsError("InvalidArgument", _range("ReceiptHandles", 1, BATCH, ""))
        refused = [refusal for element in root if (refusal := _delete_one(queue, element.text or ""))]
        if not refused:
            return Reply(status=204)
        records = [[*_refusal_fields(refusal), ("ReceiptHandle", refusal.handle)] for refusal in refused]
        return Reply(status=404, body=xml.nested("Errors", "Error", records))

    def _change_visibility(self, request: Request) -> Reply:
        queue = self._queue_of(request)
        handle = request.query.get("receipthandle")
        seconds = request.query.get("visibilitytimeout")
        if not handle:
            raise MnsError("MissingReceiptHandle")
        if not seconds:
            raise MnsError("MissingVisibilityTimeout")
        timeout = _in_range(seconds, "VisibilityTimeout", 1, 43_200, "seconds")
        try:
            message = queue.change_visibility(handle, timeout)
        except HandleRejected as error:
            raise MnsError(error.code) from error
        fields = (("ReceiptHandle", message.handles[0]), ("NextVisibleTime", message.visible_ms))
        return Reply(status=200, body=xml.flat("ChangeVisibility", fields))

    # Account

    def _set_account(self, request: Request) -> Reply:
        fields = xml.children(xml.parse(request.body))
        self._logging_bucket = fields.get("LoggingBucket", self._logging_bucket)
        return Reply(status=204)

    def _get_account(self, request: Request) -> Reply:
        return Reply(status=200, body=xml.flat("Account", [("LoggingBucket", self._logging_bucket)]))


def _check_date(headers: dict[str, str], at: datetime) -> str:
    """The date as it was sent, if it is near enough."""
    date = headers.get("x-mns-date") or headers.get("date")
    if not date:
        raise MnsError("MissingDateHeader")
    try:
        when = parsedate_to_datetime(date)
    except ValueError as error:
        raise MnsError("InvalidDateHeader") from error
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    if abs(at - when) > CLOCK_TOLERANCE:
        raise MnsError("TimeExpired")
    return date


def identify(request: Request) -> str:
    """The operation that verb and address ask for; empty if they ask for none."""
    if "accountmeta" in request.query:
        return {"PUT": "SetAccountAttributes", "GET": "GetAccountAttributes"}.get(request.method, "")
    parts = request.path.strip("/").split("/")
    match parts:
        case ["queues"]:
            return "ListQueue" if request.method == "GET" else ""
        case ["queues", _]:
            return _queue_operation(request)
        case ["queues", _, "messages"]:
            return _message_operation(request)
    return ""


def _queue_operation(request: Request) -> str:
    if request.method == "PUT" and request.query.get("metaoverride", "").lower() == "true":
        return "SetQueueAttributes"
    return {"PUT": "CreateQueue", "GET": "GetQueueAttributes", "DELETE": "DeleteQueue"}.get(
        request.method, ""
    )


def _message_operation(request: Request) -> str:
    if request.method == "GET":
        batch = "Batch" if "numofmessages" in request.query else ""
        peek = request.query.get("peekonly", "").lower() == "true"
        return f"{batch}PeekMessage" if peek else f"{batch}ReceiveMessage"
    if request.method == "POST":
        return "BatchSendMessage" if b"<Messages" in request.body[:200] else "SendMessage"
    if request.method == "DELETE":
        return "DeleteMessage" if "receipthandle" in request.query else "BatchDeleteMessage"
    return "ChangeMessageVisibility" if request.method == "PUT" else ""


def _queue_name(request: Request) -> str:
    name = request.path.split("/")[2]
    if len(name) > QUEUE_NAME_LENGTH:
        raise MnsError("QueueNameLengthError")
    if not QUEUE_NAME.fullmatch(name):
        raise MnsError("InvalidQueueName")
    return name


def _limit(request: Request) -> int:
    wanted = request.query.get("numofmessages")
    return 1 if wanted is None else _in_range(wanted, "numOfMessages", 1, BATCH, "")


def _shown(found: list[StoredMessage], request: Request, *, peeked: bool) -> Reply:
    """Messages as a reply; none at all is an error, for one message and for a batch."""
    if not found:
        raise MnsError("MessageNotExist")
    if "numofmessages" in request.query:
        return Reply(status=200, body=xml.messages(found, peeked=peeked))
    return Reply(status=200, body=xml.message(found[0], peeked=peeked))


def _delete_one(queue: EmulatedQueue, handle: str) -> Refused | None:
    try:
        queue.delete(handle)
    except HandleRejected as error:
        return Refused(error.code, ERRORS[error.code][1], handle)
    return None


def _draft_or_refusal(element: Element, queue: EmulatedQueue) -> Draft | Refused:
    try:
        return _draft(element, queue)
    except MnsError as error:
        return Refused(error.code, error.text)


def _draft(element: Element, queue: EmulatedQueue) -> Draft:
    """Check one message that is to be sent."""
    fields = xml.children(element)
    body = fields.get("MessageBody", "")
    size = len(body.encode())
    if not 1 <= size <= queue.attributes.maximum_message_size:
        raise MnsError(
            "InvalidArgument", _range("MessageBody", 1, queue.attributes.maximum_message_size, "bytes")
        )
    draft = Draft(body=escape(body), md5=body_md5(body))
    return (
        draft if len(fields) == 1 else replace(draft, **_extras(fields), properties=xml.properties(element))
    )


def _extras(fields: dict[str, str]) -> dict[str, Any]:
    delay = fields.get("DelaySeconds")
    return {
        "delay_seconds": None if delay is None else _in_range(delay, "DelaySeconds", 0, WEEK, "seconds"),
        "priority": _in_range(fields.get("Priority", "8"), "Priority", 1, 16, ""),
        "group": escape(fields.get("MessageGroupId", "")),
    }


def _attributes(body: bytes, base: Attributes) -> Attributes:
    """The attributes that a request's XML names, over those that it leaves alone."""
    if not body.strip():
        return base
    fields = xml.children(xml.parse(body))
    changes: dict[str, Any] = {
        attribute: _in_range(fields[element], element, low, high, unit)
        for element, attribute, low, high, unit in LIMITS
        if element in fields
    }
    if "LoggingEnabled" in fields:
        changes["logging_enabled"] = _truth(fields["LoggingEnabled"])
    return Attributes(**{**asdict(base), **changes})


def _truth(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise MnsError("InvalidArgument", _schema("LoggingEnabled is neither True nor False"))
    return text.lower() == "true"


def _in_range(text: str, name: str, low: int, high: int, unit: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,10}", text.strip()):
        raise MnsError("InvalidArgument", _schema(f"{name} is not a number"))
    value = int(text)
    if not low <= value <= high:
        raise MnsError("InvalidArgument", _range(name, low, high, unit))
    return value


def _range(name: str, low: int, high: int, unit: str) -> str:
    return f"The value of {name} should between {low} and {high}{' ' if unit else ''}{unit}."


def _schema(cause: str) -> str:
    return f"The XML you provided did not validate against our published schema, cause by {cause}."


def _queue_fields(queue: EmulatedQueue) -> list[tuple[str, object]]:
    counts = queue.counts()
    return [
        ("QueueName", queue.name),
        ("CreateTime", queue.created),
        ("LastModifyTime", queue.modified),
        *((element, getattr(queue.attributes, attribute)) for element, attribute, *_ in LIMITS),
        ("LoggingEnabled", queue.attributes.logging_enabled),
        ("ActiveMessages", counts["active"]),
        ("InactiveMessages", counts["inactive"]),
        ("DelayMessages", counts["delayed"]),
    ]


def _sent_fields(sent: StoredMessage) -> list[tuple[str, object]]:
    return [("MessageId", sent.message_id), ("MessageBodyMD5", sent.md5)]


def _refusal_fields(refusal: Refused) -> list[tuple[str, object]]:
    return [("ErrorCode", refusal.code), ("ErrorMessage", refusal.text)]


def _marked(name: str) -> str:
    return base64.b64encode(name.encode()).decode()


def _unmarked(marker: str) -> str:
    try:
        return base64.b64decode(marker, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise MnsError("InvalidArgument", "The marker you provided is not valid.") from error
