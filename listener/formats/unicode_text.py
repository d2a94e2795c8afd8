"""Text that every store, file and terminal can hold."""

from __future__ import annotations

from typing import Final

_REPLACEMENT: Final = "\ufffd"


def storable(text: str) -> str:
    """The text with NUL and lone surrogates replaced: PostgreSQL refuses the one, UTF-8 the other."""
    if "\0" in text:
        text = text.replace("\0", _REPLACEMENT)
    try:
        text.encode()
    except UnicodeEncodeError:
        # The round trip through UTF-16 first joins pairs that arrived as two characters.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def shortened(text: str, limit: int) -> str:
    """At most ``limit`` characters; an ellipsis shows that something was cut off."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
