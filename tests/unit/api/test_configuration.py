"""What the API shows of the settings, and what it must not show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.settings.loader import settings_from
from listener.settings.sections import Settings
from listener.store.sql_store import SqlStore
from tests.support.api import Api, serving_api

SETTINGS = """
[store]
url = "postgresql://listener:databasePassword@db.example/jobs"
[http]
token_file = "tokens"
[credentials]
access_key_id_file = "id"
access_key_secret_file = "secret"
[[queues]]
url = "mns://1234567890.mns.cn-shanghai.aliyuncs.com/queues/mps-callbacks"
wait = "250ms"
[[routes]]
name = "covers"
match = { function = "Cover", data = { site = "a" } }
deadline = "30m"
handlers = [
  { use = "webhook", name = "cms", url = "https://u:webhookPassword@cms.example/", headers = { X = "headerSecret" } },
]
[[routes]]
name = "rest"
retry = { max_attempts = 3 }
handlers = [{ use = "log" }]
"""
SECRETS = ("databasePassword", "webhookPassword", "headerSecret")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "listener.toml"
    path.write_text(SETTINGS)
    return settings_from(path)


@pytest.fixture
def api(store: SqlStore, settings: Settings) -> Iterator[Api]:
    with serving_api(store, settings) as api:
        yield api


def test_routes_are_shown_in_their_order_without_options_of_handlers(api: Api) -> None:
    covers, rest = api.get("/v1/routes").json()["routes"]

    assert covers["match"] == {"function": ["Cover"], "data": {"site": "a"}}
    assert covers["handlers"] == [{"name": "cms", "use": "webhook"}]
    assert (covers["deadline"], covers["enrich"]) == (1800, True)
    assert (rest["deadline"], rest["retry"]["max_attempts"]) == (None, 3)
    assert covers["retry"]["max_elapsed"] == 86_400


def test_queues_are_shown(api: Api) -> None:
    (queue,) = api.get("/v1/queues").json()["queues"]

    assert (queue["name"], queue["queue"], queue["wait"]) == ("mps-callbacks", "mps-callbacks", 0.25)


def test_settings_are_shown_with_defaults(api: Api) -> None:
    settings = api.get("/v1/settings").json()["settings"]

    assert set(settings) == set(Settings.model_fields) - {"queues", "routes"}
    assert settings["store"]["url"] == "postgresql+psycopg://listener:***@db.example/jobs"
    assert settings["dispatch"]["lease"] == 30
    assert settings["http"]["token_file"].endswith("tokens")


@pytest.mark.parametrize("path", ["/v1", "/v1/routes", "/v1/queues", "/v1/settings"])
def test_no_secret_is_shown(api: Api, path: str) -> None:
    text = api.get(path).text

    assert [secret for secret in SECRETS if secret in text] == []


def test_a_reload_changes_what_is_shown(api: Api) -> None:
    api.context.client.settings = Settings()

    assert api.get("/v1/routes").json()["routes"] == []
