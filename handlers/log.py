"""Write every result to the listener's own log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

import structlog

from listener import JobResult

#: Omitted for readability: the version of the document, the original text of the callback, and the decoded copy of the
#: user data.
_OMITTED = frozenset({"schema", "raw", "data"})


def log(*, level: Literal["debug", "info", "warning", "error"] = "info") -> Callable[[JobResult], None]:
    """Build a handler that writes one line ``result.received`` per result, without empty fields."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logger = structlog.get_logger("listener.handlers.log")

    def write(result: JobResult) -> None:
        fields = {
            name: value for name, value in result.to_document().items() if value and name not in _OMITTED
        }
        logger.log(number, "result.received", **fields)

    return write
