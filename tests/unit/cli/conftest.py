"""The command line in this process, since starting a new one for every call would take minutes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from listener.cli import main
from listener.runtime import log_setup
from tests.support.command_line import Invoke
from tests.support.program import Place, configured_place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with configured_place(tmp_path) as here:
        yield here


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """``invoke("jobs", "list", http__listen="")`` in the test's folder, where ``listener.toml`` is found."""
    monkeypatch.chdir(tmp_path)
    # It sets up the logs of the whole process, and so of every test that follows.
    monkeypatch.setattr(log_setup, "configure", lambda **_options: None)

    def call(*arguments: str, **settings: str) -> Result:
        environment = {f"MNS_LISTENER_{name.upper()}": value for name, value in settings.items()}
        with capture_logs():
            return CliRunner(env=environment).invoke(main, list(arguments), prog_name="mns-listener")

    return call


@pytest.fixture
def printed(invoke: Invoke) -> Callable[..., Any]:
    """What a command prints with ``--json``; it must be JSON and nothing else."""

    def call(*arguments: str, exit_code: int = 0, **settings: str) -> Any:
        result = invoke(*arguments, "--json", **settings)
        assert result.exit_code == exit_code, result.output
        return json.loads(result.stdout)

    return call
