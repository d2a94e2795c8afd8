"""Durations as text in settings: ``30s``, ``5m``, ``1h30m``, ``250ms``, ``2d``."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field

FORMS = 'a number of seconds or text such as "250ms", "30s", "5m", "1h30m" or "2d"'

_TEXT = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms])\s*)+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])", re.ASCII)
_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}


def parse_duration(text: str) -> timedelta:
    """Parse ``1h30m`` and the like; a bare number is seconds, since environment variables are always text.

    Raises ValueError, which names the value and the valid forms. Never negative.
    """
    stripped = text.strip()
    try:
        return _sum_of_parts(stripped) if _TEXT.fullmatch(stripped) else _seconds(float(stripped))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a valid duration; use {FORMS}") from error


def to_duration(value: object) -> timedelta:
    """Convert a value from a settings file or a caller to a duration. Raises ValueError."""
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, timedelta) and value >= timedelta(0):
        return value
    try:
        # In Python True is an int, but `timeout = true` is an error.
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _seconds(value)
    except (ValueError, OverflowError):
        pass  # reported below, with the value
    raise ValueError(f"{value!r} is not a valid duration; use {FORMS}")


Duration = Annotated[timedelta, BeforeValidator(to_duration)]
"""A timedelta for pydantic models and handler options, never negative."""

PositiveDuration = Annotated[Duration, Field(gt=timedelta(0))]
"""The same, but not zero, e.g. for a time limit."""


def _sum_of_parts(text: str) -> timedelta:
    return sum((float(number) * _UNITS[unit] for number, unit in _PART.findall(text)), timedelta(0))


def _seconds(number: float) -> timedelta:
    if not math.isfinite(number) or number < 0:
        raise ValueError(number)
    return timedelta(seconds=number)
