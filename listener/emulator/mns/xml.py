"""The XML of MNS: requests taken apart safely, replies put together as the service lays them out.

Shape of a reply (the captures of real traffic fit only this): an XML declaration, a root with the namespace without
a trailing slash, each child on a line of its own with two blanks of indentation, nothing after the end tag. The
captures suggest a bare carriage return as line break; we write a line feed, since XML parsers cannot tell the two
apart and a terminal can.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element
from xml.parsers import expat

from listener.emulator.limits import MAX_DEPTH, MAX_ELEMENTS, MAX_XML_ATTRIBUTES
from listener.emulator.mns import properties as message_properties
from listener.emulator.mns.errors import MnsError, schema_text
from listener.emulator.mns.queue import StoredMessage
from listener.emulator.xml_text import escape

HEAD = '<?xml version="1.0" ?>\n'
NAMESPACE = ' xmlns="http://mns.aliyuncs.com/doc/v1"'
PROLOG_WITH_DTD = re.compile(rb"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*)*<!DOCTYPE", re.DOTALL)

#: A large text is parsed in pieces, since a parser does not stop within one.
PIECE = 16 << 10
#: Each block of properties with the element of its items, in the order in which replies show them.
PROPERTIES = {"SystemProperties": "SystemPropertyValue", "UserProperties": "PropertyValue"}
#: The elements of requests that hold elements; all others hold text.
CONTAINERS = {*PROPERTIES, "MessageAttributes"}

Pairs = Iterable[tuple[str, object]]


class Malformed(ValueError):
    """The text is not XML that the service would read."""


def parse(text: bytes) -> Element:
    """Parse a request's body. A document type is refused: it can only bring entities along.

    Raises Malformed. UTF-16 is refused too, as the service speaks only UTF-8. So is a document that is nested more
    deeply than any that the service documents, or has more elements: it would take long.
    """
    if b"\x00" in text or (
        b"<!DOCTYPE" in text and PROLOG_WITH_DTD.match(text.removeprefix(b"\xef\xbb\xbf"))
    ):
        raise Malformed("document types are not accepted")
    # Each attribute takes five characters, with the blank before it.
    if len(text) > 5 * MAX_XML_ATTRIBUTES and _attribute_bound(text) > MAX_XML_ATTRIBUTES:
        raise Malformed(f"more than {MAX_XML_ATTRIBUTES} attributes")
    try:
        return _built(text)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise Malformed(str(error)) from error


def _attribute_bound(text: bytes) -> int:
    """The text has no more attributes than this."""
    return min(text.count(b"="), (text.count(b'"') + text.count(b"'")) // 2)


def _built(text: bytes) -> Element:
    """The root of a document, without attributes and the text behind elements, which requests do not have.

    By expat itself, since the parsers of ElementTree have no limits.
    """
    document = Element("")
    opened = [document]
    elements = 0

    def start(name: str, _attributes: dict[str, str]) -> None:
        nonlocal elements
        elements += 1
        if len(opened) > MAX_DEPTH or elements > MAX_ELEMENTS:
            raise Malformed(f"more than {MAX_DEPTH} levels or {MAX_ELEMENTS} elements")
        element = Element(name)
        opened[-1].append(element)
        opened.append(element)

    def end(_name: str) -> None:
        opened.pop()

    def characters(data: str) -> None:
        element = opened[-1]
        if not len(element):
            element.text = data if element.text is None else element.text + data

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_size = len(text) + 1  # so that each text comes as a whole
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = characters
    for place in range(0, len(text), PIECE):
        parser.Parse(text[place : place + PIECE])
    parser.Parse(b"", True)
    return document[0]


def local(element: Element) -> str:
    """The name without its namespace: clients send ``/v1/``, ``/v1`` or none at all."""
    return element.tag.rpartition("}")[2]


def children(element: Element) -> dict[str, str]:
    """Names and texts. Raises MnsError InvalidArgument if one that is a text has elements of its own."""
    for child in element:
        if len(child) and local(child) not in CONTAINERS:
            raise MnsError("InvalidArgument", schema_text(f"{local(child)} contains elements"))
    return {local(child): child.text or "" for child in element}


def encode(document: str) -> bytes:
    """Lone surrogates stand for the bytes of a body that was never UTF-8; they go out as they came in."""
    return document.encode("utf-8", "surrogateescape")


def flat(root: str, fields: Pairs) -> bytes:
    """A document of one level."""
    lines = "".join(f"  <{name}>{escape(str(value))}</{name}>\n" for name, value in fields)
    return encode(f"{HEAD}<{root}{NAMESPACE}>\n{lines}</{root}>")


def nested(root: str, name: str, records: Iterable[Pairs], *, tail: Pairs = ()) -> bytes:
    """A document of two levels: records of one kind, and perhaps some elements after them."""
    blocks = "".join(f"  <{name}>\n{_lines(record)}  </{name}>\n" for record in records)
    end = "".join(f"  <{key}>{escape(str(value))}</{key}>\n" for key, value in tail)
    return encode(f"{HEAD}<{root}{NAMESPACE}>\n{blocks}{end}</{root}>")


def _lines(record: Pairs) -> str:
    return "".join(f"    <{name}>{escape(str(value))}</{name}>\n" for name, value in record)


def sent(batch: Iterable[StoredMessage]) -> bytes:
    """The reply to a batch that was sent as a whole: what ``nested`` would make of it, in a third of the time."""
    blocks = "".join(
        f"  <Message>\n    <MessageId>{stored.message_id}</MessageId>\n"
        f"    <MessageBodyMD5>{stored.md5}</MessageBodyMD5>\n  </Message>\n"
        for stored in batch
    )
    return encode(f"{HEAD}<Messages{NAMESPACE}>\n{blocks}</Messages>")


def message(stored: StoredMessage, *, peeked: bool) -> bytes:
    return encode(f"{HEAD}<Message{NAMESPACE}>\n{_message(stored, indent='  ', peeked=peeked)}</Message>")


def messages(received: Iterable[StoredMessage], *, peeked: bool) -> bytes:
    blocks = "".join(
        f"  <Message>\n{_message(stored, indent='    ', peeked=peeked)}  </Message>\n" for stored in received
    )
    return encode(f"{HEAD}<Messages{NAMESPACE}>\n{blocks}</Messages>")


def _message(stored: StoredMessage, *, indent: str, peeked: bool) -> str:
    """One message; a peek shows neither handle nor the time of its return."""
    handle = visible = extras = ""
    if not peeked:
        handle = f"{indent}<ReceiptHandle>{stored.handles[0]}</ReceiptHandle>\n"
        visible = f"{indent}<NextVisibleTime>{stored.visible_ms}</NextVisibleTime>\n"
    if stored.group:
        extras = f"{indent}<MessageGroupId>{stored.group}</MessageGroupId>\n"
    if stored.properties:
        indented = stored.properties.replace("\n", f"\n{indent}")
        extras += f"{indent}{indented}\n"
    return (
        f"{indent}<MessageId>{stored.message_id}</MessageId>\n{handle}"
        f"{indent}<MessageBody>{stored.body}</MessageBody>\n"
        f"{indent}<MessageBodyMD5>{stored.md5}</MessageBodyMD5>\n"
        f"{indent}<EnqueueTime>{stored.enqueued_ms}</EnqueueTime>\n{visible}"
        f"{indent}<FirstDequeueTime>{stored.first_ms}</FirstDequeueTime>\n"
        f"{indent}<DequeueCount>{stored.count}</DequeueCount>\n"
        f"{indent}<Priority>{stored.priority}</Priority>\n{extras}"
    )


def properties(element: Element) -> str:
    """System and user properties of a message to be sent, as its replies will show them.

    Raises MnsError InvalidArgument.
    """
    blocks = {local(child): child for child in element}
    return "\n".join(
        _property_block(blocks[outer], outer=outer, inner=inner)
        for outer, inner in PROPERTIES.items()
        if outer in blocks
    )


def _property_block(block: Element, *, outer: str, inner: str) -> str:
    items = [children(item) for item in block]
    message_properties.check(outer, items)
    lines = [f"<{outer}>"]
    for fields in items:
        lines.append(f"  <{inner}>")
        lines += [
            f"    <{name}>{escape(fields.get(name, ''))}</{name}>" for name in ("Name", "Value", "Type")
        ]
        lines.append(f"  </{inner}>")
    return "\n".join([*lines, f"</{outer}>"])
