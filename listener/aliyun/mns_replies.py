"""What the replies of MNS say: messages, errors and attributes, decoded element by element.

The SDK's decoder loses a whole batch if it cannot decode one message.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any

from listener.aliyun import flat_messages
from listener.core.model import Message, make_message
from listener.core.queue_status import QueueStatus
from listener.formats import safe_xml
from listener.formats.unicode_text import storable
from listener.settings.sections import MAX_BATCH

#: More than any attribute may have.
_MAX_SECONDS = 1_000_000_000


def date_of(header: str) -> datetime | None:
    """The time in a Date header; None if it is missing or malformed."""
    try:
        theirs = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # the latter for a number that is too large
        return None
    return theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)


def root_of(body: bytes) -> Any:
    """The root element; None if the document is not well-formed XML, or is refused."""
    try:
        return safe_xml.parse(body)
    except safe_xml.BadXml:
        return None


def code_of(body: bytes) -> str:
    """The code of an error; empty if this is none."""
    root = root_of(body)
    return safe_xml.children_text(root).get("Code", "") if root is not None else ""


def failed_handles(body: bytes) -> set[str]:
    """The handles that a batch delete rejected; empty if the reply is a different error."""
    root = root_of(body)
    if root is None or safe_xml.local(root.tag) != "Errors":
        return set()
    return {safe_xml.children_text(error).get("ReceiptHandle", "") for error in root}


def messages_of(body: bytes) -> Sequence[Message]:
    """The messages of a reply, also of one that is ill-formed; none if it has none, or is not from MNS."""
    flat = flat_messages.read(body)
    if flat is not None:
        return [_message(parts) for parts in flat]
    root = root_of(body)
    return _salvaged(body) if root is None else _elements(root)


def _elements(root: Any) -> Sequence[Message]:
    """The messages of a reply; none if the document is not from MNS, e.g. the login page of a portal."""
    elements = root if safe_xml.local(root.tag) == "Messages" else [root]
    return [
        _message(safe_xml.children_text(element))
        for element in elements
        if safe_xml.local(element.tag) == "Message"
    ]


def _message(parts: dict[str, str]) -> Message:
    return make_message(
        message_id=parts.get("MessageId", ""),
        receipt_handle=parts.get("ReceiptHandle", ""),
        body=parts.get("MessageBody", ""),
        dequeue_count=_number(parts.get("DequeueCount", "")) or 1,
        enqueued_at=_timestamp(_number(parts.get("EnqueueTime", ""))),
    )


def status_of(root: Any) -> QueueStatus:
    """The attributes of a queue, of the element with that name."""
    found = safe_xml.children_text(root)
    # Of the dead-letter policy only the names of OpenAPI are documented, not how this reply would nest them.
    policy = {safe_xml.local(each.tag): each.text or "" for each in root.iter()}
    enabled = policy.get("Enabled", "true").lower() != "false"
    return QueueStatus(
        retention=_seconds(found.get("MessageRetentionPeriod")),
        visibility_timeout=_seconds(found.get("VisibilityTimeout")),
        delay=_seconds(found.get("DelaySeconds")),
        polling_wait=_seconds(found.get("PollingWaitSeconds")),
        maximum_message_size=_count(found.get("MaximumMessageSize")),
        max_receive_count=_count(policy.get("MaxReceiveCount")) if enabled else None,
        active=_count(found.get("ActiveMessages")),
        inactive=_count(found.get("InactiveMessages")),
        delayed=_count(found.get("DelayMessages")),
    )


def _seconds(text: str | None) -> timedelta | None:
    """None also for a number of seconds that is no duration."""
    count = _count(text)
    return None if count is None or count > _MAX_SECONDS else timedelta(seconds=count)


def _count(text: str | None) -> int | None:
    text = (text or "").strip()
    return _number(text) if text.isdecimal() and text.isascii() else None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _timestamp(milliseconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
    except (OverflowError, ValueError, OSError):
        return None


def _salvaged(body: bytes) -> Sequence[Message]:
    """The messages of an ill-formed reply, each parsed separately: MNS stores bodies as sent, and one that is not
    valid XML must not affect the others of its batch."""
    return [_salvage(piece) for piece in islice(_pieces(body), MAX_BATCH)]


def _pieces(body: bytes) -> Iterator[bytes]:
    """The text of each message, in one pass: a regular expression would scan to the end once for every start tag."""
    at = 0
    while (start := body.find(b"<Message>", at)) >= 0 and (end := body.find(b"</Message>", start)) >= 0:
        at = end + len(b"</Message>")
        yield body[start:at]


def _salvage(piece: bytes) -> Message:
    root = root_of(piece)
    if root is not None:
        return _message(safe_xml.children_text(root))
    text = piece.decode("utf-8", "replace")
    names = ("MessageId", "ReceiptHandle", "MessageBody", "DequeueCount", "EnqueueTime")
    return _message({name: storable(safe_xml.unescape(_between(text, name))) for name in names})


def _between(text: str, name: str) -> str:
    start, end = text.find(f"<{name}>"), text.rfind(f"</{name}>")
    return text[start + len(name) + 2 : end] if 0 <= start < end else ""
