"""Removes protections of the poller, for the twins of the fault tests: without a protection, its test must fail.

A program loads this through a ``sitecustomize`` module on its path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

NO_LIMIT = timedelta(days=1)


def _no_deadline() -> None:
    from listener.aliyun import mns_connection

    mns_connection.REPLY_TIMEOUT = NO_LIMIT


def _no_log_throttle() -> None:
    from listener.runtime import log_throttle

    log_throttle.INTERVAL = timedelta(0)


def _long_pauses() -> None:
    from listener.rules import backoff

    backoff.MNS_BACKOFF = backoff.Backoff(NO_LIMIT, NO_LIMIT)


def _no_rest() -> None:
    from listener.intake.poller import Poller

    def no_rest(_poller: Any, _found: int, _took: timedelta) -> timedelta:
        return timedelta(0)

    Poller._pause_after = no_rest  # type: ignore[method-assign,assignment]  # that is the sabotage


PROTECTIONS: Mapping[str, Callable[[], None]] = {
    "deadline": _no_deadline,
    "log-throttle": _no_log_throttle,
    "short-pauses": _long_pauses,
    "rest": _no_rest,
}


def take_away(*names: str) -> None:
    for name in names:
        PROTECTIONS[name]()
