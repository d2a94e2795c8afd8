"""Makes text safe for every database, file and terminal."""

from __future__ import annotations

from typing import Final

_REPLACEMENT: Final = "\ufffd"


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
