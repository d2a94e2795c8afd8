"""Parses untrusted XML: document types are rejected, namespaces ignored."""

from __future__ import annotations

from typing import Any, NoReturn
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser


class BadXml(ValueError):
    """The text is not XML, or not of the accepted kind; the message says why."""


class _NoDoctype(TreeBuilder):
    """Entities can only be declared in a document type, so rejecting it prevents every expansion attack."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        raise BadXml(f"XML with a document type ({name[:40]})")


def parse(text: str | bytes) -> Element[Any]:
    """The root element. Raises BadXml for anything ill-formed, and for any document type."""
    parser = XMLParser(target=_NoDoctype())  # noqa: S314 - no document type, so no entities to attack with
    try:
        parser.feed(text)
        root: Element[Any] = parser.close()
    except BadXml:
        raise
    except (ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise BadXml(f"not well-formed XML: {error}") from error
    return root


def local(tag: str) -> str:
    """The name without its namespace, which is ``…/v1/``, ``…/v1`` or none ."""
    return tag.rpartition("}")[2]


def children_text(element: Element[Any]) -> dict[str, str]:
    """The text of each child by local name; the last one wins, an empty one reads ``""``."""
    return {child.tag.rpartition("}")[2]: child.text or "" for child in element}
