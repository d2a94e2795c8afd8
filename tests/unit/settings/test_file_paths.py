"""Relative paths in a settings file do not depend on the folder in which a command is started."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from listener.core.errors import SettingsError
from listener.dispatch import handler_loader
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.dispatch.handlers import Handlers
from listener.settings.loader import settings_from
from listener.settings.sections import Settings
from tests.support.results import a_job_result

EVERY_PATH = """
[store]
url = "sqlite:///data/listener.db?timeout=5"

[http]
listen = "unix:http.sock"

[credentials]
access_key_id_file = "id"
access_key_secret_file = "../secret"

[tenants.other.credentials]
access_key_id_file = "other/id"
access_key_secret_file = "/run/other/secret"
"""


@pytest.fixture
def ops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the settings file, which is not the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "ops"
    folder.mkdir()
    return folder


def settings_in(folder: Path, text: str) -> Settings:
    (folder / "l.toml").write_text(text)
    return settings_from(os.path.relpath(folder / "l.toml"))


def test_every_path_setting_is_relative_to_the_file(ops: Path) -> None:
    settings = settings_in(ops, EVERY_PATH)

    assert settings.store.url == f"sqlite:///{ops}/data/listener.db?timeout=5"
    assert settings.http.listen == f"unix:{ops}/http.sock"
    assert settings.credentials.access_key_id_file == ops / "id"
    assert settings.credentials.access_key_secret_file == ops / "../secret"
    other = settings.tenant("other").credentials
    assert (other.access_key_id_file, other.access_key_secret_file) == (
        ops / "other/id",
        Path("/run/other/secret"),
    )


def test_the_default_store_is_beside_the_file(ops: Path) -> None:
    assert settings_in(ops, "").store.url == f"sqlite:///{ops}/listener.db"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("sqlite:////var/lib/listener.db", id="absolute"),
        pytest.param("postgresql://db.internal/listener", id="postgresql"),
        pytest.param("sqlite:///:memory:", id="memory"),
        pytest.param("no url", id="invalid"),
    ],
)
def test_what_is_not_relative_stays(ops: Path, url: str) -> None:
    settings = settings_in(ops, f'[store]\nurl = "{url}"\n[http]\nlisten = "127.0.0.1:1"')

    assert (settings.store.url, settings.http.listen) == (url, "127.0.0.1:1")


def test_paths_of_the_environment_stay_relative_to_the_working_directory(
    ops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNS_LISTENER_STORE__URL", "sqlite:///here.db")
    monkeypatch.setenv("MNS_LISTENER_CREDENTIALS__ACCESS_KEY_ID_FILE", "id")
    settings = settings_in(ops, '[credentials]\naccess_key_secret_file = "secret"')

    assert settings.store.url == "sqlite:///here.db"
    assert settings.credentials.access_key_id_file == Path("id")
    assert settings.credentials.access_key_secret_file == ops / "secret"


def test_without_a_file_the_store_is_in_the_working_directory(ops: Path) -> None:
    assert settings_from().store.url == "sqlite:///listener.db"


def test_a_folder_that_no_url_can_name_is_an_error_that_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "what?"
    folder.mkdir()

    with pytest.raises(SettingsError, match=r"store\.url .*what\?"):
        settings_in(folder, "")


@pytest.mark.parametrize("text", ["store = 1", "store = { url = [] }", "routes = 1", 'routes = ["x"]'])
def test_values_of_wrong_types_are_reported_as_ever(ops: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"l\.toml: (store|routes)"):
        settings_in(ops, text)


ROUTE = """
[[routes]]
name = "all"
handlers = [{ use = "jsonl", path = "results.jsonl" }]
"""


@pytest.fixture
def load_first() -> Callable[[Settings], Any]:
    def load(settings: Settings) -> Any:
        handler = settings.routes[0].handlers[0]
        return handler_loader.load(handler.use, handler.options, where="routes.all.handlers[0]")

    return load


def test_an_option_that_is_a_path_is_relative_to_the_file(
    ops: Path, load_first: Callable[[Settings], Any]
) -> None:
    load_first(settings_in(ops, ROUTE))(a_job_result())

    assert (ops / "results.jsonl").read_text().count("\n") == 1


def test_an_option_of_the_environment_is_relative_to_the_working_directory(
    ops: Path, monkeypatch: pytest.MonkeyPatch, load_first: Callable[[Settings], Any]
) -> None:
    monkeypatch.setenv("MNS_LISTENER_ROUTES__0__HANDLERS__0__PATH", "here.jsonl")
    load_first(settings_in(ops, ROUTE))(a_job_result())

    assert Path("here.jsonl").read_text().count("\n") == 1
    assert not (ops / "here.jsonl").exists()


def test_a_program_is_found_beside_the_file_if_cwd_says_so(
    ops: Path, load_first: Callable[[Settings], Any]
) -> None:
    (ops / "notify").write_text("#!/bin/sh\npwd > where")
    (ops / "notify").chmod(0o755)
    route = '[[routes]]\nname = "all"\nhandlers = [{ use = "command", argv = ["./notify"], cwd = "." }]'
    load_first(settings_in(ops, route))(a_job_result())

    assert (ops / "where").read_text() == f"{ops}\n"


def test_a_changed_file_with_a_relative_path_replaces_its_handler(ops: Path) -> None:
    (ops / "secret").write_text("dGVzdEtleVNlY3JldA==")
    hook = 'handlers = [{ use = "webhook", url = "http://127.0.0.1:1", secret_file = "secret" }]'
    text = f'[[routes]]\nname = "all"\n{hook}'
    runner = CoroutineRunner()
    handlers = Handlers(settings_in(ops, text).routes, runner=runner)
    try:
        (loaded,) = handlers.load(settings_in(ops, text).routes).values()
        (ops / "secret").write_text("dGVzdEtleVNlY3JldDI=")
        (again,) = handlers.load(settings_in(ops, text).routes).values()
        assert loaded is not again
        handlers.use({again.target: again})
    finally:
        handlers.close()
        runner.close()
