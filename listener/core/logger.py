"""The loggers of all modules: structlog's where the process has configured it, else the standard library's.

The daemon and the command line configure structlog. An application that uses the listener as a library may configure
either one; if it configures none, nothing is printed. Most commands log nothing, so the first line imports structlog.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.core import log_backends

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


class ModuleLogger:
    """A logger that looks at each line which of the two is configured."""

    #: Configures structlog before a line is logged, where nothing else has done so.
    configure: Callable[[], object] | None = None

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        return getattr(log_backends.backend(self._name, configure=ModuleLogger.configure), method)


def get_logger(name: str) -> FilteringBoundLogger:
    """The logger of a module, by the module's name."""
    return cast("FilteringBoundLogger", ModuleLogger(name))


def configure_at_first_line(configure: Callable[[], object]) -> None:
    """Call this before the first line of the log, unless structlog is configured by then."""
    ModuleLogger.configure = staticmethod(configure)
