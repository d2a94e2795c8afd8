"""Points in time as people write them: ISO 8601, or how long ago."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from listener.formats.durations import parse_duration

_DATE_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def parse_point_in_time(text: str, *, now: datetime) -> datetime:
    """A date or time in ISO 8601, which is local unless it says otherwise, or a duration such as ``2h`` before ``now``.

    Raises ValueError.
    """
    try:
        return _from_iso(text) or now - parse_duration(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{text!r} is neither a duration such as 2h nor a time such as 2026-05-01T08:30"
        ) from error


def parse_date_time(text: str) -> datetime | None:
    """A time with its zone (RFC 3339), the same on every machine; None for other text, and for leap seconds."""
    given = text.upper()
    try:
        return datetime.fromisoformat(given) if _DATE_TIME.fullmatch(given) else None
    except ValueError:  # such as the 30th of February
        return None


def _from_iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        return None
