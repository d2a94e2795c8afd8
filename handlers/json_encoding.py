"""A result as JSON text, for handlers that pass it on to other programs."""

from __future__ import annotations

import json

from listener import JobResult


def json_bytes(result: JobResult) -> bytes:
    """The result as one JSON object in UTF-8, without a line break."""
    text = json.dumps(result.to_document(), ensure_ascii=False, separators=(",", ":"))
    # A callback may contain a lone surrogate, which is not valid UTF-8; it is replaced by its JSON escape.
    return text.encode("utf-8", "backslashreplace")
