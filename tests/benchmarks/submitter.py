"""``python -m tests.benchmarks.submitter``: submits jobs over kept connections, from a process of its own.

It reads an ``Order`` as JSON from standard input, and writes the seconds that each answer took. Requests are rendered
beforehand and answers are not parsed, so that the daemon is what is measured.
"""

from __future__ import annotations

import json
import secrets
import selectors
import socket
import sys
from collections import deque
from dataclasses import asdict, dataclass
from typing import Final

from listener.core import clock

BODY: Final = json.dumps(
    {
        "function": "Cover",
        "input": "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4",
        "output": "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg",
        "route": "covers",
        "data": {"article": 7},
    }
).encode()
HEAD: Final = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Accept: */*\r\nUser-Agent: submitter\r\nPrefer: respond-async\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    socket: str  #: the unix socket of the daemon
    count: int
    connections: int
    rate: float  #: requests per second; 0: each connection sends the next one once it has an answer
    keyed: bool  #: with an Idempotency-Key

    @property
    def text(self) -> str:
        return json.dumps(asdict(self))


def requests(order: Order) -> list[bytes]:
    series = secrets.token_hex(4)
    keys = [f"Idempotency-Key: {series}-{number}\r\n".encode() for number in range(order.count)]
    length = b"Content-Length: %d\r\n\r\n" % len(BODY)
    return [HEAD + (key if order.keyed else b"") + length + BODY for key in keys]


class Submitter:
    """All connections, in one thread."""

    def __init__(self, order: Order) -> None:
        self._selector = selectors.DefaultSelector()
        self._free = deque[socket.socket]()
        self._rate = order.rate
        self._due = dict[socket.socket, float]()  # when the request under way was to be sent
        self._requests = deque(requests(order))
        self._sent = 0
        self.latencies: list[float] = []
        for _ in range(order.connections):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(order.socket)
            self._selector.register(connection, selectors.EVENT_READ)
            self._free.append(connection)

    def run(self) -> None:
        self._began = clock.monotonic()
        while self._requests or self._due:
            self._send()
            for key, _ in self._selector.select(self._pause()):
                self._receive(key.fileobj)  # type: ignore[arg-type] # only sockets are registered

    def _pause(self) -> float | None:
        if not self._rate or not self._requests or not self._free:
            return None
        return max(0.0, self._next() - clock.monotonic())

    def _next(self) -> float:
        return self._began + self._sent / self._rate if self._rate else clock.monotonic()

    def _send(self) -> None:
        while self._requests and self._free and (due := self._next()) <= clock.monotonic():
            connection = self._free.popleft()
            connection.sendall(self._requests.popleft())
            self._due[connection] = due
            self._sent += 1

    def _receive(self, connection: socket.socket) -> None:
        answer = connection.recv(1 << 16)
        head, _, body = answer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        while len(body) < length:
            body += connection.recv(1 << 16)
        if not head.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(f"{head!r}: {body!r}")
        self.latencies.append(clock.monotonic() - self._due.pop(connection))
        self._free.append(connection)


def main() -> None:
    submitter = Submitter(Order(**json.load(sys.stdin)))
    submitter.run()
    json.dump(submitter.latencies, sys.stdout)


if __name__ == "__main__":
    main()
