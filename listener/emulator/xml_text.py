"""Text in the XML of replies, of both services."""

from __future__ import annotations

import re
from xml.sax import saxutils

#: What XML 1.0 cannot contain, not even as a reference.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Most texts have none of these.
SPECIAL = re.compile("[&<>\r]")
CARRIAGE_RETURN = {"\r": "&#13;"}


def escape(text: str) -> str:
    """Markup as entities, and a carriage return as a reference: parsers read a bare one as a line feed."""
    return saxutils.escape(text, CARRIAGE_RETURN) if SPECIAL.search(text) else text


def readable(text: str) -> str:
    """The text with U+FFFD for each character that would make the document ill-formed."""
    return NOT_XML.sub("\ufffd", text)
