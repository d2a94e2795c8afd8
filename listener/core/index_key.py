"""Text of any length as a value that every database can index."""

from __future__ import annotations

import hashlib
from typing import Final

#: An id of 256 characters, each of four bytes, is never shortened. PostgreSQL indexes at most 2,704 bytes.
MAX_BYTES: Final = 1024
#: How many characters of a longer text stay readable.
READABLE: Final = 64


def index_key(text: str) -> str:
    """The text itself; if it is too long for an index, its beginning and its SHA-256. Always the same for one text."""
    if 4 * len(text) <= MAX_BYTES:
        return text
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) <= MAX_BYTES:
        return text
    return f"{text[:READABLE]}…sha256:{hashlib.sha256(encoded).hexdigest()}"
