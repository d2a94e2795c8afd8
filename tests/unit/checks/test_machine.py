"""The files of the store, the log, and hosts of webhooks."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from listener.checks import machine
from listener.core.check_result import CheckResult, Level
from listener.settings.loader import load

NEVER_OPEN = 2**30  #: beyond every limit of open files


def webhook_results(url: str) -> list[CheckResult]:
    settings = load(
        f'[[routes]]\nname = "r"\nhandlers = [{{ use = "webhook", name = "w", url = "{url}" }}, {{ use = "log" }}]',
        {},
    )
    (check,) = machine.webhook_checks(settings)
    return list(check.results())


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_a_webhook_whose_host_can_be_resolved_is_ok() -> None:
    (result,) = webhook_results("http://localhost:1/hook")

    assert (result.level, result.name) == (Level.OK, "webhook r/w")


def test_a_webhook_whose_host_cannot_be_resolved_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: Any, **_options: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    (result,) = webhook_results("https://hooks.example.com/secret?token=1")

    assert (result.level, result.exit_code) == (Level.WARNING, 0)
    assert result.detail == "the host hooks.example.com cannot be resolved: Name or service not known"
    assert result.advice


def test_a_host_behind_a_proxy_is_not_resolved_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    (result,) = webhook_results("https://hooks.invalid/")

    assert (result.level, "through a proxy" in result.detail) == (Level.OK, True)


@pytest.mark.parametrize("url", ["http://[", "nonsense", "http://h:99999/"])
def test_what_is_no_url_is_left_to_the_check_of_the_handlers(url: str) -> None:
    assert webhook_results(url) == []


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:////nonexistent/l.db", "postgresql://h/n", "mysql://h/n", "nonsense"],
)
def test_a_store_without_a_folder_here_has_no_files_to_look_at(url: str) -> None:
    assert list(machine.store_files_check(load(f'store.url = "{url}"', {})).results()) == []


def test_before_the_store_is_created_only_its_disk_is_looked_at(tmp_path: Path) -> None:
    results = machine.store_files_check(load(f'store.url = "sqlite:///{tmp_path}/l.db"', {})).results()

    assert [each.name for each in results] == ["disk space"]


@pytest.mark.parametrize(("flags", "level"), [(os.O_RDONLY, Level.WARNING), (os.O_WRONLY, Level.OK)])
def test_the_log_needs_a_descriptor_that_can_be_written(tmp_path: Path, flags: int, level: Level) -> None:
    (tmp_path / "log").touch()
    descriptor = os.open(tmp_path / "log", flags)
    result = machine.judge_log(descriptor, level="info")
    os.close(descriptor)

    assert result.level == level
    assert bool(result.advice) == (level == Level.WARNING)


def test_the_log_needs_a_descriptor_that_is_open() -> None:
    assert machine.judge_log(NEVER_OPEN, level="info").level == Level.WARNING
