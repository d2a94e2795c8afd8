"""The loggers of all modules: structlog's where the process has configured it, else the standard library's.

The daemon and the command line configure structlog. An application that uses the listener as a library may configure
either one; if it configures none, nothing is printed.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, cast

import structlog
from structlog.typing import FilteringBoundLogger

# Else the standard library prints warnings to standard error.
logging.getLogger("listener").addHandler(logging.NullHandler())


class ModuleLogger:
    """A logger that looks at each line which of the two is configured."""

    def __init__(self, name: str) -> None:
        self.configured = structlog.get_logger(name)
        self.standard = structlog.wrap_logger(
            logging.getLogger(name),
            processors=[structlog.contextvars.merge_contextvars, _as_text],
            wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.configured if structlog.is_configured() else self.standard, name)


def get_logger(name: str) -> FilteringBoundLogger:
    """The logger of a module, by the module's name."""
    return cast(FilteringBoundLogger, ModuleLogger(name))


def _as_text(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> tuple[tuple[str], dict[str, Any]]:
    """The arguments for a logger of the standard library: ``noun.past_participle name='value'``."""
    facts = {name: value for name, value in event.items() if name not in ("event", "exc_info")}
    text = " ".join([str(event["event"]), *(f"{name}={value!r}" for name, value in facts.items())])
    return (text,), {"exc_info": event.get("exc_info")}
