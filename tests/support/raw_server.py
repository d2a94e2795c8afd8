"""A server that answers with the bytes it is given: proxies, portals and broken services."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress


def http_reply(body: bytes = b"", *, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


class RawServer:
    """Each connection is served by the next entry of a script: replies for its requests, one after another.

    It is closed after the last of them. ``None`` never answers; the last entry serves all further connections.
    """

    def __init__(self, script: Iterable[list[bytes | None]]) -> None:
        self._script = list(script)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
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
            self._open.append(connection)
            with suppress(OSError):
                self._serve(connection, self._script[min(place, len(self._script) - 1)])
            place += 1

    def _serve(self, connection: socket.socket, replies: list[bytes | None]) -> None:
        for reply in replies:
            request = connection.recv(65_536)
            self.requests.append(request.split(b"\r\n")[0])
            if reply is None:
                connection.recv(1)  # until the client or the test has had enough
                return
            connection.sendall(reply)
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()


@contextmanager
def serving(*script: list[bytes | None]) -> Iterator[RawServer]:
    server = RawServer(script)
    server.start()
    try:
        yield server
    finally:
        server.stop()
