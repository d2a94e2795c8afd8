"""The JSON document that handlers hand on: one result, in one line."""

from __future__ import annotations

import json

from listener import JobResult


def document(result: JobResult) -> bytes:
    """The result as one JSON object in UTF-8, without a line break."""
    text = json.dumps(result.as_dict(), ensure_ascii=False, separators=(",", ":"))
    # A callback may hold half a surrogate pair, which UTF-8 can't carry; what replaces it is its JSON escape.
    return text.encode("utf-8", "backslashreplace")
