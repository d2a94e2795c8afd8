"""Points in time as people write them: ISO 8601, or how long ago."""

from __future__ import annotations

from datetime import datetime

from listener.formats.durations import parse_duration


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


def _from_iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        return None
