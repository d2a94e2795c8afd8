"""The last requests, and what became of each: for the assertions of tests."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from listener.emulator.faults import Occasion
from listener.emulator.messages import Reply, Request

KEPT = 1000
#: Of the body of a reply, which has the ids; enough for a batch of small messages.
BODY_BYTES = 16_384
#: Of what a request says of itself; no name that exists is longer.
TARGET_LENGTH, NAME_LENGTH = 2048, 256
#: In XML and JSON. Batches have an ErrorCode for each part that was refused.
CODES = re.compile(rb'<(?:Error)?Code>([^<]+)|"(?:Error)?Code" ?: ?"([^"]+)')
IDS = {
    "message_ids": re.compile(rb'<MessageId>([^<]+)|"MessageId" ?: ?"([^"]+)'),
    "job_ids": re.compile(rb'<(?:JobId|RunId)>([^<]+)|"(?:JobId|RunId)" ?: ?"([^"]+)'),
}
#: What requests can be selected by; shell patterns. Of lists, one member has to match.
FILTERS = (
    *("service", "operation", "queue", "topic", "function", "status"),
    *("code", "fault", "message_id", "job_id"),
)
_LISTS = {"fault": "faults", "message_id": "message_ids", "job_id": "job_ids"}


class LoggedRequest:
    """One request. Uses plain slots and reads the reply when it is asked, since every request makes one."""

    __slots__ = ("at_ms", "method", "number", "occasion", "reply", "target")

    def __init__(self, request: Request, occasion: Occasion, *, number: int, at_ms: int) -> None:
        self.number = number
        self.at_ms = at_ms
        self.occasion = _shortened(occasion)
        self.method = request.method
        self.target = request.target[:TARGET_LENGTH]
        self.reply: Reply | None = None

    def answered(self, reply: Reply) -> None:
        body = reply.body
        self.reply = reply if len(body) <= BODY_BYTES else reply.without_end(BODY_BYTES)

    def shown(self) -> dict[str, Any]:
        """As plain JSON values; a request that is not answered yet has no status."""
        reply, occasion = self.reply, self.occasion
        body = b"" if reply is None else reply.body
        refused = reply is not None and reply.status >= 400
        return {
            "number": self.number,
            "at": datetime.fromtimestamp(self.at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            "service": occasion.service,
            "operation": occasion.operation,
            "queue": occasion.queue,
            "topic": occasion.topic,
            "function": occasion.function,
            "method": self.method,
            "target": self.target,
            "status": None if reply is None else reply.status,
            "code": next(iter(_found(CODES, body)), "") if refused else "",
            "transmission": "" if reply is None else str(reply.transmission),
            "faults": [] if reply is None else [str(kind) for kind in reply.faults],
            **{name: list(dict.fromkeys(_found(pattern, body))) for name, pattern in IDS.items()},
        }


class RequestLog:
    """The last ``KEPT`` requests, the oldest first."""

    def __init__(self) -> None:
        self._requests: deque[LoggedRequest] = deque(maxlen=KEPT)
        self._count = 0

    def add(self, request: Request, occasion: Occasion, *, at_ms: int) -> LoggedRequest:
        self._count += 1
        logged = LoggedRequest(request, occasion, number=self._count, at_ms=at_ms)
        self._requests.append(logged)
        return logged

    def clear(self) -> None:
        self._requests.clear()
        self._count = 0

    def select(self, patterns: Mapping[str, str], *, after: int = 0) -> list[dict[str, Any]]:
        """Those that match all patterns, and have a number greater than ``after``."""
        shown = (logged.shown() for logged in list(self._requests) if logged.number > after)
        return [each for each in shown if all(_matches(each, name, patterns[name]) for name in patterns)]


def _shortened(occasion: Occasion) -> Occasion:
    if len(occasion.operation + occasion.queue + occasion.topic + occasion.function) <= NAME_LENGTH:
        return occasion
    return replace(
        occasion,
        operation=occasion.operation[:NAME_LENGTH],
        queue=occasion.queue[:NAME_LENGTH],
        topic=occasion.topic[:NAME_LENGTH],
        function=occasion.function[:NAME_LENGTH],
    )


def _matches(shown: Mapping[str, Any], name: str, pattern: str) -> bool:
    values = shown[_LISTS[name]] if name in _LISTS else [shown[name]]
    return any(fnmatchcase("" if value is None else str(value), pattern) for value in values)


def _found(pattern: re.Pattern[bytes], body: bytes) -> list[str]:
    return [(match[1] or match[2]).decode("utf-8", "replace") for match in pattern.finditer(body)]
