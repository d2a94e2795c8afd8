"""Where lines of the log go: to structlog where the process has configured it, else to the standard library."""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from functools import cache
from typing import Any

import structlog

# Else the standard library prints warnings to standard error.
logging.getLogger("listener").addHandler(logging.NullHandler())


def backend(name: str, *, configure: Callable[[], object] | None) -> Any:
    """The logger for one line; ``configure`` is called first if structlog is not configured."""
    if configure is not None and not structlog.is_configured():
        configure()
    return structlog_logger(name) if structlog.is_configured() else standard_logger(name)


@cache
def structlog_logger(name: str) -> Any:
    return structlog.get_logger(name)


@cache
def standard_logger(name: str) -> Any:
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.contextvars.merge_contextvars, _as_text],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
    )


def _as_text(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> tuple[tuple[str], dict[str, Any]]:
    """The arguments for a logger of the standard library: ``noun.past_participle name='value'``."""
    facts = {name: value for name, value in event.items() if name not in ("event", "exc_info")}
    text = " ".join([str(event["event"]), *(f"{name}={value!r}" for name, value in facts.items())])
    return (text,), {"exc_info": event.get("exc_info")}
