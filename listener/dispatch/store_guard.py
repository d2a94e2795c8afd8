"""Keeps the loops of dispatch running while the store is unavailable, and after an internal error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from listener.core.errors import StoreUnavailable
from listener.core.logger import get_logger

log = get_logger(__name__)

Value = TypeVar("Value")


class StoreGuard:
    """One for all loops. Safe to use from several threads."""

    def attempt(self, doing: str, call: Callable[[], Value]) -> Value | None:
        """The result of the call; None if the store is unavailable or the call failed because of a bug in mns-listener.

        The store's observer logs the former. The latter is logged here; ``doing`` names the step in this line.
        """
        try:
            return call()
        except StoreUnavailable:
            return None
        except Exception:  # a bug in mns-listener must not end the loop
            log.exception("dispatch.crashed", doing=doing)
        return None
