"""Which requests are refused before the application gets them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from urllib.parse import unquote

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from listener.http.guard import MAX_BODY, Guard
from tests.support.cases import each_case


def reply_to(
    headers: Mapping[str, str],
    *,
    allowed_hosts: Collection[str] | None = ("Listener.internal",),
    method: str = "GET",
    path: str = "/",
) -> httpx.Response:
    guard = Guard(
        PlainTextResponse("passed"), allowed_hosts=allowed_hosts, body_limits={"/large/": 2 * MAX_BODY}
    )

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(ask())


@each_case(
    "host",
    [
        "localhost",
        "localhost:8471",
        "LOCALHOST.",
        "127.0.0.1:8471",
        "[::1]:8471",
        "[::1]",
        pytest.param("localhost:", id="empty-port"),
        "localhost:65535",
        pytest.param("10.0.0.7:8471", id="address-of-a-pod"),
        "listener.internal:8471",
        "Listener.Internal",
        pytest.param("", id="http-1.0"),
    ],
)
def test_names_of_this_machine_and_addresses_pass(host: str) -> None:
    reply = reply_to({"host": host})

    assert (reply.status_code, reply.text) == (200, "passed")


@each_case(
    "host",
    [
        "attacker.example",
        "attacker.example:8471",
        "localhost.attacker.example",
        "127.0.0.1.attacker.example",
        "1.2.3",
        "[attacker:example]",
        "internal",
    ],
)
def test_any_other_name_is_refused_with_a_hint(host: str) -> None:
    reply = reply_to({"host": host})

    assert reply.status_code == 403
    assert "http.allowed_hosts" in reply.text
    assert reply.headers["connection"] == "close"


@each_case(
    "host",
    [
        "localhost:evil",
        "127.0.0.1:evil",
        "[::1]:evil",
        "[::1]evil",
        "[::1",
        "::1",
        "[localhost]",
        "localhost:80:80",
        "localhost:80@attacker.example",
        "localhost:-1",
        "localhost:65536",
        pytest.param("localhost:" + "9" * 5000, id="thousands-of-digits"),
        ":80",
    ],
)
def test_a_host_that_is_none_or_a_port_that_is_none_is_refused(host: str) -> None:
    reply = reply_to({"host": host})

    assert (reply.status_code, reply.json()["title"]) == (400, "The request cannot be read")
    assert "HOST:PORT" in reply.json()["hint"]
    assert reply.headers["connection"] == "close"


def test_without_a_list_every_name_passes() -> None:
    assert reply_to({"host": "proxy.example"}, allowed_hosts=None).status_code == 200


@each_case(
    ("length", "status"),
    [
        (str(MAX_BODY), 200),
        (f"{MAX_BODY:030}", 200),
        (str(MAX_BODY + 1), 413),
        pytest.param("9" * 5000, 413, id="thousands-of-digits"),
    ],
)
def test_the_length_of_a_body_is_limited(length: str, status: int) -> None:
    assert reply_to({"content-length": length}).status_code == status


def test_a_body_of_unknown_length_is_refused() -> None:
    assert reply_to({"transfer-encoding": "chunked"}).status_code == 411


def test_a_path_may_have_a_limit_of_its_own() -> None:
    assert reply_to({"content-length": str(2 * MAX_BODY)}, path="/large/one").status_code == 200
    assert reply_to({"content-length": str(2 * MAX_BODY + 1)}, path="/large/one").status_code == 413


@each_case(
    ("origin", "host", "allowed"),
    [
        ("http://localhost:8471", "localhost:8471", True),
        ("http://LOCALHOST:8471", "localhost:8471", True),
        pytest.param("https://listener.internal", "listener.internal", True, id="behind-a-proxy-with-tls"),
        pytest.param("http://localhost:3000", "localhost:8471", False, id="another-port"),
        ("https://attacker.example", "localhost:8471", False),
        pytest.param("null", "localhost:8471", False, id="hidden"),
        pytest.param("http://[", "localhost:8471", False, id="garbled"),
        pytest.param("", "", False, id="without-a-host"),
    ],
)
@each_case("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_page_of_another_server_changes_nothing(origin: str, host: str, allowed: bool, method: str) -> None:
    reply = reply_to({"origin": origin, "host": host}, method=method)

    assert reply.status_code == (200 if allowed else 403)
    assert reply_to({"origin": origin, "host": host}).status_code == 200


def test_a_form_of_another_page_is_read_before_it_is_refused() -> None:
    """Or the connection might be reset before the client has read the response."""
    happened: list[str] = []
    parts = [{"type": "http.request", "body": b"x" * size, "more_body": bool(size)} for size in (9, 9, 0)]

    async def receive() -> Message:
        happened.append("read")
        return parts.pop(0)

    async def send(message: Message) -> None:
        happened.append(message["type"])

    asked = httpx.Request("POST", "http://localhost/sign-in", headers={"origin": "https://attacker.example"})
    scope = {"type": "http", "method": asked.method, "path": asked.url.path, "headers": asked.headers.raw}
    asyncio.run(Guard(PlainTextResponse("passed"), allowed_hosts=None)(scope, receive, send))

    assert happened == ["read"] * 3 + ["http.response.start", "http.response.body"]


def test_no_more_is_read_than_a_body_may_have() -> None:
    read = 0

    async def receive() -> Message:
        nonlocal read
        read += MAX_BODY // 2
        return {"type": "http.request", "body": b"x" * (MAX_BODY // 2), "more_body": True}

    async def send(_message: Message) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"attacker.example")]}
    asyncio.run(Guard(PlainTextResponse("passed"), allowed_hosts=())(scope, receive, send))

    assert read == MAX_BODY


def test_a_refusal_is_a_problem_document() -> None:
    reply = reply_to({"origin": "https://attacker.example"}, method="POST")

    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["type"].endswith("#forbidden-origin")


def answered(target: bytes, host: bytes) -> tuple[int, Scope]:
    """The status, and what the application behind the guard got."""
    got: list[Scope] = []
    statuses: list[int] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        got.append(scope)
        await PlainTextResponse("passed")(scope, receive, send)

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    scope = {"type": "http", "method": "GET", "path": unquote(target.decode()), "raw_path": target}
    scope["headers"] = [(b"accept", b"*/*"), (b"host", host)]
    asyncio.run(Guard(application, allowed_hosts=())(scope, receive, send))
    return statuses[0], got[0] if got else {}


@each_case(
    ("target", "path"),
    [
        (b"http://localhost:8471/v1/a%2Fb", "/v1/a/b"),
        (b"HTTPS://127.0.0.1", "/"),
        (b"/v1/http://localhost/x", "/v1/http://localhost/x"),
        (b"http%3A//localhost/v1", "http://localhost/v1"),
    ],
)
def test_a_target_that_is_a_whole_url_is_its_path(target: bytes, path: str) -> None:
    status, scope = answered(target, b"localhost")

    assert (status, scope["path"]) == (200, path)


def test_the_host_of_a_target_counts_instead_of_the_header() -> None:
    status, scope = answered(b"http://localhost/v1", b"attacker.example")

    assert (status, dict(scope["headers"])[b"host"]) == (200, b"localhost")
    assert answered(b"http://attacker.example/v1", b"localhost")[0] == 403
    assert answered(b"http:///v1", b"attacker.example")[0] == 403


@each_case(
    ("headers", "hint"),
    [
        ({"transfer-encoding": "chunked"}, "Content-Length"),
        ({"content-length": str(MAX_BODY + 1)}, "less"),
        ({"origin": "http://attacker.example"}, "page of this server"),
        ({"host": "attacker.example"}, "http.allowed_hosts"),
    ],
)
def test_every_refusal_says_what_to_do(headers: dict[str, str], hint: str) -> None:
    assert hint in reply_to(headers, method="POST").json()["hint"]
