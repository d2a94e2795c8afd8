"""What the properties of a message may be, those of its sender and those of the service.

Limits are those of the page "message-properties" of the manual. By the same page, a NUMBER is not validated.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence

from listener.emulator.mns.errors import MnsError, range_text, schema_text

MAX_PROPERTIES = 50
MAX_VALUE = 4096
NAME = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
TYPES = ("STRING", "NUMBER", "BOOLEAN", "BINARY")


def check(block: str, items: Sequence[Mapping[str, str]]) -> None:
    """Raises MnsError InvalidArgument. ``block`` is the element that holds the items."""
    if len(items) > MAX_PROPERTIES:
        raise MnsError("InvalidArgument", range_text(block, 0, MAX_PROPERTIES, "properties"))
    for item in items:
        _check_item(*(item.get(key, "") for key in ("Name", "Type", "Value")))
    if len({item["Name"] for item in items}) < len(items):
        raise MnsError("InvalidArgument", schema_text(f"two of {block} have the same Name"))


def _check_item(name: str, kind: str, value: str) -> None:
    if not NAME.fullmatch(name):
        raise MnsError("InvalidArgument", schema_text(f"{name[:256]!r} is not the Name of a property"))
    if kind.upper() not in TYPES:
        raise MnsError("InvalidArgument", schema_text(f"the Type of {name} is none of {', '.join(TYPES)}"))
    if len(value) > MAX_VALUE:
        raise MnsError("InvalidArgument", range_text(name, 0, MAX_VALUE, "characters"))
    if kind.upper() == "BOOLEAN" and value.lower() not in {"true", "false"}:
        raise MnsError("InvalidArgument", schema_text(f"{name} is neither true nor false"))
    if kind.upper() == "BINARY" and not _is_base64(value):
        raise MnsError("InvalidArgument", schema_text(f"{name} is not base64"))


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: characters that are not ASCII
        return False
    return True
