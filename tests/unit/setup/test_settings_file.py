"""The settings file that ``setup`` writes is valid, and says what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from listener.core.account import Pipeline
from listener.settings.loader import load
from listener.settings.sections import CredentialsSettings, Settings
from listener.setup.location import Location, Network, location
from listener.setup.settings_file import settings_text
from tests.support.cases import each_case

ID = "88c6ca184c0e47b2a17a1b6ef2c6a1f0"


def where(**fields: Any) -> Location:
    given = {"region": "cn-shanghai", "account": "1234567890", "queue": "q", "network": Network.PUBLIC}
    return location(**(given | fields))


def loaded(text: str) -> Settings:
    return load(text, {})


@each_case("network", list(Network))
def test_the_settings_are_those_of_the_location(network: Network) -> None:
    place = where(network=network)
    settings = loaded(settings_text(place))

    (queue,) = settings.queues
    assert (queue.endpoint, queue.queue, queue.tenant) == (place.mns_endpoint, "q", "")
    assert (settings.mps.region, settings.mps.endpoint) == ("cn-shanghai", place.mps_endpoint)
    assert settings.mps.notify_url == place.notify_url
    assert settings.credentials == CredentialsSettings()
    assert [route.name for route in settings.routes] == ["all"]
    settings.require_work()


@each_case("tenant", ["one", "two words", 'with "quotes"'])
def test_a_tenant_has_its_own_tables(tenant: str) -> None:
    settings = loaded(settings_text(where(), tenant=tenant))

    assert settings.queues[0].tenant == tenant
    assert settings.tenant(tenant).mps.region == "cn-shanghai"
    assert not settings.mps.configured


@pytest.mark.parametrize("tenant", ["", "one"])
def test_files_of_the_key_are_named(tenant: str, tmp_path: Path) -> None:
    keys = CredentialsSettings(access_key_id_file=tmp_path / "id", access_key_secret_file=tmp_path / "secret")
    settings = loaded(settings_text(where(), tenant=tenant, keys=keys))

    assert settings.tenant(tenant).credentials == keys


def test_the_pipeline_is_a_comment_that_is_valid_without_its_sign() -> None:
    text = settings_text(where(), pipeline=Pipeline(id=ID))

    assert loaded(text).mps.pipeline == ""
    assert loaded(text.replace("# pipeline =", "pipeline =")).mps.pipeline == ID


@each_case("tenant", ["", "one"])
def test_the_files_of_the_comment_are_valid_without_their_signs(tenant: str) -> None:
    text = settings_text(where(), tenant=tenant)
    for line in ("[", "access_key"):
        text = text.replace(f"# {line}", line)

    assert loaded(text).tenant(tenant).credentials.access_key_secret_file is not None
