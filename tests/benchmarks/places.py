"""What a measurement needs around it: the server in a process of its own, and waiting with time-outs."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from listener.core import clock
from tests.benchmarks.series import QUEUE
from tests.support import ROOT

#: How long one drain may take; nothing takes so long when all is well.
BOUND: Final = 600.0
#: What the environment of every child says.
ENVIRONMENT: Final = {
    "PYTHONPATH": str(ROOT),
    "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "testKeyId",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "testKeySecret",
}


class Stuck(RuntimeError):
    """What was measured never came to its end."""


def wait_for(
    condition: Callable[[], bool], *, what: str, seconds: float = BOUND, pause: float = 0.01
) -> None:
    """Return once the condition holds, looked at every ``pause`` seconds. Raises Stuck."""
    deadline = clock.monotonic() + seconds
    never = threading.Event()
    while not condition():
        if clock.monotonic() > deadline:
            raise Stuck(f"{what}: not within {seconds:.0f} s")
        never.wait(pause)


@dataclass(frozen=True)
class Server:
    """The benchmark server, by its port."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fill(self, series: str, count: int) -> None:
        self._ask("fill", series=series, count=count)

    def pace(self, series: str, *, rate: float, count: int) -> None:
        self._ask("pace", series=series, rate=rate, count=count)

    def reset(self, *, delay: float = 0.0) -> None:
        """Empty, with all counts at zero; ``delay`` in seconds is added to each request from now on."""
        self._ask("reset", delay=delay)

    def state(self) -> dict[str, Any]:
        """``Counts`` of the server, and how many messages wait and are invisible."""
        return self._ask("state")

    def _ask(self, command: str, **query: object) -> dict[str, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", f"/_bench/{command}?{urlencode(query)}")
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer


@contextmanager
def running_server() -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
    )
    with process:
        assert process.stdout
        assert process.stdin
        try:
            yield Server(int(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.wait(30)


def ceiling(server: Server, *, count: int) -> float:
    """Messages a second that a client which does nothing else can drain, 16 at a time."""
    server.reset()
    server.fill("ceiling", count)
    with closing(socket.create_connection(("127.0.0.1", server.port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while handles := _received(connection):
            content = b"".join(handles)
            head = f"DELETE /queues/{QUEUE}/messages HTTP/1.1\r\nContent-Length: {len(content)}\r\n\r\n"
            connection.sendall(head.encode() + content)
            connection.recv(65_536)
    state = server.state()
    return float(count / (state["last_deleted"] - state["first_received"]))


def _received(connection: socket.socket) -> list[bytes]:
    """The handle elements of one batch, cut out of the reply without parsing it."""
    connection.sendall(f"GET /queues/{QUEUE}/messages?numOfMessages=16 HTTP/1.1\r\n\r\n".encode())
    reply = b""
    while not reply.endswith((b"</Messages>", b"</Error>")):
        reply += connection.recv(65_536)
    start, end = b"<ReceiptHandle>", b"</ReceiptHandle>"
    return [start + piece.partition(end)[0] + end for piece in reply.split(start)[1:]]
