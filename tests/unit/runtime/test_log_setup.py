"""How this process logs."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from listener.aliyun.credentials import AccessKey
from listener.intake import recorder
from listener.runtime import log_setup
from tests.support.cases import each_case
from tests.support.process_state import restored_process_state


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def logged(stream: io.StringIO, *, level: str = "info", format: str = "auto", **fields: Any) -> str:
    log_setup.configure(level=level, format=format, stream=stream)
    structlog.get_logger().info("key.read", **fields)
    return stream.getvalue()


def test_machines_get_one_json_object_a_line() -> None:
    entry = json.loads(logged(io.StringIO(), queue="q", text="line\nbreak é"))

    assert (entry["event"], entry["level"], entry["queue"]) == ("key.read", "info", "q")
    assert entry["text"] == "line\nbreak é"
    assert entry["timestamp"].endswith("Z")


def test_lines_of_json_begin_with_time_level_and_event() -> None:
    assert list(json.loads(logged(io.StringIO(), queue="q"))) == ["timestamp", "level", "event", "queue"]


def test_people_at_a_terminal_get_text() -> None:
    assert not logged(Terminal()).startswith("{")
    assert logged(Terminal(), format="json").startswith("{")


@each_case("name", sorted(log_setup.SECRET))
@each_case("stream", [io.StringIO, Terminal])
def test_secrets_are_never_written(name: str, stream: type[io.StringIO]) -> None:
    text = logged(stream(), **{name: "testKeySecret"})

    assert "testKeySecret" not in text
    assert "***" in text


def test_a_key_does_not_show_its_secrets_by_accident() -> None:
    key = AccessKey("testKeyId", "testKeySecret", "testToken")

    assert "testKeyId" in logged(io.StringIO(), key=key)
    assert "testKeySecret" not in logged(io.StringIO(), key=key)
    assert "testToken" not in repr(key)


def test_a_level_leaves_out_what_is_below() -> None:
    assert logged(io.StringIO(), level="warning") == ""


def test_a_new_level_counts_for_loggers_that_were_used_before() -> None:
    stream = io.StringIO()
    log_setup.configure(level="info", stream=stream)
    log = structlog.get_logger()
    log.info("key.read")
    log_setup.set_level("error")
    log.warning("key.missing")
    enabled = [log.is_enabled_for(level) for level in (logging.WARNING, logging.ERROR)]
    log_setup.set_level("debug")
    log.debug("key.found")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["key.read", "key.found"]
    assert (enabled, log.get_effective_level()) == ([False, True], logging.DEBUG)


def test_a_traceback_is_part_of_its_line() -> None:
    stream = io.StringIO()
    log_setup.configure(stream=stream)
    try:
        raise ValueError("boom")
    except ValueError:
        structlog.get_logger().exception("poll.crashed")

    assert "ValueError: boom" in json.loads(stream.getvalue())["exception"]


CONTROLS = "a\nb\x1b[2J\x1b]0;title\x07\x9b31m\x7f\u202egpj\u2066\u2028"
ESCAPED = r"a\nb\x1b[2J\x1b]0;title\x07\x9b31m\x7f\u202egpj\u2066\u2028"


def test_a_terminal_shows_controls_instead_of_obeying_them() -> None:
    text = logged(
        Terminal(), user_data=CONTROLS + "字幕", nested={"deep": CONTROLS}, error=ValueError(CONTROLS)
    )

    assert text.count(ESCAPED) == 3
    assert "字幕" in text
    assert re.sub(r"\x1b\[\d+m", "", text[:-1]).isprintable()  # but for the colours
    assert text.count("\n") == 1


def test_the_text_of_an_error_cannot_pass_for_a_line_of_the_log() -> None:
    stream = Terminal()
    log_setup.configure(stream=stream)
    try:
        raise ValueError("\n12:00:00 [info     ] listener.stopped\x1b[2J")
    except ValueError:
        structlog.get_logger().exception("poll.crashed")

    first, *others = [line for line in stream.getvalue().split("\n") if line]
    assert "poll.crashed" in first
    assert [line for line in others if not line.startswith("  ")] == []
    assert "listener.stopped\\x1b[2J" in stream.getvalue()


def test_after_a_test_a_module_logs_as_before_though_its_logger_was_cached() -> None:
    with restored_process_state():
        log_setup.configure(level="error", stream=io.StringIO())
        recorder.log.error("cached.now")

    with capture_logs() as logs:
        recorder.log.info("seen.again")
    assert [entry["event"] for entry in logs] == ["seen.again"]


def test_after_a_test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNS_LISTENER_KEPT", "yes")
    with restored_process_state():
        os.environ["MNS_LISTENER_LEFT_BEHIND"] = "yes"
        del os.environ["MNS_LISTENER_KEPT"]

    assert "MNS_LISTENER_LEFT_BEHIND" not in os.environ
    assert os.environ["MNS_LISTENER_KEPT"] == "yes"


class Unwritable(io.StringIO):
    def write(self, text: str, /) -> int:
        raise OSError("no space left")


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("on purpose")

    __repr__ = __str__


def test_a_line_that_cannot_be_written_does_not_end_what_it_is_about() -> None:
    assert logged(Unwritable()) == ""


@each_case("stream", [io.StringIO, Terminal])
def test_a_line_that_cannot_be_rendered_is_logged_as_such(stream: type[io.StringIO]) -> None:
    text = logged(stream(), value=Unprintable())

    assert "log.failed" in text
    assert "key.read" in text
