"""Write every result to the listener's own log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

import structlog

from listener import JobResult

#: The log says what happened; the vendor's whole text and the decoded copy of the user data would drown it.
_LEFT_OUT = frozenset({"raw", "data"})


def log(*, level: Literal["debug", "info", "warning", "error"] = "info") -> Callable[[JobResult], None]:
    """Build a handler that writes one line ``result.received`` for each result, empty fields left out."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logger = structlog.get_logger("listener.handlers.log")

    def write(result: JobResult) -> None:
        fields = {name: value for name, value in result.as_dict().items() if value and name not in _LEFT_OUT}
        logger.log(number, "result.received", **fields)

    return write
