"""A receiver of webhooks that trickles its responses, and logs the calls like the recorder does."""

from __future__ import annotations

import json
import select
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.soak.evidence import ANY_PROCESS
from tests.soak.plan import TRICKLE

#: Between two bytes: shorter than every timeout of a single read.
PAUSE = 0.25
HANDLER = "hook"


class WebhookReceiver:
    """The file of its calls, and how often it trickled."""

    def __init__(self, folder: Path, *, slowness: float) -> None:
        self.happened: Counter[str] = Counter()
        self.trickling = TRICKLE * slowness  #: for how many seconds
        self._lock = threading.Lock()
        self._begun: Counter[int] = Counter()
        self._file = folder / "evidence" / "receiver.jsonl"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _answering(self))
        self._server.daemon_threads = False  # so that its end waits for them
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    @contextmanager
    def serving(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def begin(self, result: dict[str, Any]) -> bool:
        """Log the call; returns whether it is the first one of this item."""
        more = {"n": result["data"]["n"], "job": result["job_id"], "state": result["state"]}
        with self._lock:
            self._begun[more["n"]] += 1
            self._write({"what": "begin", **_mark(result), **more, "route": result["route"]})
            return self._begun[more["n"]] == 1

    def end(self, result: dict[str, Any], how: str) -> None:
        with self._lock:
            self._write({"what": how, **_mark(result)})

    def _write(self, line: dict[str, Any]) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps({**line, "at": time.monotonic()}) + "\n")


def _mark(result: dict[str, Any]) -> dict[str, Any]:
    return {"key": result["key"], "attempt": result["attempt"], "pid": ANY_PROCESS, "handler": HANDLER}


def _answering(receiver: WebhookReceiver) -> type[BaseHTTPRequestHandler]:
    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            # Every response says so, or the caller might use the connection again.
            self.close_connection = True
            length = int(self.headers["content-length"])
            body = self.rfile.read(length)
            if len(body) < length:  # the caller was killed meanwhile
                return
            result = json.loads(body)
            first = receiver.begin(result)
            if result["data"].get("do") == "trickle-headers" and first:
                receiver.happened["trickle-headers"] += 1
                self._trickle(b"HTTP/1.1 200 OK\r\nConnection: close\r\nX-Slow: ")
                receiver.end(result, "raised")
                return
            receiver.end(result, "returned")
            if result["data"].get("do") == "trickle-body":
                receiver.happened["trickle-body"] += 1
                self._trickle(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n")
            else:
                self._send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

        def _trickle(self, beginning: bytes) -> None:
            """Byte by byte, until the caller hangs up or the time is over."""
            until = time.monotonic() + receiver.trickling
            going = self._send(beginning)
            while going and time.monotonic() < until:
                # A caller sends nothing more, so that there is only its hanging up to be read.
                hung_up, _, _ = select.select([self.connection], [], [], PAUSE)
                going = not hung_up and self._send(b".")

        def _send(self, part: bytes) -> bool:
            try:
                self.wfile.write(part)
            except OSError:
                return False
            return True

        def log_message(self, *_: Any) -> None:
            """Not to standard error."""

    return Answering
