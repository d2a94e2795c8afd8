"""Clients that open connections and do nothing keep nobody from asking for the health."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import select
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from structlog.testing import capture_logs

from listener.http import connections, time_limits
from listener.http.address import bind
from listener.http.connection_limit import connection_limit
from listener.http.server import MAX_HEAD, Server
from tests.support.waiting import wait_until

GET = b"GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n"
UNFINISHED = b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx"
WAIT = 0.2
MAX_CONNECTIONS = 64


class Application:
    """``/quick`` answers at once, ``/slow`` when it may, ``/endless`` sends all the time, ``/body`` reads first."""

    def __init__(self) -> None:
        self.began, self.may_answer, self.ended = (threading.Event() for _ in range(3))
        routes = [
            Route("/quick", self.quick),
            Route("/slow", self.slow),
            Route("/endless", self.endless),
            Route("/body", self.body, methods=["POST"]),
        ]
        self.app = Starlette(routes=routes)

    async def quick(self, _request: Request) -> Response:
        return PlainTextResponse("quick")

    async def body(self, request: Request) -> Response:
        self.began.set()
        await request.body()
        return PlainTextResponse("quick")

    def slow(self, _request: Request) -> Response:
        self.began.set()
        self.may_answer.wait(30)
        return PlainTextResponse("slow")

    async def endless(self, _request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 65_536
                    await asyncio.sleep(0)  # sending to a client that has gone waits for nothing
            finally:
                self.ended.set()

        return StreamingResponse(pieces())


@contextmanager
def serving(bound: socket.socket, application: Application) -> Iterator[tuple[str, int]]:
    address = bound.getsockname()
    server = Server(application.app, bound, max_connections=MAX_CONNECTIONS)
    server.start()
    try:
        yield address
    finally:
        application.may_answer.set()
        server.stop()


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limits, "WAIT_SECONDS", WAIT)


@pytest.fixture
def address(application: Application) -> Iterator[tuple[str, int]]:
    with serving(bind("127.0.0.1:0"), application) as address:
        yield address


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=30)


def reply_to(request: bytes, client: socket.socket) -> bytes:
    """Everything that comes back, up to the end of the reply's text."""
    client.sendall(request)
    reply = b""
    while not reply.endswith((b"quick", b"slow")) and (piece := client.recv(65_536)):
        reply += piece
    return reply


