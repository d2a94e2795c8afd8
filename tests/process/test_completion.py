"""The completion script in a real bash: it offers commands, options and names."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.builders import a_job
from tests.support.program import Place

pytestmark = [pytest.mark.process, pytest.mark.fresh_interpreter]

PROGRAM = "from listener.cli import main; main(prog_name='mns-listener')"
#: What bash does when the tab key is pressed in the middle of a line.
PRESS = """
source {script}
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_mns_listener_completion mns-listener
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
ROUTES = """\
[[routes]]
name = "covers"
match = {{ route = "pictures" }}
handlers = [{{ use = "log" }}]

[[routes]]
name = "captions"
handlers = [{{ use = "log" }}]
"""


@pytest.fixture
def complete(place: Place) -> Callable[..., list[str]]:
    """``complete("jobs", "show", "ta")`` in the place's folder: what is offered for the last word."""
    binaries = place.folder / "bin"
    binaries.mkdir()
    command = binaries / "mns-listener"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{PROGRAM}" "$@"\n')
    command.chmod(0o755)
    environment = {"PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": place.path}
    script = place.folder / "completion.bash"
    script.write_text(bash(place.folder, environment, "mns-listener completion bash"))

    def press_tab(*words: str) -> list[str]:
        text = PRESS.format(script=script)
        return bash(place.folder, environment, text, "mns-listener", *words).splitlines()

    return press_tab


def bash(folder: Path, environment: dict[str, str], text: str, *words: str) -> str:
    """What it prints; it must say nothing else."""
    done = subprocess.run(
        ["bash", "--norc", "-c", text, "bash", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_the_tab_key_completes_commands_options_and_names(
    place: Place, complete: Callable[..., list[str]]
) -> None:
    place.settings(ROUTES)
    with place.store() as store:
        for number in range(2):
            store.add_job(a_job(token=f"{number:022}", job_id=f"job-{number}", reference=f"talk-{number}"))

    assert complete("qua") == ["quarantine"]
    assert complete("jobs", "sh") == ["show"]
    assert complete("jobs", "list", "--sta") == ["--state"]
    assert complete("jobs", "show", "talk-") == ["talk-0", "talk-1"]
    assert complete("jobs", "wait", "talk-0", "job-1") == ["job-1"]
    assert complete("results", "list", "--route", "c") == ["captions", "covers"]
    assert complete("-c", "listener.toml", "results", "list", "--queue", "") == ["mps-callbacks"]
    assert complete("submit", "CaptionE") == ["CaptionExtraction"]
    assert complete("submit", "Cover", "--route", "") == ["pictures"]


def test_where_nothing_can_be_offered_nothing_is_said(
    place: Place, complete: Callable[..., list[str]]
) -> None:
    (place.folder / "listener.toml").write_text("this is no TOML")

    assert complete("jobs", "show", "talk-") == [""]
    assert complete("results", "list", "--route", "") == [""]
