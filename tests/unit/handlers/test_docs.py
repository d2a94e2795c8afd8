"""docs/handlers.md says what the code does."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from listener.core.model import JobResult
from listener.dispatch.handler_loader import available, options_of
from tests.support import ROOT
from tests.support.forked import run_source
from tests.support.packages import installed

PAGE = (ROOT / "docs" / "handlers.md").read_text("utf-8")
BUILT_IN = sorted(
    name for name, point in available().items() if point.module.startswith("listener.handlers.")
)


def _section(name: str) -> str:
    return PAGE.split(f"\n### `{name}`\n")[1].split("\n### ")[0].split("\n## ")[0]


def _block(language: str) -> str:
    return PAGE.split(f"```{language}\n")[1].split("```")[0]


def _package_file() -> str:
    return PAGE.split("`pyproject.toml`:\n\n```toml\n")[1].split("```")[0]


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_option_of_every_built_in_handler_is_documented_and_no_other(name: str) -> None:
    table = _section(name).split("| option |")[1].split("\n\n")[0]

    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(options_of(name))


def test_every_built_in_handler_has_a_section_and_no_other() -> None:
    assert re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE) == BUILT_IN


def test_every_key_of_the_document_is_named() -> None:
    paragraph = PAGE.split("## The document")[1].split("\n## ")[0]

    assert [name for name in JobResult.__dataclass_fields__ if f"`{name}`" not in paragraph] == []


CALL_SHOUT = """
from listener import JobResult, Retry
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.dispatch.handler_loader import load

handler, runner = load("shout", {"to": "ops", "pause": "1m"}, where="here"), CoroutineRunner()
try:
    runner.run(handler, JobResult(job_id="one", state="Fail"))
except Retry as error:
    print(error.after)
runner.run(handler, JobResult(job_id="one", state="Success"))
"""


def test_the_example_plug_in_can_be_installed_and_works_and_is_short(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "shout.py").write_text(_block("python"), "utf-8")
    (package / "pyproject.toml").write_text(_package_file(), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(installed(package, tmp_path))}

    done = run_source(CALL_SHOUT, tmp_path, environment)

    assert (done.stdout, done.stderr) == ("0:01:00\nops: one is Success\n", "")
    assert len((_block("python") + _package_file()).strip().splitlines()) < 20
