"""The operations of MNS on queues and messages: each is one method that makes a reply of a request.

An error leaves as ``MnsError``; which operation a request asks for, and whether it may, is the service's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from xml.etree.ElementTree import Element

from listener.emulator.messages import Reply, Request
from listener.emulator.mns import xml
from listener.emulator.mns.arguments import (
    BATCH,
    BATCH_BYTES,
    LIMITS,
    attributes_in,
    batch_limit,
    draft,
    parameter_in_range,
    queue_name,
)
from listener.emulator.mns.errors import ERRORS, MnsError, range_text, schema_text
from listener.emulator.mns.features import STANDARD, QueueFeatures
from listener.emulator.mns.fifo_queue import FifoQueue
from listener.emulator.mns.listing import page_of
from listener.emulator.mns.queue import Attributes, Draft, EmulatedQueue, HandleRejected, StoredMessage
from listener.emulator.options import Options
from listener.emulator.virtual_clock import VirtualClock

MnsOperation = Callable[[Request], Awaitable[Reply] | Reply]


@dataclass(frozen=True, slots=True)
class Refused:
    """One part of a batch that was not carried out."""

    code: str
    text: str
    handle: str = ""


class Operations:
    """The queues of one account, and what can be done with them."""

    def __init__(self, options: Options, rng: Random, clock: VirtualClock) -> None:
        self.queues: dict[str, EmulatedQueue] = {}
        self._options = options
        self._rng = rng
        self._clock = clock
        self.logging_bucket = ""
        self.by_name: Mapping[str, MnsOperation] = {
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

    def queue(self, name: str) -> EmulatedQueue:
        """A queue by its name; raises MnsError QueueNotExist."""
        queue = self.queues.get(name)
        if queue is None:
            raise MnsError("QueueNotExist")
        return queue

    def create(
        self, name: str, attributes: Attributes | None = None, *, features: QueueFeatures = STANDARD
    ) -> EmulatedQueue:
        """Make a queue without asking whether the name may be used."""
        make = FifoQueue if features.fifo else EmulatedQueue
        queue = make(
            name,
            attributes=attributes or Attributes(),
            features=features,
            queues=self.queues,
            rng=self._rng,
            lenient=self._options.lenient_handles,
            clock=self._clock,
        )
        self.queues[name] = queue
        return queue

    def delete(self, name: str) -> None:
        """Delete a queue, if there is one, and end its long polls."""
        queue = self.queues.pop(name, None)
        if queue is not None:
            queue.release()

    def reset(self) -> None:
        """Leave no queues, and the account's attributes as at the start."""
        for name in list(self.queues):
            self.delete(name)
        self.logging_bucket = ""

    # Queues

    def _create_queue(self, request: Request) -> Reply:
        name = queue_name(request)
        attributes = attributes_in(request.body, Attributes())
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
        queue.change(attributes_in(request.body, queue.attributes))
        return Reply(status=204)

    def _get_queue_attributes(self, request: Request) -> Reply:
        return Reply(status=200, body=xml.flat("Queue", _queue_fields(self._queue_of(request))))

    def _delete_queue(self, request: Request) -> Reply:
        """Deleting what is not there counts as done; the documentation does not say."""
        self.delete(queue_name(request))
        return Reply(status=204)

    def _list_queue(self, request: Request) -> Reply:
        page = page_of(self.queues, request)
        records = [self._listing_of(name, request=request, with_meta=page.with_meta) for name in page.names]
        return Reply(status=200, body=xml.nested("Queues", "Queue", records, tail=page.tail))

    def _listing_of(self, name: str, *, request: Request, with_meta: bool) -> list[tuple[str, object]]:
        url: list[tuple[str, object]] = [("QueueURL", f"http://{request.host}/queues/{name}")]
        return url + _queue_fields(self.queues[name]) if with_meta else url

    def _queue_of(self, request: Request) -> EmulatedQueue:
        return self.queue(queue_name(request))

    # Messages

    def _send(self, request: Request) -> Reply:
        queue = self._queue_of(request)
        root = xml.parse(request.body)
        if xml.local(root) == "Messages":
            return self._send_batch(queue, root)
        if xml.local(root) != "Message":
            raise MnsError("InvalidArgument", schema_text(f"unexpected element {xml.local(root)}"))
        sent = queue.send([draft(root, queue)])[0]
        # Only a single delayed message has a handle already, which can take it back.
        handle = (("ReceiptHandle", handle) for handle in sent.handles)
        return Reply(status=201, body=xml.flat("Message", [*_sent_fields(sent), *handle]))

    @staticmethod
    def _send_batch(queue: EmulatedQueue, root: Element) -> Reply:
        """Send what can be sent. The status of a partial failure is not documented; 500 is inferred."""
        if not 1 <= len(root) <= BATCH:
            raise MnsError("InvalidArgument", range_text("Messages", 1, BATCH, ""))
        outcomes = [_draft_or_refusal(element, queue) for element in root]
        drafts = [outcome for outcome in outcomes if isinstance(outcome, Draft)]
        if sum(len(draft.body.encode("utf-8", "surrogateescape")) for draft in drafts) > BATCH_BYTES:
            raise MnsError("InvalidArgument", range_text("Messages", 1, BATCH_BYTES, "bytes"))
        sent = iter(queue.send(drafts))
        if len(drafts) == len(outcomes):
            return Reply(status=201, body=xml.sent(sent))
        records = [
            _refusal_fields(outcome) if isinstance(outcome, Refused) else _sent_fields(next(sent))
            for outcome in outcomes
        ]
        return Reply(status=500, body=xml.nested("Messages", "Message", records))

    async def _receive(self, request: Request) -> Reply:
        queue = self._queue_of(request)
        limit = batch_limit(request)
        wait = request.query.get("waitseconds")
        seconds = (
            queue.attributes.polling_wait_seconds
            if wait is None
            else parameter_in_range(wait, "waitseconds", 0, 30, "seconds")
        )
        received = await queue.receive(limit, wait=seconds, gone=request.gone)
        return _messages_reply(received, request, peeked=False)

    def _peek(self, request: Request) -> Reply:
        return _messages_reply(self._queue_of(request).peek(batch_limit(request)), request, peeked=True)

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
            raise MnsError("InvalidArgument", range_text("ReceiptHandles", 1, BATCH, ""))
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
        timeout = parameter_in_range(seconds, "VisibilityTimeout", 1, 43_200, "seconds")
        try:
            message = queue.change_visibility(handle, timeout)
        except HandleRejected as error:
            raise MnsError(error.code) from error
        fields = (("ReceiptHandle", message.handles[0]), ("NextVisibleTime", message.visible_ms))
        return Reply(status=200, body=xml.flat("ChangeVisibility", fields))

    # Account

    def _set_account(self, request: Request) -> Reply:
        fields = xml.children(xml.parse(request.body))
        self.logging_bucket = fields.get("LoggingBucket", self.logging_bucket)
        return Reply(status=204)

    def _get_account(self, request: Request) -> Reply:
        return Reply(status=200, body=xml.flat("Account", [("LoggingBucket", self.logging_bucket)]))


def _messages_reply(found: list[StoredMessage], request: Request, *, peeked: bool) -> Reply:
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
        return draft(element, queue)
    except MnsError as error:
        return Refused(error.code, error.text)


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
