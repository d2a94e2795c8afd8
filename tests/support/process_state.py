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
    logging_before, environment_before = structlog.get_config(), _environment()
    try:
        yield
    finally:
        structlog.configure(**logging_before)
        _forget_loggers()
        if (environment := _environment()) != environment_before:
            for name in environment.keys() - environment_before.keys():
                del os.environ[name]
            os.environ.update(environment_before)


def _environment() -> dict[str, str]:
    """Without the name of the phase of the test, which pytest changes all the time and takes away itself."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def _forget_loggers() -> None:
    """A logger keeps the configuration of its first use; without this, the next test would log with it."""
    structlog_logger.cache_clear()
    ModuleLogger.configure = None
