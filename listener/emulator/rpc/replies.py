"""Replies to RPC calls, in XML and JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from listener.emulator.messages import Reply
from listener.emulator.rpc.call import Document
from listener.emulator.xml_text import escape, readable

ELEMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def reply(status: int, document: Document, *, root: str, as_json: bool) -> Reply:
    if as_json:
        body = json.dumps(document, ensure_ascii=False)
        return Reply(
            status=status, body=body.encode("utf-8", "replace"), content_type="application/json;charset=utf-8"
        )
    text = f'<?xml version="1.0" encoding="UTF-8"?>{_xml(root, document)}'
    return Reply(
        status=status, body=text.encode("utf-8", "replace"), content_type="application/xml;charset=utf-8"
    )


def _xml(name: str, value: Any) -> str:
    """Render a JSON value as XML, as the gateway does: a list repeats its element.

    Members whose name cannot be an element's are left out; they come from the JSON of a caller.
    """
    if not ELEMENT.fullmatch(name):
        return ""
    if isinstance(value, list):
        return "".join(_xml(name, item) for item in value)
    if isinstance(value, dict):
        inner = "".join(_xml(*item) for item in value.items())
    else:
        inner = escape(readable(str(value).lower() if isinstance(value, bool) else str(value)))
    return f"<{name}>{inner}</{name}>"
