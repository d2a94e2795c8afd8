"""What a test may change for the whole process, and how it is put back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from listener.core.log_backends import structlog_logger
from listener.core.logger import ModuleLogger


@contextmanager
def restored_process_state() -> Iterator[None]:
    """Put back the configuration of logging and the environment: the command line changes both."""
    logging_before, environment_before = structlog.get_config(), dict(os.environ)
    try:
        yield
    finally:
        structlog.configure(**logging_before)
        _forget_loggers()
        if os.environ != environment_before:
            os.environ.clear()
            os.environ.update(environment_before)


def _forget_loggers() -> None:
    """A logger keeps the configuration of its first use; without this, the next test would log with it."""
    structlog_logger.cache_clear()
    ModuleLogger.configure = None
