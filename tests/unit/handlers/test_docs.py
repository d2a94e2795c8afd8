"""docs/handlers.md says what the code does."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

from listener import Retry
from listener.core.model import JobResult
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.dispatch.handler_loader import available, load, options_of
from tests.support import ROOT
from tests.support.packages import install
from tests.support.results import a_job_result

PAGE = (ROOT / "docs" / "handlers.md").read_text("utf-8")
BUILT_IN = sorted(
    name for name, point in available().items() if point.module.startswith("listener.handlers.")
)


def _section(name: str) -> str:
    return PAGE.split(f"\n### `{name}`\n")[1].split("\n### ")[0].split("\n## ")[0]


def _block(language: str) -> str:
    return PAGE.split(f"```{language}\n")[1].split("```")[0]


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_option_of_every_built_in_handler_is_documented_and_no_other(name: str) -> None:
    table = _section(name).split("| option |")[1].split("\n\n")[0]

    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(options_of(name))


def test_every_built_in_handler_has_a_section_and_no_other() -> None:
    assert re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE) == BUILT_IN


def test_every_key_of_the_document_is_named() -> None:
    paragraph = PAGE.split("## The document")[1].split("\n## ")[0]

    assert [name for name in JobResult.__dataclass_fields__ if f"`{name}`" not in paragraph] == []


def test_the_example_plug_in_works_and_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = ConfigParser()
    setup.read_string(_block("ini"))
    points = f"[mns_listener.handlers]{setup['options.entry_points']['mns_listener.handlers']}\n"
    install(monkeypatch, tmp_path, "shout", source=_block("python"), points=points)
    runner = CoroutineRunner()
    handler = load("shout", {"to": "ops", "pause": "1m"}, where="here")

    with pytest.raises(Retry):
        runner.run(handler, a_job_result(state="Fail"))
    runner.run(handler, a_job_result(job_id="one"))
    runner.close()

    assert capsys.readouterr().out == "ops: one is Success\n"
    assert len((_block("python") + _block("ini")).strip().splitlines()) < 20
