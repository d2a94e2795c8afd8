"""What keeps ``run`` from starting, in words and as an exit status; nothing has been started then."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import cast, get_args

import pytest

from listener.cli import options
from listener.cli.run import _stopped
from listener.daemon.daemon import Daemon
from listener.runtime.output import Output
from listener.runtime.signals import collected_signals
from listener.settings.sections import LogSettings
from tests.support.command_line import Invoke
from tests.support.program import Place

SETTINGS_ERROR, UNAVAILABLE = 78, 69


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        pytest.param("http__listen", "127.0.0.1:99999", ["http.listen", "99999"], id="port-too-large"),
        pytest.param("http__listen", "127.0.0.1:\u00b2", ["http.listen", "loopback"], id="port-no-number"),
        pytest.param("http__listen", "0.0.0.0:8471", ["http.listen", "loopback"], id="not-loopback"),
        pytest.param("http__listen", "unix:/nonexistent/s", ["http.listen", "No such file"], id="no-folder"),
        pytest.param("store__url", "mysql://h/n", ["store.url", "mysql"], id="store-of-another-kind"),
        pytest.param("store__url", "sqlite:////nonexistent/x/l.db", ["store.url", "folder"], id="no-store"),
        pytest.param("dispatch__concurrency", "many", ["dispatch.concurrency", "many"], id="no-number"),
        pytest.param("queues", "[]", ["[[queues]]"], id="no-queue"),
        pytest.param("routes", "[]", ["[[routes]]"], id="no-route"),
        pytest.param("queues__0__wait", "31s", ["queues[0].wait", "31"], id="wait-too-long"),
        pytest.param("surprise__key", "1", ["surprise", "unknown"], id="unknown-key"),
        pytest.param(
            "routes__0__handlers__0__use", "nope", ["routes.all", "nope", "available"], id="handler"
        ),
        pytest.param(
            "routes__0__handlers__0__path", "/nonexistent/f", ["routes.all", "/nonexistent"], id="option"
        ),
    ],
)
def test_settings_that_cannot_work_end_with_78_and_say_why(
    place: Place, invoke: Invoke, setting: str, value: str, words: list[str]
) -> None:
    result = invoke("run", **{setting: value})

    assert result.exit_code == SETTINGS_ERROR
    assert [word for word in words if word not in result.stderr] == []
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", [("run",), ("jobs", "list"), ("check",)], ids=" ".join)
def test_the_settings_file_may_be_named_before_or_after_the_command(
    place: Place, invoke: Invoke, command: tuple[str, ...]
) -> None:
    before = invoke("-c", "other.toml", *command, CONFIG="third.toml")
    after = invoke("-c", "other.toml", *command, "-c", "nearest.toml")

    assert (before.exit_code, "'other.toml'" in before.output) == (SETTINGS_ERROR, True)
    assert (after.exit_code, "'nearest.toml'" in after.output) == (SETTINGS_ERROR, True)


def test_the_levels_of_the_option_are_those_of_the_setting() -> None:
    assert get_args(LogSettings.model_fields["level"].annotation) == options.LEVELS


def test_address_that_is_taken_is_named(place: Place, invoke: Invoke) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = invoke("run", http__listen=address)

    assert result.exit_code == UNAVAILABLE
    assert f"http.listen = '{address}': Address already in use" in result.stderr


def no_database(path: Path) -> None:
    path.write_text("this is a text of some length, and no database at all, whatever its name may say" * 20)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [no_database, a_folder])
def test_store_that_cannot_be_used_is_named(
    place: Place, invoke: Invoke, spoil: Callable[[Path], None]
) -> None:
    spoil(place.folder / "listener.db")
    result = invoke("run")

    assert (result.exit_code, "listener.db" in result.stderr) == (UNAVAILABLE, True)


class StuckAtItsEnd:
    """A daemon whose stop fails."""

    stop_timeout = timedelta(seconds=30)

    def stop(self) -> dict[str, int]:
        raise OSError("the disk is gone")


def test_an_error_while_stopping_is_raised_in_the_main_thread() -> None:
    with collected_signals() as signals, pytest.raises(OSError, match="the disk is gone"):
        _stopped(cast(Daemon, StuckAtItsEnd()), signals, Output())
