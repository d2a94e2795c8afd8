"""A server that answers with the bytes it is given: proxies, portals and broken services."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


def http_reply(body: bytes = b"", *, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """A reply that is sent piece by piece: each read of the peer gets something soon, but never the end of it."""

    first: bytes = b""
    repeated: bytes
    times: int  #: after these the connection is closed, so that a peer that does not give up fails as well
    pause: float = 0.0  #: seconds


Reply = bytes | Pieces | None


class RawServer:
    """Each connection is served by the next entry of a script: replies for its requests, one after another.

    It is closed after the last of them. ``None`` never answers; the last entry serves all further connections.
    """

    def __init__(self, script: Iterable[list[Reply]], *, tls: ssl.SSLContext | None = None) -> None:
        self._script = list(script)
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._listening.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._closing = threading.Event()
        self.requests: list[bytes] = []  #: the first line of each
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._closing.set()
        for each in (self._listening, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join(30)

    def _run(self) -> None:
        place = 0
        while not self._closing.is_set():
            try:
                connection = self._listening.accept()[0]
            except OSError:
                return
            with suppress(OSError):
                if self._tls:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
                self._serve(connection, self._script[min(place, len(self._script) - 1)])
            place += 1

    def _serve(self, connection: socket.socket, replies: list[Reply]) -> None:
        for reply in replies:
            self.requests.append(_request(connection).split(b"\r\n")[0])
            if reply is None:
                connection.recv(1)  # until the client or the test has had enough
                return
            self._send(connection, reply)
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def _send(self, connection: socket.socket, reply: bytes | Pieces) -> None:
        if isinstance(reply, bytes):
            connection.sendall(reply)
            return
        connection.sendall(reply.first)
        for _ in range(reply.times):
            connection.sendall(reply.repeated)
            self._closing.wait(reply.pause)


def _request(connection: socket.socket) -> bytes:
    """A whole request: left unread, its rest would reset the connection when that is closed."""
    received = b""
    while not _is_complete(received) and (piece := connection.recv(65_536)):
        received += piece
    return received


def _is_complete(request: bytes) -> bool:
    if request and not request[:1].isalpha():
        return True  # not HTTP, e.g. the beginning of TLS
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


@contextmanager
def serving(*script: list[Reply], tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    server = RawServer(script, tls=tls)
    server.start()
    try:
        yield server
    finally:
        server.stop()
