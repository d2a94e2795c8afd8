"""Health and metrics over TCP and over a unix socket."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from listener.http.address import bind
from listener.http.app import application
from listener.http.head import HeadAsGet
from listener.http.server import Server
from listener.runtime.liveness import Health
from listener.runtime.metrics import Metrics

#: The longest that anything may take.
TIMEOUT = 90.0


class Process:
    """What the endpoints show, as the test wants it."""

    def __init__(self) -> None:
        self.alive = self.ready = True
        self.metrics = Metrics()

    def application(self, otherwise: ASGIApp | None = None) -> Any:
        return application(
            alive=lambda: Health(ok=self.alive, details={"stalled": [] if self.alive else ["poll q"]}),
            ready=lambda: Health(ok=self.ready, details={"store": "ok" if self.ready else "away"}),
            metrics=self.metrics.exposition,
            otherwise=otherwise,
        )


@contextmanager
def serving(process: Process, bound: socket.socket, otherwise: ASGIApp | None = None) -> Iterator[None]:
    server = Server(process.application(otherwise), bound, max_connections=64)
    server.start()
    try:
        yield
    finally:
        server.stop()


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture(params=["tcp", "unix"])
def client(request: pytest.FixtureRequest, process: Process, tmp_path: Path) -> Iterator[httpx.Client]:
    path = tmp_path / "http.sock"
    bound = bind("127.0.0.1:0" if request.param == "tcp" else f"unix:{path}")
    url = f"http://127.0.0.1:{bound.getsockname()[1]}" if request.param == "tcp" else "http://localhost"
    transport = httpx.HTTPTransport(uds=str(path) if request.param == "unix" else None)
    with serving(process, bound), httpx.Client(base_url=url, transport=transport, trust_env=False) as client:
        yield client


def test_healthz_reports_whether_the_loops_run(process: Process, client: httpx.Client) -> None:
    good = client.get("/healthz")
    process.alive = False
    bad = client.get("/healthz")

    assert (good.status_code, good.json()) == (200, {"ok": True, "stalled": []})
    assert (bad.status_code, bad.json()) == (503, {"ok": False, "stalled": ["poll q"]})


def test_readyz_is_apart_from_healthz(process: Process, client: httpx.Client) -> None:
    process.ready = False

    assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").json() == {"ok": False, "store": "away"}
    assert client.get("/healthz").status_code == 200


def test_metrics_are_in_the_form_of_prometheus(process: Process, client: httpx.Client) -> None:
    process.metrics.polled("q", messages=3, seconds=0.1)
    reply = client.get("/metrics")

    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'mns_listener_messages_received_total{queue="q"} 3.0' in reply.text.splitlines()


def test_there_is_nothing_else(client: httpx.Client) -> None:
    assert client.get("/").status_code == 404
    assert client.post("/healthz").status_code == 405


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/nothing"])
def test_head_is_answered_as_get_is_without_the_body(client: httpx.Client, path: str) -> None:
    head, get = client.head(path), client.get(path)

    assert (head.status_code, head.headers, head.content) == (get.status_code, get.headers, b"")


def test_a_stream_that_never_ends_is_ended_by_head(process: Process) -> None:
    """And its connection serves the next request."""
    ended = threading.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            await asyncio.Event().wait()
            yield "never"
        finally:
            ended.set()

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(endless(), media_type="text/event-stream")(scope, receive, send)

    bound = bind("127.0.0.1:0")
    with serving(process, bound, HeadAsGet(stream)):
        client = http.client.HTTPConnection(*bound.getsockname(), timeout=TIMEOUT)
        client.request("HEAD", "/events")
        head = client.getresponse()
        head.read()
        connection = client.sock
        client.request("GET", "/healthz")

        assert (head.status, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert ended.wait(TIMEOUT)
        assert (client.getresponse().status, client.sock) == (200, connection)
        client.close()


def test_a_stopped_server_releases_its_address(process: Process) -> None:
    bound = bind("127.0.0.1:0")
    listen = f"127.0.0.1:{bound.getsockname()[1]}"
    with serving(process, bound):
        pass

    bind(listen).close()


def test_no_answer_needs_a_thread(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of the API may have taken all of them, and wait for a store that stands still."""

    async def no_thread(*_given: Any, **_named: Any) -> None:
        raise AssertionError("there is no thread left")

    monkeypatch.setattr(anyio.to_thread, "run_sync", no_thread)
    bound = bind("127.0.0.1:0")
    with serving(process, bound):
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        replies = [httpx.get(f"{url}{path}", trust_env=False) for path in ("/healthz", "/readyz", "/metrics")]

    assert [reply.status_code for reply in replies] == [200] * 3
