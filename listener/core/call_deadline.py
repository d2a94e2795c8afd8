"""How much time the running call of a handler has left.

A call cannot be interrupted from outside, but it can limit itself.
"""

from __future__ import annotations

from contextvars import ContextVar
from datetime import timedelta

from listener.core import clock

_deadline: ContextVar[float | None] = ContextVar("call_deadline", default=None)


def set_call_deadline(limit: timedelta) -> None:
    """A call of a handler begins in this thread, and may take this long; the next call replaces it."""
    _deadline.set(clock.monotonic() + limit.total_seconds())


def time_left() -> timedelta | None:
    """How long the call that is running in this thread or coroutine may still take until ``dispatch.handler_timeout``.

    Zero or less if it has taken longer; None outside of a handler's call.
    """
    deadline = _deadline.get()
    return None if deadline is None else timedelta(seconds=deadline - clock.monotonic())
