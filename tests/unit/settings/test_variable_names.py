"""Which variables are settings, and which one a misspelled name was meant to be."""

from __future__ import annotations

import re

import pytest

from listener.core.errors import SettingsError
from listener.settings.loader import load
from listener.settings.variable_names import nearest, setting_names
from tests.support import ROOT
from tests.support.cases import each_case


@each_case(
    ("given", "meant"),
    [
        ("STORE_URL", "STORE__URL"),
        ("STORE__URI", "STORE__URL"),
        ("LOG_LEVEL", "LOG__LEVEL"),
        ("LOGLEVEL", "LOG__LEVEL"),
        ("CONCURRENCY", "DISPATCH__CONCURRENCY"),
        ("_STORE__URL", "STORE__URL"),
        ("QUEUES_2_URL", "QUEUES__2__URL"),
        ("ROUTES_1_HANDLERS_3_USE", "ROUTES__1__HANDLERS__3__USE"),
        ("NONSENSE", ""),
    ],
)
def test_a_misspelled_name_is_refused_with_the_nearest_one(given: str, meant: str) -> None:
    assert nearest(f"MNS_LISTENER_{given}") == (meant and f"MNS_LISTENER_{meant}")


def test_every_setting_is_its_own_nearest() -> None:
    assert [name for name in setting_names() if nearest(name) != name] == []


def test_a_name_that_resembles_nothing_is_refused_with_the_form_of_names() -> None:
    with pytest.raises(SettingsError, match=r"joined by two underscores, e\.g\. MNS_LISTENER_STORE__URL"):
        load("", {"MNS_LISTENER_NONSENSE": "1"})


def test_variables_of_the_program_itself_and_of_its_children_are_no_settings() -> None:
    sources = [*(ROOT / "listener" / "cli").glob("*.py"), *(ROOT / "handlers").glob("*.py")]
    named = {
        name for path in sources for name in re.findall(r"\bMNS_LISTENER_[A-Z_]+", path.read_text("utf-8"))
    }
    environ = {name: "x" for name in named if "__" not in name}

    assert len(environ) >= 8
    load("", environ)


@each_case("service", ["MNS_LISTENER", "MNS_LISTENER_METRICS"])
def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_setting(service: str) -> None:
    load(
        "",
        {
            f"{service}_SERVICE_HOST": "10.0.0.7",
            f"{service}_SERVICE_PORT": "8471",
            f"{service}_SERVICE_PORT_HTTP": "8471",
            f"{service}_PORT": "tcp://10.0.0.7:8471",
            f"{service}_PORT_8471_TCP": "tcp://10.0.0.7:8471",
            f"{service}_PORT_8471_TCP_PROTO": "tcp",
            f"{service}_PORT_8471_TCP_PORT": "8471",
            f"{service}_PORT_8471_TCP_ADDR": "10.0.0.7",
        },
    )


@each_case("name", ["PORT", "HTTP_PORT", "HTTP__PORT", "SERVICE__HOST", "SERVICE_SHUTDOWN_TIMEOUT"])
def test_what_only_resembles_those_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"MNS_LISTENER_{name}"):
        load("", {f"MNS_LISTENER_{name}": "8471"})
