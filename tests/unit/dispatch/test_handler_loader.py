from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from listener.core.errors import SettingsError
from listener.dispatch.handler_loader import available, load, options_of
from tests.support.packages import install
from tests.support.results import a_job_result

WHERE = "routes.captions.handlers[0]"
Install = Callable[..., None]

COLLECT = """
from __future__ import annotations
from listener.formats.durations import Duration

SEEN = []

def collect(*, interval: Duration, count: int = 1, **rest: object):
    return lambda result: SEEN.append((result.job_id, interval.total_seconds(), count, rest))
"""

STRICT = """
from listener.formats.durations import Duration

def strict(*, url: str, interval: Duration, count: int = 1, api_token: int = 0, json: bool = False):
    return print
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    def install_here(module: str, *, source: str, points: str | None = None) -> None:
        install(monkeypatch, tmp_path, module, source=source, points=points)

    return install_here


def _refusal(use: str, **options: object) -> str:
    with pytest.raises(SettingsError) as refusal:
        load(use, options, where=WHERE)
    assert str(refusal.value).startswith(f"{WHERE}: ")
    return str(refusal.value)


def test_built_in_handlers_are_found_by_name() -> None:
    assert {"command", "jsonl", "log", "python", "webhook"} <= set(available())


def test_a_third_party_handler_is_found_loaded_and_run_with_its_options(installed: Install) -> None:
    installed("collect", source=COLLECT)

    handler = load("collect", {"interval": "1m30s", "count": "3", "free": 1}, where=WHERE)
    handler(a_job_result(job_id="one"))

    assert "collect" in available()
    assert sys.modules["collect"].SEEN == [("one", 90.0, 3, {"free": 1})]


def test_a_class_may_be_the_factory(installed: Install) -> None:
    installed(
        "counter",
        source=(
            "class counter:\n"
            "    def __init__(self, *, step: int = 1): self.step, self.count = step, 0\n"
            "    def __call__(self, result): self.count += self.step\n"
        ),
    )

    handler = load("counter", {"step": "2"}, where=WHERE)
    handler(a_job_result())

    assert handler.count == 2


def test_all_that_is_wrong_with_the_options_is_one_error(installed: Install) -> None:
    installed("strict", source=STRICT)

    refusal = _refusal("strict", interval="5x", count="many", bogus=1)

    assert "option 'url' is missing" in refusal
    assert "interval = '5x'" in refusal
    assert '"1h30m"' in refusal
    assert "count = 'many'" in refusal
    assert "option 'bogus' is unknown; known options: url, interval, count, api_token, json" in refusal


def test_rules_are_in_plain_words_and_values_as_they_are_written(installed: Install) -> None:
    installed(
        "ruled",
        source=(
            "from datetime import timedelta\n"
            "from typing import Annotated\n"
            "from pydantic import Field\n"
            "def ruled(*, wait: Annotated[timedelta, Field(ge=timedelta(seconds=30))], names: list[str],\n"
            "          mode: str, key: int): ...\n"
        ),
    )

    refusal = _refusal("ruled", wait=timedelta(seconds=5), names=7, mode=True, key="x")

    assert "wait = 5s: must be at least 30 seconds; " in refusal
    assert 'names = 7: must be a list, e.g. ["a", "b"]; ' in refusal
    assert "mode = true: must be text in quotes; " in refusal
    assert refusal.endswith("key (value not shown): must be a whole number")


def test_a_value_that_the_rule_names_is_not_repeated() -> None:
    refusal = _refusal("webhook", url="http://127.0.0.1:9/", timeout="3x")

    assert "handler 'webhook': timeout = '3x' is not a valid duration; use" in refusal


def test_values_that_may_be_secret_are_never_shown(installed: Install) -> None:
    installed("strict", source=STRICT)

    refusal = _refusal("strict", url="http://x", interval=1, api_token="testKeySecret")

    assert "api_token (value not shown)" in refusal
    assert "testKeySecret" not in refusal


def test_an_unknown_handler_is_answered_with_the_known_ones_and_how_to_install() -> None:
    refusal = _refusal("webhok")

    assert "did you mean 'webhook'?" in refusal
    assert "command, jsonl, log, pull, python, webhook" in refusal
    assert "pip install" in refusal


def test_two_packages_may_not_share_a_name(installed: Install) -> None:
    installed("other_log", source="", points="[mns_listener.handlers]\nlog = other_log:log\n")

    refusal = _refusal("log")

    assert "listener.handlers.log:log" in refusal
    assert "other_log:log" in refusal


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        pytest.param("import no_such_module_anywhere", "No module named", id="import-error"),
        pytest.param("def broken(:", "SyntaxError", id="syntax-error"),
        pytest.param("1 / 0", "ZeroDivisionError", id="fails-while-imported"),
        pytest.param("", "has no attribute 'broken'", id="no-such-attribute"),
        pytest.param("broken = 5", "is not callable", id="factory-is-no-callable"),
        pytest.param("def broken(): return 5", "returned 5", id="handler-is-no-callable"),
        pytest.param(
            "def broken(): raise ValueError('no luck')", "could not be created: no luck", id="refuses"
        ),
        pytest.param(
            "def broken(): raise OSError('no disk')", "could not be created: no disk", id="os-error"
        ),
        pytest.param(
            "def broken(): open('/no/such/file')",
            "could not be created: /no/such/file: No such file or directory",
            id="missing-file",
        ),
        pytest.param("def broken(): {}['x']", "KeyError", id="crashes"),
        pytest.param("def broken(*, a: 'Nowhere'): ...", "Nowhere", id="annotation-without-meaning"),
    ],
)
def test_whatever_is_wrong_with_a_plug_in_is_a_settings_error(
    source: str, reason: str, installed: Install
) -> None:
    installed("broken", source=source)

    assert reason in _refusal("broken")


def test_options_can_be_listed() -> None:
    assert list(options_of("webhook")) == ["url", "secret_file", "timeout", "headers"]
