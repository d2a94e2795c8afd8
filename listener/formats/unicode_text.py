"""Makes text safe for every database, file and terminal."""

from __future__ import annotations

import re
from typing import Final

_REPLACEMENT: Final = "\ufffd"
#: What a terminal interprets or hides: control characters (C0, DEL, C1), line separators, the controls that reorder
#: bidirectional text, and surrogates.
_INVISIBLE: Final = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def storable(text: str) -> str:
    """The text with NUL and lone surrogates replaced: PostgreSQL rejects the former, UTF-8 the latter."""
    if "\0" in text:
        text = text.replace("\0", _REPLACEMENT)
    try:
        text.encode()
    except UnicodeEncodeError:
        # The round trip through UTF-16 first joins surrogate pairs that arrived as two characters.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def shortened(text: str, limit: int) -> str:
    """At most ``limit`` characters; an ellipsis marks truncated text."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def visible(text: str) -> str:
    """The text in one line, with escapes for what would otherwise control the terminal that shows it."""
    return _INVISIBLE.sub(_escape, text)


def visible_lines(text: str) -> str:
    """The same, except that line breaks are kept."""
    return "\n".join(map(visible, text.split("\n")))


def visible_json(document: str) -> str:
    """The same JSON value, written with escapes that JSON has."""
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return _SHORT_ESCAPES.get(found[0]) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
