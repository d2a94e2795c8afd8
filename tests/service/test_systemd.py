"""systemd/ promises what the code keeps."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from listener.core.errors import SettingsError
from listener.dispatch.handler_loader import options_of
from listener.formats.durations import parse_duration
from listener.settings import loader
from listener.settings.sections import ServiceSettings
from tests.support import ROOT
from tests.support.cases import each_case
from tests.support.settings_names import named_in, unknown

FOLDER = ROOT / "systemd"
UNIT = (FOLDER / "mns-listener.service").read_text("utf-8")
#: What the stop sequence may take beyond the shutdown time-out: joining the loops and closing handlers.
CLOSING = timedelta(seconds=10)


def values_of(key: str) -> list[str]:
    """All values that the unit gives a key, in order."""
    return re.findall(rf"^{key}=(.*)$", UNIT, re.MULTILINE)


def value_of(key: str) -> str:
    (value,) = values_of(key)
    return value


@each_case(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("KillMode", "mixed"),
        ("Restart", "on-failure"),
        ("DynamicUser", "yes"),
        ("StateDirectory", "mns-listener"),
        ("WorkingDirectory", "%S/mns-listener"),
        ("RuntimeDirectory", "mns-listener"),
        ("ProtectSystem", "strict"),
        ("NoNewPrivileges", "yes"),
        ("PrivateTmp", "yes"),
        ("CapabilityBoundingSet", ""),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
    ],
)
def test_unit_says(key: str, value: str) -> None:
    assert value_of(key) == value


def test_an_invalid_configuration_is_not_retried() -> None:
    assert value_of("RestartPreventExitStatus") == str(SettingsError.exit_code)


def test_systemd_waits_longer_than_the_shutdown_timeout() -> None:
    assert parse_duration(value_of("TimeoutStopSec")) >= ServiceSettings().shutdown_timeout + CLOSING


def test_nothing_that_asks_a_service_stands_before_the_start() -> None:
    assert values_of("ExecStartPre") == []


def test_the_template_differs_from_the_unit_only_in_what_belongs_to_an_instance() -> None:
    template = (FOLDER / "mns-listener@.service").read_text("utf-8")
    own = {"User=mns-listener-%i", "Environment=MNS_LISTENER_HTTP__LISTEN=unix:%t/mns-listener-%i/http.sock"}
    lines = [line for line in template.splitlines() if line and line[0] != "#"]
    general = [
        line.replace("-%i", "").replace("/%i", "").replace(" (%i)", "") for line in lines if line not in own
    ]

    assert own <= set(lines)
    assert general == [line for line in UNIT.splitlines() if line and line[0] != "#"]


def test_every_credential_file_is_loaded() -> None:
    loaded = {value.partition(":")[0] for value in values_of("LoadCredential")}
    used = set(re.findall(r"%d/([\w-]+)", UNIT))

    assert used == loaded == {"access-key-id", "access-key-secret"}


@each_case("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_every_variable_is_a_setting(path: Path) -> None:
    assert unknown(named_in(path.read_text("utf-8"))) == []


def test_a_wrong_variable_would_be_found() -> None:
    assert unknown(["MNS_LISTENER_LOG__LEVEL", "MNS_LISTENER_LOG__LOUD", "MNS_LISTENER_LOUD"]) == [
        "MNS_LISTENER_LOG__LOUD",
        "MNS_LISTENER_LOUD",
    ]


def test_example_settings_are_valid_and_stay_within_the_unit() -> None:
    settings = loader.load((FOLDER / "listener.toml").read_text("utf-8"), {})
    settings.require_work()

    for route in settings.routes:
        for handler in route.handlers:
            assert set(handler.options) <= set(options_of(handler.use))
    assert settings.store.url.startswith("sqlite:////var/lib/mns-listener/")
    assert settings.http.listen.startswith("unix:/run/mns-listener/")
