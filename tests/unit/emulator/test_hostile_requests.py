"""Whatever is sent to the control plane or over the wire: no error inside the emulator, and others are served."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.emulator import Emulator, Options
from listener.emulator.asgi import application
from listener.emulator.faults import FaultKind
from listener.emulator.messages import Reply, Request
from listener.emulator.request_log import KEPT
from listener.emulator.server import RunningEmulator
from tests.support.emulator_clients import BareMns, signed_headers

numbers: st.SearchStrategy[Any] = st.sampled_from(
    [0, 1, -1, 3, 0.5, 1e308, -1e9, 10**30, float("nan"), float("inf"), True, None, "1", [], {}]
)
texts = st.sampled_from(["", "*", "q", "[", "[z-a]", "?" * 99, "*a" * 40, "\ud800", "\x00", "é", "mns"])
json_values = st.recursive(
    numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
faults = st.fixed_dictionaries(
    {"kind": st.sampled_from(list(FaultKind)) | texts},
    optional={
        **dict.fromkeys(("name", "queue", "topic", "function", "body"), texts),
        "service": st.sampled_from(["*", "mns"]) | texts,
        "operation": st.sampled_from(["*", "*Receive*"]) | texts,
        **dict.fromkeys(
            ("probability", "every", "skip", "count", "start", "stop", "seconds", "status", "keep", "copies"),
            numbers,
        ),
        "after": st.booleans(),
        "unknown": numbers,
    },
)
bodies = (json_values | faults | st.lists(faults, max_size=3)).map(json.dumps) | st.sampled_from(
    ["", "{", "[" * 9_000, '{"a":' * 9_000, "1" * 5_000, "\ufeff{}"]
)
paths = st.sampled_from(
    ["state", "reset", "faults", "clock", "requests", "queues/q/messages", "queues/%00/messages",
     "queues/a%2Fb/messages", "", "faults/", "nothing"]
)  # fmt: skip
queries = st.dictionaries(
    st.sampled_from(["delay", "escape", "after", "operation", "queue", "status", "other"]),
    st.sampled_from(["", "0", "true", "-1", "9" * 5_000, "[", "*a" * 40, "é", "\x00", "²"]),
    max_size=2,
)


async def controlled(emulator: Emulator, *requests: tuple[str, str, dict[str, str], str]) -> list[int]:
    """The statuses of requests to the control plane; whatever is raised inside is raised here."""
    transport = httpx.ASGITransport(app=application(emulator))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", verify=False) as client:
        return [
            (await client.request(method, f"/_emulator/{path}", params=query, content=body)).status_code
            for method, path, query, body in requests
        ]


def signed(method: str, target: str, body: bytes = b"") -> Request:
    path, _, query = target.partition("?")
    return Request(
        method=method,
        path=path,
        target=target,
        raw_query=query,
        headers=signed_headers(method, target, body),
        body=body,
    )


@settings(deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD"]), path=paths, query=queries, body=bodies
)
def test_control_plane_knows_an_answer_to_everything(
    method: str, path: str, query: dict[str, str], body: str
) -> None:
    async def run() -> None:
        emulator = Emulator(Options(seed=1))
        text = body.encode("utf-8", "surrogatepass")
        asked, *others = await controlled(
            emulator,
            (method, path, query, text.decode("utf-8", "surrogateescape")),
            *(("GET", each, {}, "") for each in ("state", "faults", "clock", "requests")),
        )
        emulator.close()
        assert asked < 500
        assert others == [200] * 4

    asyncio.run(run())


@settings(deadline=None)
@given(given=st.lists(faults, min_size=1, max_size=3))
def test_no_fault_breaks_the_emulator_for_good(given: list[dict[str, Any]]) -> None:
    """A request under it is answered, or waits as the fault says; without it, requests are answered as ever."""

    async def run() -> None:
        emulator = Emulator(Options(seed=1, queues=("q",)))
        body = json.dumps(given)
        status, reported = await controlled(emulator, ("POST", "faults", {}, body), ("GET", "faults", {}, ""))
        assert status in (201, 400)
        assert reported == 200
        send = signed("POST", "/queues/q/messages", b"<Message><MessageBody>a</MessageBody></Message>")
        waiting = [asyncio.create_task(emulator.answer(each)) for each in (send, signed("GET", "/queues"))]
        await asyncio.sleep(0)
        emulator.faults.clear()
        reply = await emulator.answer(signed("GET", "/queues/q"))
        emulator.close()
        for task in waiting:
            assert isinstance(await task, Reply)
        assert reply.status == 200

    asyncio.run(run())


def test_names_that_clients_make_up_are_not_kept() -> None:
    async def run() -> Emulator:
        emulator = Emulator(Options(seed=1))
        for number in range(1_100):
            await emulator.answer(signed("GET", f"/queues?accountmeta={number}"))
            query = f"Action=Action{number}"
            await emulator.answer(
                Request(method="GET", path="/", target=f"/?{query}", raw_query=query, headers={}, body=b"")
            )
        emulator.close()
        return emulator

    emulator = asyncio.run(run())

    assert emulator.requests == {"GetAccountAttributes": 1_100, "unknown": 1_100}
    assert len(emulator.log.select({})) == KEPT


FIRST_LINES = (
    b"GET /queues HTTP/1.1", b"GET / HTTP/1.0", b"POST /queues/q/messages HTTP/1.1", b"GET http://[ HTTP/1.1",
    b"GET /%zz?%=&&=%00 HTTP/1.1", b"PRI * HTTP/2.0", b"\x16\x03\x01", b"CONNECT a:1 HTTP/1.1", b"OPTIONS * HTTP/1.1",
    b"GET /_emulator/state HTTP/1.1", b"get\tx", b"GET " + b"/a" * 40_000 + b" HTTP/1.1", b"GET //..//queues HTTP/1.1",
)  # fmt: skip
FIELDS = (
    b"host: localhost", b"content-length: 5", b"content-length: -1", b"content-length: " + b"9" * 40, b": x",
    b"transfer-encoding: chunked", b"x-mns-version: 2015-06-06", b"authorization: MNS", b"expect: 100-continue",
    b"authorization: " + b"A" * 9_000, b"date: \xff\x00", b"connection: close", b"upgrade: h2c", b"a" * 70_000,
)  # fmt: skip
RESTS = (b"", b"<Mes", b"5\r\nabcde\r\n0\r\n\r\n", b"\x00" * 99)


@settings(deadline=None, max_examples=40)
@given(  # by number, since some are long
    first=st.integers(0, len(FIRST_LINES) - 1),
    fields=st.lists(st.integers(0, len(FIELDS) - 1), max_size=6),
    rest=st.integers(0, len(RESTS) - 1),
)
def test_no_bytes_on_a_connection_break_the_server(
    shared_emulator: RunningEmulator, first: int, fields: list[int], rest: int
) -> None:
    """While the connection is open, and whatever becomes of it, another client is answered."""
    lines = [FIRST_LINES[first], *(FIELDS[field] for field in fields), b"", RESTS[rest]]
    bare = BareMns(shared_emulator.url)
    with bare.http, socket.create_connection(("127.0.0.1", shared_emulator.port), timeout=60) as hostile:
        try:
            hostile.sendall(b"\r\n".join(lines))
            assert bare.request("GET", "/queues").status_code == 200
            hostile.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: hostile.recv(65_536), b""))
        except TimeoutError:
            raise
        except OSError:
            received = b""  # reset by the server, which has read enough

    assert not received.startswith(b"HTTP/1.1 5")