def test_a_request_to_upgrade_is_answered_like_any_other_and_without_advice(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    with connect(address) as client:
        request = GET.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")

        assert reply_to(request, client).endswith(b"quick")
    assert caplog.messages == []


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed it, with nothing sent."""
    if not select.select([client], [], [], 0)[0]:
        return False
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def ask(address: tuple[str, int]) -> bytes:
    with connect(address) as client:
        return reply_to(GET, client)


def test_a_request_gets_through_any_number_of_idle_connections(address: tuple[str, int]) -> None:
    idle = [connect(address) for _ in range(3 * MAX_CONNECTIONS)]

    assert ask(address).startswith(b"HTTP/1.1 200")
    wait_until(lambda: sum(not is_closed(client) for client in idle) < MAX_CONNECTIONS)
    assert is_closed(idle[0])
    assert not is_closed(idle[-1])
    for client in idle:
        client.close()


def test_a_request_that_is_processed_is_not_closed_for_others(
    address: tuple[str, int], application: Application
) -> None:
    with connect(address) as slow:
        slow.sendall(GET.replace(b"quick", b"slow"))
        assert application.began.wait(30)
        idle = [connect(address) for _ in range(2 * MAX_CONNECTIONS)]
        wait_until(lambda: is_closed(idle[0]))

        application.may_answer.set()
        assert reply_to(b"", slow).startswith(b"HTTP/1.1 200")
    for client in idle:
        client.close()


def test_a_request_that_is_processed_is_not_closed_for_bodies_that_do_not_end(
    address: tuple[str, int], application: Application
) -> None:
    with connect(address) as slow:
        slow.sendall(GET.replace(b"quick", b"slow"))
        assert application.began.wait(30)
        unfinished: list[socket.socket] = []
        for _ in range(MAX_CONNECTIONS + 1):
            application.began.clear()
            unfinished.append(connect(address))
            unfinished[-1].sendall(UNFINISHED)
            assert application.began.wait(30)

        wait_until(lambda: is_closed(unfinished[0]))
        application.may_answer.set()
        assert reply_to(b"", slow).startswith(b"HTTP/1.1 200")
    for client in unfinished:
        client.close()


@pytest.mark.usefixtures("short_wait")
def test_a_connection_that_sends_nothing_is_closed(address: tuple[str, int]) -> None:
    with connect(address) as client:
        assert client.recv(1) == b""


@pytest.mark.usefixtures("short_wait")
@pytest.mark.parametrize("before", [b"", GET], ids=["first-request", "second-request"])
def test_sending_a_request_slowly_does_not_keep_a_connection_open(
    address: tuple[str, int], before: bytes
) -> None:
    with connect(address) as client:
        if before:
            assert reply_to(before, client).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /quick HTTP/1.1\r\nX: ")

        def trickle() -> bool:
            try:
                client.sendall(b"x")
            except (BrokenPipeError, ConnectionResetError):
                return True
            return is_closed(client)

        wait_until(trickle)


@pytest.mark.usefixtures("short_wait")
@pytest.mark.parametrize("before", [b"", GET], ids=["first-request", "second-request"])
def test_a_body_that_does_not_end_is_not_waited_for(
    address: tuple[str, int], application: Application, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    monkeypatch.setattr(time_limits, "BODY_SECONDS", WAIT)
    with connect(address) as client:
        if before:
            assert reply_to(before, client).startswith(b"HTTP/1.1 200")
        client.sendall(UNFINISHED)
        assert application.began.wait(30)

        wait_until(lambda: is_closed(client))


@pytest.mark.usefixtures("short_wait")
def test_a_request_may_be_processed_for_longer(
    address: tuple[str, int], application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limits, "BODY_SECONDS", 0.0)
    with connect(address) as slow, connect(address) as idle:
        slow.sendall(GET.replace(b"quick", b"slow"))
        assert application.began.wait(30)
        wait_until(lambda: is_closed(idle))
        with connect(address) as later:
            wait_until(lambda: is_closed(later))

        application.may_answer.set()
        assert reply_to(b"", slow).startswith(b"HTTP/1.1 200")


def test_a_client_that_does_not_read_is_closed_and_its_response_ended(
    address: tuple[str, int], application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limits, "UNREAD_SECONDS", WAIT)
    with connect(address) as client:
        client.sendall(GET.replace(b"quick", b"endless"))

        assert application.ended.wait(30)


def test_a_connection_may_be_used_again(address: tuple[str, int]) -> None:
    with connect(address) as client:
        assert [reply_to(GET, client)[:12] for _ in range(3)] == [b"HTTP/1.1 200"] * 3


def test_a_head_that_is_too_long_is_refused(address: tuple[str, int]) -> None:
    with connect(address) as client:
        client.sendall(b"GET /quick HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 2 * MAX_HEAD)
        reply = client.recv(65_536)

    assert reply.startswith(b"HTTP/1.1 400")


class FullSocket(socket.socket):
    """A listening socket of a process that has no descriptors left, while ``full``."""

    full = True
    attempts = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.attempts += 1
        if self.full:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


def test_without_descriptors_accepting_is_retried_with_pauses(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []
    bound = FullSocket(fileno=bind("127.0.0.1:0").detach())

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        bound.full = len(pauses) < 3

    monkeypatch.setattr(connections.asyncio, "sleep", pause)
    with capture_logs() as logs, serving(bound, application) as address:
        assert ask(address).startswith(b"HTTP/1.1 200")
        monkeypatch.undo()

    assert pauses == [connections.ACCEPT_PAUSE_SECONDS] * 3
    assert [(entry["event"], entry["error"]) for entry in logs] == [
        ("http.accept_failed", "Too many open files")
    ]


def test_without_descriptors_an_idle_connection_makes_room(application: Application) -> None:
    bound = FullSocket(fileno=bind("127.0.0.1:0").detach())
    bound.full = False
    with serving(bound, application) as address, connect(address) as idle:
        assert ask(address).startswith(b"HTTP/1.1 200")
        bound.full = True
        with connect(address) as client:
            wait_until(lambda: is_closed(idle))
            bound.full = False
            assert reply_to(GET, client).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(4, 1), (64, 8), (256, 32), (1024, 64), (65_536, 64), (resource.RLIM_INFINITY, 64)],
)
def test_most_descriptors_are_left_to_everything_else(
    descriptors: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _limit: (descriptors, descriptors))

    assert connection_limit(64) == connections


def test_a_body_that_does_not_arrive_holds_no_stop_up_and_is_no_error(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limits, "STOPPING_BODY_SECONDS", 0.05)
    with serving(bind("127.0.0.1:0"), application) as address:
        client = connect(address)
        client.sendall(UNFINISHED)
        assert application.began.wait(30)

    with client, suppress(ConnectionResetError):
        assert client.recv(1) == b"", "it was answered"
