"""Configures logging: JSON lines, or colours on a terminal; secrets are masked."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

#: Fields whose values are always masked.
SECRET = frozenset({"secret", "access_key_secret", "security_token", "authorization", "password"})


def configure(*, level: str = "info", format: str = "auto", stream: TextIO | None = None) -> None:
    """Configure logging for the whole process. Called once by the command line.

    ``level`` is debug, info, warning or error; ``format`` is json, console, or auto: console on a terminal.
    """
    out = stream or sys.stderr
    # Suppress the logs of libraries: the credentials package logs a traceback for every provider it tries.
    logging.getLogger().addHandler(logging.NullHandler())
    plain = format == "json" or (format == "auto" and not out.isatty())
    structlog.configure(
        processors=_json() if plain else _console(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )


def _json() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(sort_keys=False, default=str),
    ]


def _console() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        hide_secrets,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]


def hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask the values of secret fields."""
    for name in event.keys() & SECRET:
        event[name] = "***"
    return event
