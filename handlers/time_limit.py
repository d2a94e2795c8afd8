"""The timeout of a call, shortened so that the call ends before the listener considers it hung."""

from __future__ import annotations

from datetime import timedelta

from listener import time_left

#: How much earlier, so that there is time to clean up; but at most a fifth of the time that is left.
_MARGIN = timedelta(seconds=10)


def time_limit(timeout: timedelta) -> timedelta:
    """``timeout``, or less if ``dispatch.handler_timeout`` leaves less for the running call."""
    left = time_left()
    return timeout if left is None else min(timeout, left - min(_MARGIN, left / 5))
