"""``mns-listener store`` in this process, on both databases."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from listener.cli import main
from listener.store import schema
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, decoded_messages, routes_all
from tests.support.cases import each_case
from tests.support.stores import EMPTY

SETTINGS_ERROR = 78
Call = Callable[..., Result]


@pytest.fixture(params=EMPTY)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return EMPTY[request.param](tmp_path)


@pytest.fixture
def call(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"MNS_LISTENER_STORE__URL": url})
    return lambda *arguments, **environment: runner.invoke(main, ["store", *arguments], env=environment)


def fill(url: str, number: int = 3) -> None:
    store = SqlStore.open(url)
    store.record(decoded_messages(number), routes_all(), at=NOON)
    store.close()


def test_upgrade_makes_the_store_and_then_finds_nothing_to_do(call: Call) -> None:
    first, second = call("upgrade"), call("upgrade")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert f"schema none → {schema.HEAD}" in first.stdout
    assert "up to date" in second.stdout


def test_status_reports_counts_and_sizes(call: Call, url: str) -> None:
    fill(url)

    message = json.loads(call("status", "--json").stdout)
    display_url = call("status").stdout

    assert message["rows"]["deliveries"] == {"pending": 3}
    assert (message["schema"], message["head"], message["hint"]) == (schema.HEAD, schema.HEAD, "")
    assert message["oldest_pending"] == NOON.isoformat()
    assert message["bytes_per_job"] == message["bytes"] // 3
    assert "3 pending" in display_url
    assert re.search(r"size per job +[\d.]+ [kM]B$", display_url, re.MULTILINE)
    assert "hint" not in display_url


def test_status_never_shows_the_password(call: Call, url: str) -> None:
    fill(url)
    secret = url.replace("listener@", "listener:testKeySecret@")

    result = call("status", MNS_LISTENER_STORE__URL=secret)

    assert result.exit_code == 0
    assert "testKeySecret" not in result.output


def test_vacuum_says_what_it_gained(call: Call, url: str) -> None:
    fill(url)

    result = call("vacuum")

    assert result.exit_code == 0
    assert " MB → " in result.stdout


def test_export_writes_every_row(call: Call, url: str, tmp_path: Path) -> None:
    fill(url)
    display_url = call("export")
    written = call("export", "--output", "all.jsonl")

    assert (display_url.exit_code, written.exit_code) == (0, 0)
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    assert lines == display_url.stdout.splitlines()
    assert [json.loads(line)["table"] for line in lines] == ["results"] * 3 + ["deliveries"] * 3


def test_what_there_is_not_cannot_be_exported(call: Call) -> None:
    result = call("export")

    assert result.exit_code == SETTINGS_ERROR
    assert "`mns-listener store upgrade`" in result.stderr


@each_case(
    ("url_given", "message"),
    [
        pytest.param("mysql://u@h/n", "use sqlite:///… or postgresql://…", id="unsupported"),
        pytest.param("postgresql+pg8000://u@h/n", "pip install 'mns-listener[postgres]'", id="driver"),
    ],
)
@each_case("command", ["status", "upgrade", "vacuum", "export"])
def test_every_command_says_what_to_do_about_the_database(
    call: Call, command: str, url_given: str, message: str
) -> None:
    result = call(command, MNS_LISTENER_STORE__URL=url_given)

    assert result.exit_code == SETTINGS_ERROR
    assert message in result.stderr
