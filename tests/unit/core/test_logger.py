"""Where the lines of the listener go when an application uses it as a library."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.forked import run_source

#: What an application may do first, and what it then sees of the new store and of a warning.
USE = """
from listener import Client
from listener.core.logger import get_logger
from listener.settings.sections import Settings

Client(Settings(store={"url": "sqlite:///new.db"})).close()
get_logger("listener.somewhere").warning("thing.happened", name="早", count=1)
try:
    raise LookupError("why")
except LookupError:
    get_logger("listener.somewhere").exception("thing.crashed")
"""


def printed(folder: Path, *, first: str = "") -> tuple[str, str]:
    """Standard output and standard error of an application."""
    done = run_source(first + USE, folder, os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_nothing_is_printed_unless_the_application_configures_logging(tmp_path: Path) -> None:
    assert printed(tmp_path) == ("", "")


def test_lines_go_to_the_standard_library_if_that_is_configured(tmp_path: Path) -> None:
    first = "import logging; logging.basicConfig(level='INFO', format='%(levelname)s %(name)s %(message)s')"

    out, err = printed(tmp_path, first=first)

    lines = [line for line in err.splitlines() if " alembic." not in line]
    assert out == ""
    assert lines[0].startswith("INFO listener.store.schema schema.upgraded store='sqlite:///")
    assert lines[1] == "WARNING listener.somewhere thing.happened name='早' count=1"
    assert (lines[2], lines[-1]) == ("ERROR listener.somewhere thing.crashed", "LookupError: why")


def test_lines_go_to_structlog_if_that_is_configured(tmp_path: Path) -> None:
    first = "import structlog; structlog.configure(processors=[structlog.processors.KeyValueRenderer()])"

    out, err = printed(tmp_path, first=first)

    assert "to_version='" in out
    assert "name='早' count=1 event='thing.happened'" in out
    assert err == ""
