"""Parses untrusted XML: document types are rejected, namespaces ignored."""

from __future__ import annotations

import re
import sys
from typing import Any, Final, NoReturn
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

#: A reply of MNS has about 200; building many takes seconds, during which no other thread runs.
MAX_ELEMENTS: Final = 5_000
_NAMED: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
_REFERENCE: Final = re.compile(rf"&({'|'.join(_NAMED)}|#[0-9]{{1,7}}|#x[0-9A-Fa-f]{{1,6}});")


class BadXml(ValueError):
    """The text is not XML, or not of the accepted kind; the message says why."""


class _CautiousBuilder(TreeBuilder):
    """Rejects document types, without which no entity can be declared, and documents of too many elements.

    Its method is called for every element, so that it takes nearly twice as long as the builder that is all in C.
    """

    def __init__(self) -> None:
        super().__init__()
        self._elements = 0

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        raise BadXml(f"XML with a document type ({name[:40]})")

    def start(self, tag: Any, attrs: dict[Any, Any], /) -> Element[Any]:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise BadXml(f"XML with more than {MAX_ELEMENTS} elements")
        return super().start(tag, attrs)


def parse(text: str | bytes) -> Element[Any]:
    """The root element. Raises BadXml for anything ill-formed, and for any document type."""
    builder = TreeBuilder() if _is_harmless(text) else _CautiousBuilder()
    parser = XMLParser(target=builder)  # noqa: S314  # without a document type, which is refused, no entity expands
    try:
        parser.feed(text)
        root: Element[Any] = parser.close()
    except BadXml:
        raise
    except (ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise BadXml(f"not well-formed XML: {error}") from error
    return root


def _is_harmless(text: str | bytes) -> bool:
    """Whether there is certainly nothing in it that the builder would reject, as in nearly all documents.

    A document type begins with ``<!``, an element with ``<``. Of the encodings that expat accepts only UTF-16 writes
    these otherwise than ASCII, with a NUL in every character of a tag.
    """
    if isinstance(text, str):
        return "<!" not in text and text.count("<") <= MAX_ELEMENTS
    return b"\0" not in text and b"<!" not in text and text.count(b"<") <= MAX_ELEMENTS


def unescape(text: str) -> str:
    """Resolve the character references of XML in text that is not well-formed; whatever else has an & stays as it is.

    Not ``html.unescape``: it turns ``&copy=1`` into ``©=1``, and raises for a number of thousands of digits.
    """
    return _REFERENCE.sub(_character, text)


def _character(reference: re.Match[str]) -> str:
    name = reference[1]
    if not name.startswith("#"):
        return _NAMED[name]
    code = int(name[2:], 16) if name.startswith("#x") else int(name[1:])
    return chr(code) if code <= sys.maxunicode else reference[0]


def local(tag: str) -> str:
    """The name without its namespace, which is ``…/v1/``, ``…/v1`` or none ."""
    return tag.rpartition("}")[2]


def children_text(element: Element[Any]) -> dict[str, str]:
    """The text of each child by local name; the last one wins, an empty one reads ``""``."""
    return {child.tag.rpartition("}")[2]: child.text or "" for child in element}
