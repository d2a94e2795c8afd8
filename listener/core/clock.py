"""The only place that reads the clock, so that tests can freeze it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The wall clock: an aware datetime in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds of the monotonic clock; only for intervals within this process."""
    return time.monotonic()
