"""Configures logging: JSON lines, or colours on a terminal; secrets are masked."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import textwrap
from collections.abc import MutableMapping
from typing import Any, ClassVar, Final, TextIO

from listener.core.lazy_imports import hidden_package
from listener.formats.unicode_text import visible, visible_lines

with hidden_package("rich"):  # 4 MB, for tracebacks that are not used here
    import structlog
    from structlog.typing import ExcInfo, Processor

#: Fields whose values are always masked.
SECRET = frozenset({"secret", "access_key_secret", "security_token", "authorization", "password"})

#: How lines of JSON begin.
FIRST = ("timestamp", "level", "event")


def configure(*, level: str = "info", format: str = "auto", stream: TextIO | None = None) -> None:
    """Configure logging for the whole process. Called by the command line only.

    ``level`` is debug, info, warning or error; ``format`` is json, console, or auto: console on a terminal.
    """
    out = stream or sys.stderr
    # Suppress the logs of libraries: the credentials package logs a traceback for every provider it tries.
    logging.getLogger().addHandler(logging.NullHandler())
    plain = format == "json" or (format == "auto" and not out.isatty())
    set_level(level)
    structlog.configure(
        processors=_json() if plain else _console(),
        wrapper_class=_Logger,
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )


def set_level(level: str) -> None:
    """Log from this level on, also through loggers that were used before."""
    _Logger.level = _LEVELS[level]


_LEVELS: Final = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}
#: Loggers are cached with their class, so the class must be the same for every level.
_EveryLevel: Any = structlog.make_filtering_bound_logger(logging.NOTSET)


class _Logger(_EveryLevel):  # type: ignore[misc]  # mypy knows no base that structlog makes at run time
    """A line that cannot be rendered or written must not end the work that it is about."""

    level: ClassVar[int] = logging.INFO

    def is_enabled_for(self, level: int) -> bool:
        return level >= self.level

    def get_effective_level(self) -> int:
        return self.level

    def _proxy_to_logger(self, method_name: str, event: str | None = None, **fields: Any) -> Any:
        if _LEVELS[method_name] < self.level:
            return None
        try:
            return super()._proxy_to_logger(method_name, event, **fields)
        except Exception as error:  # from a field's own __str__ or __repr__, or a full disk
            failed = event
            event = "log.failed"
            with contextlib.suppress(Exception):
                super()._proxy_to_logger("error", event, about=failed, error=type(error).__name__)


def _json() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
        structlog.processors.format_exc_info,
        put_first,
        structlog.processors.JSONRenderer(sort_keys=False, default=str),
    ]


def _console() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        hide_secrets,
        escape_controls,
        structlog.dev.ConsoleRenderer(exception_formatter=_write_traceback),
    ]


def hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask the values of secret fields."""
    for name in event.keys() & SECRET:
        event[name] = "***"
    return event


def put_first(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Start each line with what its readers look for first: time, level and event."""
    return {name: event[name] for name in FIRST if name in event} | dict(event)


def escape_controls(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Show what callbacks and user data contain, instead of having the terminal act on it. For texts: the renderer
    writes other values as Python literals, which have escapes."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = visible(value)
    return event


def _write_traceback(out: TextIO, exc_info: ExcInfo) -> None:
    """Indented, so that a line of an error's text does not look like a line of the log."""
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    out.write(textwrap.indent(visible_lines(text.getvalue()), "  "))
