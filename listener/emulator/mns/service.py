"""MNS 2015-06-06 over HTTP: which operation a request asks for, whether it may, and what every reply carries.

``identify`` finds the operation from verb and address; ``listener.emulator.mns.operations`` carries it out.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from random import Random

from listener.core import clock
from listener.emulator.limits import MAX_ATTRIBUTES, MAX_MESSAGES
from listener.emulator.messages import Reply, Request
from listener.emulator.mns import xml
from listener.emulator.mns.authentication import VERSION, Authentication
from listener.emulator.mns.errors import MnsError, range_text
from listener.emulator.mns.features import STANDARD, QueueFeatures
from listener.emulator.mns.operations import Operations
from listener.emulator.mns.queue import Attributes, EmulatedQueue
from listener.emulator.mns.topic_operations import TopicOperations
from listener.emulator.mns.topics import Notify, Topics
from listener.emulator.options import Options
from listener.emulator.virtual_clock import VirtualClock
from listener.emulator.xml_text import readable

#: The operations whose requests contain messages.
WITH_MESSAGES = ("SendMessage", "BatchSendMessage", "PublishMessage")


COMMON_HEADERS = (("Server", "AliyunMQS"), ("x-mns-version", VERSION))


class Mns:
    """The MNS service of one account."""

    def __init__(self, options: Options, rng: Random, *, clock: VirtualClock, notify: Notify) -> None:
        self.topics = Topics(rng, clock=clock, notify=notify)
        self._options = options
        self._rng = rng
        self._authentication = Authentication(options)
        self._operations = Operations(options, rng, clock)
        self._by_name = {**self._operations.by_name, **TopicOperations(self.topics).by_name}
        self._create_first()

    @property
    def queues(self) -> dict[str, EmulatedQueue]:
        return self._operations.queues

    @property
    def logging_bucket(self) -> str:
        return self._operations.logging_bucket

    @logging_bucket.setter
    def logging_bucket(self, bucket: str) -> None:
        self._operations.logging_bucket = bucket

    @property
    def operations(self) -> Iterable[str]:
        """The names of all operations that are emulated."""
        return self._by_name

    async def answer(self, operation: str, request: Request, *, skew: timedelta = timedelta(0)) -> Reply:
        """Execute one operation. Never raises MnsError; errors are replies."""
        try:
            _check_size(operation, request)
            self._authentication.check(request, clock.now() + skew)
            carry_out = self._by_name.get(operation)
            if carry_out is None:
                raise MnsError("InvalidRequestURL")
            reply = carry_out(request)
            return self._with_common_headers(reply if isinstance(reply, Reply) else await reply)
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
            ("HostId", f"http://{readable(request.host)}"),
        )
        body = xml.flat("Error", fields)
        return self._with_common_headers(Reply(status=error.status, body=body), request_id)

    def _with_common_headers(self, reply: Reply, request_id: str = "") -> Reply:
        """The reply with the headers that all replies of MNS have."""
        identified = ("x-mns-request-id", request_id or self.request_id())
        return reply.with_headers((*COMMON_HEADERS, identified, *reply.headers))

    def request_id(self) -> str:
        return f"{self._rng.getrandbits(96):024X}"

    def reset(self) -> None:
        self._operations.reset()
        self.topics.clear()
        self._create_first()

    def _create_first(self) -> None:
        for name in self._options.queues:
            self.create(name)

    def queue(self, name: str) -> EmulatedQueue:
        """A queue by its name; raises MnsError QueueNotExist."""
        return self._operations.queue(name)

    def create(
        self, name: str, attributes: Attributes | None = None, *, features: QueueFeatures = STANDARD
    ) -> EmulatedQueue:
        """Create a queue without validating its name."""
        return self._operations.create(name, attributes, features=features)

    def delete(self, name: str) -> None:
        """Delete a queue, if there is one."""
        self._operations.delete(name)


def _check_size(operation: str, request: Request) -> None:
    limit = MAX_MESSAGES if operation in WITH_MESSAGES else MAX_ATTRIBUTES
    if request.body_size > limit:
        raise MnsError("InvalidArgument", range_text("Content-Length", 0, limit, "bytes"))


def is_meant(request: Request) -> bool:
    """Whether a request is for MNS: by its address, or by headers that no other service has."""
    return (
        request.path.lstrip("/").startswith(("queues", "topics"))
        or "x-mns-version" in request.headers
        or request.headers.get("authorization", "").startswith("MNS")
        or ("accountmeta" in request.raw_query.lower() and "accountmeta" in request.query)
    )


def identify(request: Request) -> str:
    """The operation for method and path; empty if there is none."""
    if "accountmeta" in request.query:
        return {"PUT": "SetAccountAttributes", "GET": "GetAccountAttributes"}.get(request.method, "")
    match request.path.removeprefix("/").rstrip("/").split("/"):
        case ["queues"]:
            return "ListQueue" if request.method == "GET" else ""
        case ["queues", _]:
            return _queue_operation(request)
        case ["queues", _, "messages"]:
            return _message_operation(request)
        case ["topics", *rest]:
            return _topic_operation(rest, request)
    return ""


def _queue_operation(request: Request) -> str:
    if request.method == "PUT" and request.query.get("metaoverride", "").lower() == "true":
        return "SetQueueAttributes"
    return {"PUT": "CreateQueue", "GET": "GetQueueAttributes", "DELETE": "DeleteQueue"}.get(
        request.method, ""
    )


def _topic_operation(rest: list[str], request: Request) -> str:
    """Of a path below ``/topics``."""
    overrides = request.method == "PUT" and request.query.get("metaoverride", "").lower() == "true"
    match rest:
        case []:
            found = {"GET": "ListTopic"}
        case [_]:
            put = "SetTopicAttributes" if overrides else "CreateTopic"
            found = {"PUT": put, "GET": "GetTopicAttributes", "DELETE": "DeleteTopic"}
        case [_, "messages"]:
            found = {"POST": "PublishMessage"}
        case [_, "subscriptions"]:
            found = {"GET": "ListSubscriptionByTopic"}
        case [_, "subscriptions", _]:
            put = "SetSubscriptionAttributes" if overrides else "Subscribe"
            found = {"PUT": put, "GET": "GetSubscriptionAttributes", "DELETE": "Unsubscribe"}
        case _:
            found = {}
    return found.get(request.method, "")


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
