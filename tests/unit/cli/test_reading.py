"""Commands that read leave no store behind where there was none, nor any other file, wherever they are started."""

from __future__ import annotations

from pathlib import Path

import pytest

from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, decoded_messages, routes_all
from tests.support.command_line import Invoke
from tests.support.program import Place

READING = [
    pytest.param(*arguments, id="-".join(arguments[0][:2]))
    for arguments in (
        (["jobs", "list"],),
        (["jobs", "show", "talk-7"],),
        (["jobs", "wait", "talk-7"],),
        (["results", "list"],),
        (["deliveries", "list"],),
        (["deliveries", "show", "7"],),
        (["dead-letters", "list"],),
        (["dead-letters", "show", "7"],),
        (["quarantine", "list"],),
        (["store", "status"],),
        (["store", "export"],),
    )
]
#: These change what is in a store, and so there must be one.
CHANGING = [
    pytest.param(["deliveries", "retry", "7"], id="retry"),
    pytest.param(["deliveries", "cancel", "7"], id="cancel"),
    pytest.param(["dead-letters", "replay", "7"], id="replay"),
    pytest.param(["dead-letters", "drop", "7"], id="drop"),
    pytest.param(["results", "reroute"], id="reroute"),
    pytest.param(["reconcile", "--overdue"], id="reconcile"),
    pytest.param(["store", "vacuum"], id="vacuum"),
]


@pytest.mark.parametrize("arguments", [*READING, *CHANGING])
def test_a_store_that_does_not_exist_is_named_and_not_created(
    place: Place, invoke: Invoke, arguments: list[str]
) -> None:
    before = sorted(place.folder.iterdir())
    result = invoke(*arguments, store__url="sqlite:///elsewhere.db")

    assert (result.exit_code, result.stdout) == (78, "")
    assert f"there is no file {place.folder}/elsewhere.db; check store.url" in result.stderr
    assert sorted(place.folder.iterdir()) == before


@pytest.mark.parametrize("arguments", READING)
def test_nothing_is_written_beside_a_store_that_is_read(
    place: Place, invoke: Invoke, arguments: list[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in place.folder.iterdir()}
    invoke(*arguments)

    assert {path: path.stat().st_mtime_ns for path in place.folder.iterdir()} == before


def test_a_command_finds_the_store_beside_the_settings_from_any_folder(
    place: Place, invoke: Invoke, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ops = tmp_path_factory.mktemp("ops")
    (ops / "l.toml").write_text('[store]\nurl = "sqlite:///listener.db"\n')
    store = SqlStore.open(f"sqlite:///{ops}/listener.db")
    store.record(decoded_messages(2), routes_all(), at=NOON)
    store.close()
    elsewhere: Path = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    result = invoke("results", "list", "-c", str(ops / "l.toml"))

    assert (result.exit_code, result.stdout.count("\n")) == (0, 3)
    assert list(elsewhere.iterdir()) == []
