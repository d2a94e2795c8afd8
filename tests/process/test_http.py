"""The health endpoint of a real daemon under clients that misbehave, and beside a second daemon."""

from __future__ import annotations

import os
import resource
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.daemon_http import unix_client
from tests.support.program import BOUND, Place, unused_endpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

UNAVAILABLE = 69
DESCRIPTORS = 1024
IDLE_CLIENTS = 1200
#: The most of one core that the daemon may take while idle connections wait.
CPU_SHARE = 0.5


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Let this process open as many connections as the test needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * IDLE_CLIENTS)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connected(url: str, count: int) -> list[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    return [socket.create_connection((host, int(port)), timeout=30) for _ in range(count)]


def still_open(clients: list[socket.socket]) -> list[socket.socket]:
    """Those that the server has not closed; it never sends anything to them."""
    poll = select.poll()
    for client in clients:
        poll.register(client, select.POLLIN)
    closed = {descriptor for descriptor, _ in poll.poll(0)}
    return [client for client in clients if client.fileno() not in closed]


@pytest.mark.usefixtures("many_descriptors")
def test_idle_connections_keep_neither_health_checks_out_nor_a_core_busy(place: Place) -> None:
    url = unused_endpoint()
    place.settings()
    program = place.run(http__listen=url.removeprefix("http://")).ready()
    pid = program.process.pid
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    idle = connected(url, IDLE_CLIENTS)

    assert httpx.get(f"{url}/healthz", timeout=BOUND, trust_env=False).status_code == 200
    assert len(os.listdir(f"/proc/{pid}/fd")) < DESCRIPTORS // 4
    used, began = cpu_seconds(pid), time.monotonic()
    idle += connected(url, 32)  # so that seconds pass until all are closed
    wait_until(lambda: not still_open(idle))
    assert cpu_seconds(pid) - used < CPU_SHARE * (time.monotonic() - began)
    for client in idle:
        client.close()
    assert program.stop() == 0


def test_a_second_daemon_does_not_take_over_the_socket_of_the_first(place: Place) -> None:
    place.settings()
    path = place.folder / "http.sock"
    first = place.run(http__listen=f"unix:{path}").ready()
    second = place.run(http__listen=f"unix:{path}", store__url="sqlite:///other.db")

    assert second.wait() == UNAVAILABLE
    assert "http.sock': another process listens there" in second.stderr
    with unix_client(path) as client:
        assert client.get("http://any.name/healthz").status_code == 200

    first.kill()
    third = place.run(http__listen=f"unix:{path}").ready()
    assert third.stop() == 0
