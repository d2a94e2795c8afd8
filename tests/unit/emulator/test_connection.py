"""The emulator's side of HTTP: targets, limits, slow clients, and clients that send no more."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from listener.emulator import Fault, FaultKind, Options, connection
from listener.emulator.asgi import read_request
from listener.emulator.connection import origin_form
from listener.emulator.limits import (
    MAX_ATTRIBUTES,
    MAX_BODY,
    MAX_CALL,
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_FIELDS,
    MAX_HEAD,
    MAX_HEADERS,
    MAX_MESSAGES,
    MAX_XML_ATTRIBUTES,
)
from listener.emulator.mns import xml
from listener.emulator.server import RunningEmulator, running
from listener.http import time_limits
from tests.support.cases import each_case
from tests.support.emulator_clients import BareMns, BareMps, elements, signed_headers
from tests.support.waiting import wait_until

MESSAGES = "/queues/q/messages"


@contextmanager
def connected(server: RunningEmulator) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        yield client


def head(method: str, target: str, *more: str, signed: str = "", body: bytes = b"") -> bytes:
    """The head of a request to MNS; ``signed`` is the target that the signature is about, if another."""
    fields = signed_headers(method, signed or target, body)
    lines = (
        f"{method} {target} HTTP/1.1",
        "host: localhost",
        *(f"{k}: {v}" for k, v in fields.items()),
        *more,
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def reply_of(client: socket.socket) -> bytes:
    """What comes until the server closes the connection, or until the end of a document."""
    received = b""
    while not received.endswith(b">") and (piece := client.recv(65_536)):
        received += piece
    return received


def is_answered(bare: BareMns) -> bool:
    return bare.request("GET", "/queues").status_code == 200


@pytest.mark.parametrize(
    ("target", "signed"),
    [
        pytest.param("http://mns.example/queues?a=b", "/queues?a=b", id="behind-a-proxy"),
        pytest.param("/queues?", "/queues?", id="empty-query"),
    ],
)
def test_target_is_read_and_signed_as_it_was_sent(server: RunningEmulator, target: str, signed: str) -> None:
    with connected(server) as client:
        client.sendall(head("GET", target, signed=signed))

        assert b"<Queues" in reply_of(client)


@each_case(
    ("target", "path"),
    [
        (b"http://host:80/a?b=c", b"/a?b=c"),
        (b"http://host", b"/"),
        (b"http://host?b=/", b"/?b=/"),
        (b"/a?b=http://host/c", b"/a?b=http://host/c"),
        (b"*", b"*"),
    ],
)
def test_origin_of_a_target_is_left_out(target: bytes, path: bytes) -> None:
    assert origin_form(target) == path


def test_query_may_be_as_long_as_a_head(server: RunningEmulator) -> None:
    query = f"Filler={'x' * (MAX_HEAD - 100)}&Format=JSON"
    with connected(server) as client:
        client.sendall(f"GET /?{query} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())

        assert b'"Code": "MissingParameter"' in reply_of(client)


@pytest.mark.parametrize(
    "request_head",
    [
        pytest.param(head("GET", f"/queues?{'x' * MAX_HEAD}"), id="target"),
        pytest.param(head("GET", "/queues", f"x: {'x' * 3 * MAX_HEAD}"), id="header"),
        pytest.param(head("GET", "/queues", *["x: y"] * MAX_HEADERS), id="headers"),
        pytest.param(head("GET", f"/queues?{'a&' * MAX_FIELDS}"), id="fields"),
    ],
)
def test_head_beyond_the_limits_is_refused(server: RunningEmulator, request_head: bytes) -> None:
    with connected(server) as client:
        try:
            client.sendall(request_head)
            reply = client.recv(65_536)
        except (BrokenPipeError, ConnectionResetError):  # it was refused before all of it was sent
            return

    assert reply.startswith(b"HTTP/1.1 400")


def test_too_large_a_body_gets_its_error_and_others_are_answered_meanwhile(
    server: RunningEmulator, bare: BareMns
) -> None:
    body = b"<Message><MessageBody>" + b"x" * (8 << 20)
    half = len(body) // 2
    with connected(server) as client:
        client.sendall(head("POST", MESSAGES, f"content-length: {len(body)}", body=body) + body[:half])
        assert is_answered(bare)
        client.sendall(body[half:])

        assert (
            f"The value of Content-Length should between 0 and {MAX_MESSAGES} bytes."
            in reply_of(client).decode()
        )


def test_attributes_have_a_smaller_limit(bare: BareMns) -> None:
    body = f"<Queue>{' ' * MAX_ATTRIBUTES}</Queue>"

    assert elements(bare.request("PUT", "/queues/q", body))["Code"] == "InvalidArgument"


def test_request_is_given_up_with_its_connection_also_if_another_one_came_behind_it(
    server: RunningEmulator,
) -> None:
    """Else the server would wait for it at its stop."""
    server.call(
        lambda emulator: emulator.faults.add([Fault(kind=FaultKind.STALL, operation="ReceiveMessage")])
    )
    tasks = server.call(lambda _emulator: len(asyncio.all_tasks()))
    with connected(server) as client:
        client.sendall(head("GET", MESSAGES) * 2)
        wait_until(lambda: server.call(lambda emulator: emulator.faults.happened("stall")) == 1)

    wait_until(lambda: server.call(lambda _emulator: len(asyncio.all_tasks())) == tasks)


def test_message_of_64_kb_fits_however_it_is_escaped(bare: BareMns) -> None:
    assert bare.send("q", "&quot;" * 65_536).status_code == 201


@pytest.mark.parametrize("filler", [{"Filler": "x" * MAX_CALL}, {f"F{n}": "" for n in range(MAX_FIELDS)}])
def test_call_with_too_large_a_form_is_refused(mps: BareMps, filler: dict[str, str]) -> None:
    fields = {"Action": "SearchPipeline", "Format": "JSON", **filler}
    reply = mps.http.post("/", data=fields)

    assert (reply.status_code, reply.json()["Code"]) == (413, "RequestBodyTooLarge")


def test_of_a_body_that_is_too_large_nothing_more_is_kept() -> None:
    parts = [b"x" * 65_536] * 100
    messages = iter({"type": "http.request", "body": part, "more_body": True} for part in parts)

    async def receive() -> dict[str, object]:
        return next(messages, {"type": "http.request", "body": b"", "more_body": False})

    class Connected:
        gone = staticmethod(lambda: False)

    scope = {
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [],
        "state": {"target": "/", "connection": Connected()},
    }
    request = asyncio.run(read_request(scope, receive))

    assert request is not None
    assert len(request.body) <= MAX_BODY
    assert request.body_size == 100 * 65_536


def test_xml_with_too_many_attributes_is_refused_before_it_is_read() -> None:
    text = b"<a %s/>" % b" ".join(b"a%d=''" % number for number in range(MAX_XML_ATTRIBUTES + 1))

    with pytest.raises(xml.Malformed, match="attributes"):
        xml.parse(text)


@pytest.mark.parametrize(
    ("depth", "width", "fits"),
    [
        pytest.param(MAX_DEPTH, 0, True, id="deep"),
        pytest.param(MAX_DEPTH + 1, 0, False, id="deeper"),
        pytest.param(1, MAX_ELEMENTS - 1, True, id="wide"),
        pytest.param(1, MAX_ELEMENTS, False, id="wider"),
    ],
)
def test_xml_is_read_up_to_its_limits(depth: int, width: int, fits: bool) -> None:
    text = b"<a>" * depth + b"<b/>" * width + b"</a>" * depth
    if fits:
        assert len(xml.parse(text)) == (width or 1)
        return
    with pytest.raises(xml.Malformed):
        xml.parse(text)


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(head("GET", "/queues")[:-4], id="head"),
        pytest.param(head("POST", MESSAGES, "content-length: 10") + b"<", id="body"),
    ],
)
def test_request_that_does_not_arrive_in_time_ends_its_connection(
    server: RunningEmulator, bare: BareMns, beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limits, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(time_limits, "BODY_SECONDS", 0.1)
    with connected(server) as slow, connected(server) as idle:
        idle.sendall(head("GET", "/queues"))
        assert b"<Queues" in reply_of(idle)
        slow.sendall(beginning)

        assert slow.recv(1) == b""
        idle.sendall(head("GET", "/queues"))
        assert b"<Queues" in reply_of(idle)


def test_connection_beyond_the_limit_closes_the_one_that_has_waited_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 3)
    with (
        running(Options(queues=("q",))) as server,
        connected(server) as polling,
        connected(server) as idle,
        connected(server) as latest,
    ):
        polling.sendall(head("GET", f"{MESSAGES}?waitseconds=30"))
        wait_until(lambda: server.call(lambda emulator: emulator.requests["ReceiveMessage"]) == 1)
        for client in (idle, latest):
            client.sendall(head("GET", "/queues"))
            assert b"</Queues>" in reply_of(client)
        with connected(server) as another:
            assert idle.recv(1) == b""
            for client in (latest, another):
                client.sendall(head("GET", "/queues"))
                assert b"</Queues>" in reply_of(client)


def test_request_to_upgrade_is_answered_like_any_other_and_without_advice(
    server: RunningEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(server) as client:
        client.sendall(head("GET", "/queues", "connection: upgrade", "upgrade: websocket"))

        assert b"<Queues" in reply_of(client)
    assert caplog.messages == []


def test_client_that_sends_no_more_gets_its_reply(server: RunningEmulator, bare: BareMns) -> None:
    with connected(server) as client:
        client.sendall(head("GET", f"{MESSAGES}?waitseconds=30"))
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: server.call(lambda emulator: emulator.requests["ReceiveMessage"]) == 1)
        bare.send("q", "hello")
        reply = reply_of(client)

        assert b"<MessageBody>hello</MessageBody>" in reply
        assert re.match(rb"(HTTP/1.1 100 Continue\r\n\r\n)+HTTP/1.1 200 OK\r\n", reply)
        assert client.recv(1) == b""


def test_request_of_a_client_that_has_gone_is_given_up(
    server: RunningEmulator, bare: BareMns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it went later, and there is never anything to send it."""
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.05)
    server.call(
        lambda emulator: emulator.faults.add([Fault(kind=FaultKind.STALL, operation="ReceiveMessage")])
    )
    tasks = server.call(lambda _emulator: len(asyncio.all_tasks()))
    with connected(server) as client:
        client.sendall(head("GET", MESSAGES))
        wait_until(lambda: server.call(lambda emulator: emulator.faults.happened("stall")) == 1)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(65_536).startswith(b"HTTP/1.1 100")
        assert server.call(lambda _emulator: len(asyncio.all_tasks())) == tasks + 1

    wait_until(lambda: server.call(lambda _emulator: len(asyncio.all_tasks())) == tasks)
