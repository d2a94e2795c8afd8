"""What a test may change for the whole process, and how it is put back."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from listener.core.logger import ModuleLogger


@contextmanager
def restored_process_state() -> Iterator[None]:
    """Put back the configuration of logging and the environment: the command line changes both."""
    logging_before, environment_before = structlog.get_config(), dict(os.environ)
    try:
        yield
    finally:
        structlog.configure(**logging_before)
        _forget_cached_loggers()
        if os.environ != environment_before:
            os.environ.clear()
            os.environ.update(environment_before)


def _forget_cached_loggers() -> None:
    """A module's logger keeps the configuration of its first use; without this, the next test would log with it."""
    lazy = type(structlog.get_logger())
    for name, module in list(sys.modules.items()):
        logger = getattr(module, "log", None) if name.startswith("listener") else None
        if isinstance(logger, ModuleLogger):
            logger = logger.configured
        if isinstance(logger, lazy):
            vars(logger).pop("bind", None)
