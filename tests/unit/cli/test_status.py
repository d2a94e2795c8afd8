"""``status`` and ``top``, beside a running daemon and without one."""

from __future__ import annotations

import json
import os
import pty
import signal
import sys
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from listener.cli.daemon_view import daemon_view
from listener.cli.top import BLOCKS, top, top_lines
from listener.core import clock
from listener.core.model import Dead, Settlement, Target
from listener.store.statistics import Minute
from tests.support.builders import NOON, a_claim, decoded_messages, routes_all
from tests.support.command_line import Invoke
from tests.support.program import QUEUE as QUEUE_NAME
from tests.support.program import Place
from tests.support.status import QUEUE, VIEW, a_status, an_activity
from tests.support.terminal import run_at_terminal
from tests.support.waiting import wait_until

SOCKET = "unix:http.sock"


def make_dead_letter(place: Place) -> None:
    now = clock.now()
    with place.store() as store:
        store.record(decoded_messages(1), routes_all(Target("all", "jsonl")), at=now)
        (claimed,) = store.claim(a_claim(limit=1, until=now + timedelta(minutes=1)), at=now)
        store.settle([Settlement(delivery=claimed, outcome=Dead(reason="no"))], at=now)


def test_without_a_daemon_the_status_is_1_and_says_how_to_start_one(place: Place, invoke: Invoke) -> None:
    result = invoke("status", http__listen="")

    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("FAILED")]
    assert line.split("\t")[1:] == [
        "daemon",
        "none is running on this store; start one with `mns-listener run`",
    ]


def test_beside_a_daemon_the_status_is_0_and_names_what_waits_for_a_person(
    place: Place, printed: Callable[..., Any], invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dead_letter(place)
    program = place.run(http__listen=SOCKET).ready()
    wait_until(lambda: all(queue["pollers"] for queue in printed("status", http__listen=SOCKET)["queues"]))
    found = printed("status", http__listen=SOCKET)

    assert found["healthy"] is True
    assert [(each["name"], each["fault"]) for each in found["queues"]] == [(QUEUE_NAME, "")]
    assert found["queues"][0]["last_receive_age_seconds"] < 60
    assert [each["queues"] for each in found["daemons"]] == [[QUEUE_NAME]]
    assert (found["totals"]["dead"], found["totals"]["pending"]) == (1, 0)
    assert found["activity"]["ended_by"]["callback"] == 1
    assert len(found["activity"]["minutes"]) == 61
    warnings = [row for row in found["rows"] if row["level"] == "warning"]
    assert [row["name"] for row in warnings] == ["dead letters"]
    assert "in flight" in invoke("status", http__listen=SOCKET).stdout

    assert program.stop() == 0
    assert printed("status", exit_code=1, http__listen=SOCKET)["daemons"] == []


def test_what_listens_at_the_address_may_be_no_daemon(place: Place) -> None:
    address = place.server.url.removeprefix("http://")

    assert daemon_view(address) is None
    assert daemon_view("127.0.0.1:1") is None
    assert daemon_view("") is None


class TestTop:
    def test_every_line_fits_the_terminal_and_nothing_is_cut(self) -> None:
        name = "a-queue-with-a-name-that-is-longer-than-any-column-" + "x" * 80
        fault = "connection refused: " + "y" * 100
        minutes = [Minute(at=NOON, received=number, handled=3) for number in range(61)]
        status = a_status(
            view=replace(VIEW, queues=(replace(QUEUE, name=name, fault=fault),)),
            activity=an_activity(minutes=minutes),
        )
        for width in (60, 80, 132):
            lines = [line for _, line in top_lines(status, width=width)]
            assert max(map(len, lines)) <= width
            whole = "".join(line.strip() for line in lines)
            assert (whole.count("x") >= 80, whole.count("y") >= 100) == (True, True)

    def test_the_curves_show_the_last_hour_up_to_its_highest_minute(self) -> None:
        minutes = [Minute(at=NOON, received=number) for number in (0, 1, 50, 100, 0)]
        _, _, received, handled, _, *_ = [
            line for _, line in top_lines(a_status(activity=an_activity(minutes=minutes)), width=80)
        ]

        assert received.split(maxsplit=1)[1] == f"{BLOCKS[1]}{BLOCKS[4]}{BLOCKS[8]}   max 100"
        assert handled.split() == ["handled", "max", "0"]

    def test_in_a_pipe_it_is_shown_once(self, place: Place, invoke: Invoke) -> None:
        make_dead_letter(place)
        result = invoke("top", http__listen="")

        assert result.exit_code == 0
        assert "! dead letters" in result.stdout
        assert "\x1b" not in result.stdout

    def test_as_json_it_is_the_status(self, place: Place, invoke: Invoke) -> None:
        make_dead_letter(place)
        shown, status = (
            json.loads(invoke(name, "--json", http__listen="").stdout) for name in ("top", "status")
        )

        assert shown.keys() == status.keys()
        assert shown["totals"]["dead"] == status["totals"]["dead"] > 0

    @pytest.mark.parametrize("key", ["q", "xQ"])
    def test_at_a_terminal_it_goes_on_until_a_key_ends_it(self, place: Place, key: str) -> None:
        status, displayed = run_at_terminal(
            "top", folder=place.folder, typed=key, environment={"MNS_LISTENER_HTTP__LISTEN": ""}
        )

        assert status == 0
        assert "Traceback" not in displayed

    def test_ctrl_c_ends_it_and_leaves_the_terminal_as_it_was(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = place.settings()
        with place.store():
            ours, theirs = pty.openpty()
        before = termios.tcgetattr(theirs)

        def press_ctrl_c_once_it_is_shown() -> None:
            os.read(ours, 4096)
            os.kill(os.getpid(), signal.SIGINT)
            with suppress(OSError):  # once the other side is closed
                while os.read(ours, 4096):
                    pass

        with open(theirs, encoding="utf-8") as keys, open(theirs, "w", closefd=False) as screen:
            monkeypatch.setattr(sys, "stdin", keys)
            monkeypatch.setattr(sys, "stdout", screen)
            pressing = threading.Thread(target=press_ctrl_c_once_it_is_shown)
            pressing.start()
            assert top.callback is not None
            # A signal that comes just before the wait for a key begins is only seen after this wait.
            top.callback(interval=0.5, once=False, path=path, as_json=False)
            after = termios.tcgetattr(theirs)
        pressing.join()
        os.close(ours)

        assert after == before
