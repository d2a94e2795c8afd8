"""The only place that reads the clock, so that tests can freeze it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

# Only Linux has this clock. Elsewhere a suspension looks like a jump of the wall clock.
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> datetime:
    """The wall clock: an aware datetime in UTC."""
    return datetime.now(UTC)


def timestamp() -> float:
    """The wall clock in seconds since 1970: ``now().timestamp()``, for what asks often."""
    return time.time()


def monotonic() -> float:
    """Seconds of the monotonic clock; only for intervals within this process."""
    return time.monotonic()


def process_cpu() -> float:
    """Seconds of CPU time that this process has used."""
    return time.process_time()


def thread_cpu() -> float:
    """Seconds of CPU time that this thread has used."""
    return time.thread_time()


def uptime() -> timedelta:
    """The time since boot, including that for which the machine was suspended; to be compared with the wall clock."""
    return timedelta(seconds=uptime_seconds())


def uptime_seconds() -> float:
    """The same in seconds, for what asks often."""
    return time.clock_gettime(_UPTIME)
