"""Reads TOML, and writes its values as people do, for messages."""

from __future__ import annotations

import tomllib
from datetime import date, time, timedelta
from typing import Any


def parse_toml(text: str) -> dict[str, Any]:
    """Raises ValueError, also for an integer of thousands of digits, which no message could show."""
    document = tomllib.loads(text)
    str(document)  # Python refuses to write such an integer; TOML may have read it in hexadecimal
    return document


def toml_text(value: object) -> str:
    """A scalar in the syntax of TOML, and a duration as in settings; anything else as Python writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    return value.isoformat() if isinstance(value, date | time) else repr(value)
