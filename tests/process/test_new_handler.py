"""The package that ``new-handler`` writes: its own tests pass, and the daemon calls its handler."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.packages import an_environment, pip_install
from tests.support.program import Place

pytestmark = pytest.mark.process

ROUTE = """\
[[routes]]
name = "notes"
handlers = [{{ use = "cover-notes", path = "{folder}/notes.db" }}]
"""


@pytest.fixture
def package(place: Place) -> Path:
    """A new package, as the command writes it."""
    program = place.start("new-handler", "cover-notes")
    assert program.wait() == 0, program.stderr
    return place.folder / "cover-notes"


def test_its_tests_pass_before_anything_is_changed(package: Path, place: Place) -> None:
    environment = {**os.environ, "PYTHONPATH": place.path}

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=package,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_a_daemon_calls_the_handler_once_it_is_installed(
    package: Path, place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = tmp_path_factory.mktemp("environment")
    pip_install(an_environment(environment), package)
    (installed,) = environment.glob("lib/python*/site-packages")
    place.settings(ROUTE)
    place.send("job-1", "job-2")
    place.send("job-1")

    daemon = place.run("--drain", PYTHONPATH=os.pathsep.join((str(installed), place.path)))

    assert daemon.wait() == 0, daemon.stderr
    with closing(sqlite3.connect(place.folder / "notes.db")) as notes:
        assert sorted(notes.execute("SELECT job_id, state FROM results")) == [
            ("job-1", "Success"),
            ("job-2", "Success"),
        ]
