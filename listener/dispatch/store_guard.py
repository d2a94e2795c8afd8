"""Keeps the loops of dispatch running while the store is unavailable, and after an internal error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog

from listener.core.errors import StoreUnavailable
from listener.runtime.log_throttle import ThrottledLog

log = structlog.get_logger(__name__)

Value = TypeVar("Value")


class StoreGuard:
    """One for all loops, so that one outage of the store is logged once. Safe to use from several threads."""

    def __init__(self) -> None:
        self._warnings = ThrottledLog(log)

    def attempt(self, doing: str, call: Callable[[], Value]) -> Value | None:
        """The result of the call; None if the store is unavailable or the call failed because of a bug in mns-listener.

        Both are logged; ``doing`` names the step in these lines.
        """
        try:
            return call()
        except StoreUnavailable as error:
            self._warnings.warning("store.unavailable", doing=doing, error=str(error))
        except Exception:  # a bug in mns-listener must not end the loop
            log.exception("dispatch.crashed", doing=doing)
        return None
