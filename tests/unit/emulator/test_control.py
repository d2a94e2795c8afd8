"""What tests and demos do behind the services' back, and how the emulator starts and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from listener.cli.emulator import emulator as command
from listener.emulator import Emulator, Options
from listener.emulator.asgi import read_request
from listener.emulator.limits import MAX_CONTROL
from listener.emulator.server import RunningEmulator, running
from tests.support.emulator_clients import BareMns, elements
from tests.support.waiting import wait_until


@pytest.fixture
def http(server: RunningEmulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/_emulator", trust_env=False, verify=False) as client:
        yield client


def test_state_shows_queues_jobs_and_counts(http: httpx.Client, bare: BareMns) -> None:
    bare.send("q", "x")
    bare.receive("q")
    bare.request("PUT", "/topics/t")

    assert http.get("/state").json() == {
        "queues": {"q": {"active": 0, "inactive": 1, "delayed": 0, "sent": 1, "received": 1, "deleted": 0}},
        "jobs": {},
        "requests": {"CreateQueue": 1, "SendMessage": 1, "ReceiveMessage": 1, "CreateTopic": 1},
        "callbacks": {"sent": 0, "lost": 0, "dropped": 0},
        "topics": {"t": {"published": 0, "subscriptions": []}},
        "pushes": {"accepted": 0, "failed": 0, "given_up": 0, "waiting": 0, "dropped": 0},
    }


@pytest.mark.parametrize("text", [b"<unclosed & raw", b"\x00\x01", b"\xff\xfe not utf-8"])
def test_text_is_put_into_a_reply_as_it_is(http: httpx.Client, bare: BareMns, text: bytes) -> None:
    assert http.post("/queues/q/messages", content=text).status_code == 201

    assert b"<MessageBody>" + text + b"</MessageBody>" in bare.receive("q").content


def test_text_is_escaped_on_demand(http: httpx.Client, bare: BareMns) -> None:
    http.post("/queues/q/messages?escape=true", content=b"<a> & b")

    assert elements(bare.receive("q"))["MessageBody"] == "<a> & b"


def test_queue_with_an_impossible_name_is_not_created(http: httpx.Client) -> None:
    for name in ("%01", "q" * 121):
        assert http.post(f"/queues/{name}/messages", content=b"x").status_code == 400


def test_text_may_be_delayed(http: httpx.Client, bare: BareMns) -> None:
    http.post("/queues/q/messages?delay=60", content=b"x")

    assert http.get("/state").json()["queues"]["q"]["delayed"] == 1


@pytest.mark.parametrize(
    "query", ["delay=soon", "delay=604801", f"delay={'9' * 5000}", "escape=yes", "escaped=true"]
)
def test_wrong_query_for_a_message_is_refused(http: httpx.Client, query: str) -> None:
    assert http.post(f"/queues/q/messages?{query}", content=b"x").status_code == 400


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        pytest.param({"host": "attacker.example"}, "forbidden-host", id="host"),
        pytest.param({"origin": "http://attacker.example"}, "forbidden-origin", id="origin"),
    ],
)
def test_pages_of_other_servers_control_nothing(
    http: httpx.Client, bare: BareMns, headers: dict[str, str], name: str
) -> None:
    refused = http.post("/reset", headers=headers)

    assert (refused.status_code, refused.json()["type"].endswith(name)) == (403, True)
    assert list(http.get("/state").json()["queues"]) == ["q"]


def test_body_that_is_too_large_for_control_is_refused(http: httpx.Client) -> None:
    assert http.post("/queues/q/messages", content=b"x" * (MAX_CONTROL + 1)).status_code == 413


def test_reset_forgets_everything(http: httpx.Client, bare: BareMns) -> None:
    bare.send("q", "x")

    assert http.post("/reset").status_code == 204
    assert http.get("/state").json()["queues"] == {}


def test_queues_of_the_start_are_there_again_after_a_reset() -> None:
    with running(Options(queues=("first", "second"))) as server:
        server.call(Emulator.reset)

        assert server.call(lambda emulator: list(emulator.mns.queues)) == ["first", "second"]


def test_request_that_breaks_off_is_no_request() -> None:
    messages = iter(
        [{"type": "http.request", "body": b"<Queue/>", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> dict[str, Any]:
        return next(messages)

    assert asyncio.run(read_request({"type": "http"}, receive)) is None


def test_call_hands_back_what_happened_on_the_loop(server: RunningEmulator) -> None:
    assert server.call(lambda emulator: emulator.options.access_key_id) == "testKeyId"
    with pytest.raises(ZeroDivisionError):
        server.call(lambda emulator: 1 // 0)


def test_taken_port_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"), running(Options(port=port)):
            pytest.fail("it listened on a port that was taken")


def test_stop_breaks_off_long_polls() -> None:
    broken: list[Exception] = []

    def poll(client: BareMns) -> None:
        try:
            client.receive("q", "?waitseconds=30")
        except httpx.TransportError as error:
            broken.append(error)

    with running() as server:
        client = BareMns(server.url)
        client.request("PUT", "/queues/q")
        thread = threading.Thread(target=poll, args=[client])
        thread.start()
        wait_until(lambda: server.call(lambda emulator: emulator.requests["ReceiveMessage"]) == 1)
    thread.join(20)
    client.http.close()

    assert len(broken) == 1


def test_secret_does_not_show_in_the_options() -> None:
    assert "testKeySecret" not in repr(Options())


def test_address_that_others_can_reach_needs_a_word() -> None:
    result = CliRunner().invoke(command, ["--host", "0.0.0.0"])

    assert result.exit_code == 2
    assert "--allow-remote" in result.output


def test_taken_port_is_named_at_the_prompt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = [
            sys.executable,
            "-c",
            "from listener.cli.emulator import emulator; emulator()",
            "--port",
            str(port),
        ]
        done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_durations_and_faults_are_read_at_the_prompt(tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nkind = "stall"\nprobability = 2\n')
    bad_fault = CliRunner().invoke(command, ["--faults", str(faults)])
    bad_duration = CliRunner().invoke(command, ["--duration", "Cover"])

    assert (bad_fault.exit_code, bad_duration.exit_code) == (2, 2)
    assert "probability = 2" in bad_fault.output
    assert "Cover" in bad_duration.output


def test_every_option_at_the_prompt_is_one_of_the_emulator() -> None:
    names = {parameter.name for parameter in command.params} - {"port_file", "allow_remote", "version"}

    assert names - {field.name for field in fields(Options)} == set()


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_program_says_where_it_listens_and_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    port_file = tmp_path / "port"
    program = [sys.executable, "-c", "from listener.cli.emulator import emulator; emulator()"]
    arguments = ["--port", "0", "--port-file", str(port_file)]
    with subprocess.Popen([*program, *arguments], stdout=subprocess.PIPE, text=True) as process:
        wait_until(port_file.exists)
        port = int(port_file.read_text())
        state = httpx.get(f"http://127.0.0.1:{port}/_emulator/state", trust_env=False)
        os.kill(process.pid, number)
        printed, _ = process.communicate(timeout=60)

    assert state.status_code == 200
    assert process.returncode == 0
    assert f"http://127.0.0.1:{port}" in printed


def test_emulators_live_side_by_side() -> None:
    with running() as one, running() as two:
        one.call(lambda emulator: emulator.mns.create("only-here"))

        assert list(one.call(Emulator.state)["queues"]) == ["only-here"]
        assert two.call(Emulator.state)["queues"] == {}
