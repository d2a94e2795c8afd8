"""A real HTTP server on the loopback that stands for whoever receives webhooks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    """What the server saw and what it answers. ``gate`` holds every answer back while it is not set."""

    url: str = ""
    requests: list[Received] = field(default_factory=list)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    arrived: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)


@contextmanager
def a_receiver() -> Iterator[Receiver]:
    """A receiver that answers 200 until configured otherwise."""
    receiver = Receiver()
    receiver.gate.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _answering(receiver))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    try:
        yield receiver
    finally:
        receiver.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _answering(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.append(Received(self.path, headers, body))
            receiver.arrived.set()
            receiver.gate.wait()
            self._answer()

        def _answer(self) -> None:
            try:
                self.send_response(receiver.status)
                for name, value in {"content-length": str(len(receiver.body)), **receiver.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(receiver.body)
            except ConnectionError:
                pass  # the sender timed out, or had read enough

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    return Answering
