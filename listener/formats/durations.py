"""Durations as text in settings: ``30s``, ``5m``, ``1h30m``, ``250ms``, ``2d``."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from listener.formats.toml_text import toml_text
from listener.formats.unicode_text import shortened

#: Beyond any sensible setting, and few enough that the current time plus several of them is a valid timestamp.
MAX_DURATION = timedelta(days=3650)

FORMS = 'a number of seconds or text such as "250ms", "30s", "5m", "1h30m" or "2d"'

#: How much of a rejected value an error repeats.
_SHOWN = 80
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

    Raises ValueError, which names the value and the valid forms or the bound. Never negative.
    """
    return to_duration(text)


def to_duration(value: object) -> timedelta:
    """Convert text, a number of seconds or a timedelta, e.g. from a settings file. Raises ValueError."""
    try:
        found = _of_text(value.strip()) if isinstance(value, str) else _of_number(value)
    except OverflowError:
        found = timedelta.max
    except (ValueError, TypeError) as error:
        raise ValueError(f"{_shown(value)} is not a valid duration; use {FORMS}") from error
    if found > MAX_DURATION:
        raise ValueError(f"{_shown(value)} is too long; use at most {MAX_DURATION.days}d")
    return found


def duration_text(duration: timedelta) -> str:
    """In the form that ``parse_duration`` reads, cut to two neighbouring units: ``4d``, ``1h30m``, ``30s``."""
    seconds = round(duration.total_seconds())
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        parts.append(f"{count}{unit}" if count else "")
    first = next((place for place, part in enumerate(parts) if part), len(parts))
    return "".join(parts[first : first + 2]) or "0s"


def span_text(duration: timedelta) -> str:
    """The same with milliseconds below a second: ``250ms``, ``45s``, ``3m20s``, ``2d4h``."""
    milliseconds = round(duration / timedelta(milliseconds=1))
    return f"{milliseconds}ms" if 0 < milliseconds < 1000 else duration_text(duration)


def _shown(value: object) -> str:
    return shortened(toml_text(value), _SHOWN)


def _of_text(text: str) -> timedelta:
    if not _TEXT.fullmatch(text):
        return _of_number(float(text))
    return sum((float(number) * _UNITS[unit] for number, unit in _PART.findall(text)), timedelta(0))


def _of_number(value: object) -> timedelta:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    # In Python True is an int, but `timeout = true` is an error.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    if not math.isfinite(value) or value < 0:
        raise ValueError(value)
    return timedelta(seconds=value)


Duration = Annotated[timedelta, BeforeValidator(to_duration)]
"""A timedelta for pydantic models and handler options, never negative, at most MAX_DURATION."""


def between(shortest: str, longest: str) -> AfterValidator:
    """Narrower bounds: ``Annotated[Duration, between("2s", "1d")]``."""
    low, high = parse_duration(shortest), parse_duration(longest)

    def verified(value: timedelta) -> timedelta:
        if not low <= value <= high:
            raise ValueError(f"must be between {shortest} and {longest}")
        return value

    return AfterValidator(verified)


#: Sockets and selectors reject a timeout of more than 24 days.
PositiveDuration = Annotated[Duration, between("1ms", "7d")]
"""The same, but not zero and at most 7 days, e.g. for a time limit."""
