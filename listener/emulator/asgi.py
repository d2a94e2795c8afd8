"""The emulator as an ASGI application: the two services, and control under ``/_emulator/``."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache, partial
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request as ControlRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from listener.core import clock
from listener.emulator.clock_control import ClockControl
from listener.emulator.emulator import Emulator
from listener.emulator.faults import parse
from listener.emulator.limits import MAX_BODY, MAX_CONTROL
from listener.emulator.messages import Reply, Request, Transmission
from listener.emulator.mns.arguments import WEEK, is_queue_name
from listener.emulator.mns.endpoints import CERTIFICATE_PATH
from listener.emulator.mns.queue import Draft, body_md5, draft
from listener.emulator.request_control import RequestControl
from listener.http.guard import Guard


def application(emulator: Emulator) -> ASGIApp:
    """The services do their own routing: Starlette with its middleware would take a tenth of their time."""
    services = Services(emulator)
    control = Control(emulator)
    guarded = Guard(
        loopback_only(control.application()),
        allowed_hosts=(),
        body_limits={"/_emulator": MAX_CONTROL},
        hint="use localhost or the address",
    )
    others = Starlette(
        routes=[Mount("/_emulator", app=guarded), Route(CERTIFICATE_PATH, partial(_certificate, emulator))]
    )

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        apart = path == "/_emulator" or path.startswith(("/_emulator/", CERTIFICATE_PATH))
        chosen = others if apart else services
        await chosen(scope, receive, send)

    return either


async def _certificate(emulator: Emulator, request: ControlRequest) -> Response:
    """The certificate of pushes to HTTP endpoints, which anybody may read."""
    pem = await (await emulator.pusher()).certificate()
    return Response(pem, media_type="application/x-pem-file")


class Services:
    """MNS and MPS on one address."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await read_request(scope, receive)
        if request is None:
            return
        reply = await self._emulator.answer(request)
        if reply.transmission in (Transmission.SENT, Transmission.UNASKED):
            await send(self._start(reply, request))
            await send({"type": "http.response.body", "body": reply.body})
            if reply.transmission == Transmission.UNASKED:
                scope["state"]["connection"].send_unasked()
            return
        if reply.transmission == Transmission.TRUNCATED:
            await send(self._start(reply, request))
            await send({"type": "http.response.body", "body": reply.body[: reply.keep], "more_body": True})
        if reply.transmission != Transmission.STALLED:
            scope["state"]["connection"].end(reset=reply.transmission == Transmission.RESET)
        # Returns once the connection is closed; otherwise uvicorn would send a reply itself.
        await receive()

    @staticmethod
    def _start(reply: Reply, request: Request) -> Message:
        """The head of a reply. A 204 has no content-length, every other reply has one."""
        fields = [
            ("date", http_date(int(clock.timestamp() + reply.skew.total_seconds()))),
            ("content-type", reply.content_type),
            *reply.headers,
        ]
        if request.headers.get("connection", "").lower() != "close":
            fields.append(("connection", "keep-alive"))
        if reply.status != 204:
            fields.append(("content-length", str(len(reply.body))))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        return {"type": "http.response.start", "status": reply.status, "headers": headers}


@lru_cache(maxsize=4)
def http_date(seconds: int) -> str:
    """Seconds since 1970 as a Date header has them. Many replies of one second have the same."""
    return formatdate(seconds, usegmt=True)


async def read_request(scope: Scope, receive: Receive) -> Request | None:
    """Read a complete request; None if the client disconnects first.

    A body that is too large is read to its end, so that any client gets its error, but not kept.
    """
    parts: list[bytes] = []
    size = dropped = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size <= MAX_BODY:
            parts.append(part)
        else:
            dropped += len(part)
        more = message.get("more_body", False)
    return Request(
        method=scope["method"],
        path=scope["path"],
        target=scope["state"]["target"],
        raw_query=scope["query_string"].decode("latin-1"),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=b"".join(parts),
        dropped=dropped,
        gone=scope["state"]["connection"].gone,
    )


class Control:
    """Control of the emulator for tests and demos, bypassing the services; needs no signature."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def application(self) -> ASGIApp:
        return Starlette(
            routes=[
                Route("/state", self.state),
                Route("/reset", self.reset, methods=["POST"]),
                Route("/queues/{name}/messages", self.put_message, methods=["POST"]),
                Route("/faults", self.show_faults),
                Route("/faults", self.add_faults, methods=["POST"]),
                Route("/faults", self.clear_faults, methods=["DELETE"]),
                *ClockControl(self._emulator.clock).routes(),
                *RequestControl(self._emulator.log).routes(),
            ]
        )

    async def state(self, request: ControlRequest) -> Response:
        await self._emulator.catch_up()
        return JSONResponse(self._emulator.state())

    async def reset(self, request: ControlRequest) -> Response:
        self._emulator.reset()
        return Response(status_code=204)

    async def put_message(self, request: ControlRequest) -> Response:
        """Put a text into a queue verbatim, even if it makes the reply that contains it ill-formed.

        Query: ``delay`` in seconds; ``escape=true`` to escape the text so that it arrives unchanged. The queue is
        created if it does not exist.
        """
        name = request.path_params["name"]
        query = request.query_params
        if mistake := _mistake(name, query):
            return PlainTextResponse(mistake, status_code=400)
        queue = self._emulator.mns.queues.get(name) or self._emulator.mns.create(name)
        text = (await request.body()).decode("utf-8", "surrogateescape")
        delay = int(query.get("delay", "0"))
        if query.get("escape") == "true":
            stored = queue.send([draft(text, delay_seconds=delay)])[0]
        else:
            stored = queue.send([Draft(body=text, md5=body_md5(text), delay_seconds=delay)])[0]
        self._emulator.save()
        return JSONResponse({"MessageId": stored.message_id}, status_code=201)

    async def show_faults(self, request: ControlRequest) -> Response:
        """All faults, with how often each matched (``seen``) and took effect (``happened``)."""
        return JSONResponse(self._emulator.faults.report())

    async def add_faults(self, request: ControlRequest) -> Response:
        """Add one fault or a list of faults."""
        try:
            self._emulator.faults.add(parse(json.loads(await request.body())))
        except RecursionError:
            return PlainTextResponse("the JSON is nested too deeply", status_code=400)
        except ValueError as error:
            return PlainTextResponse(
                str(error).encode("utf-8", "backslashreplace"),
                status_code=400,
            )
        return JSONResponse(self._emulator.faults.report(), status_code=201)

    async def clear_faults(self, request: ControlRequest) -> Response:
        self._emulator.faults.clear()
        return Response(status_code=204)


def _mistake(queue: str, query: Mapping[str, str]) -> str:
    """Why a message cannot be put into a queue with this name and query; empty if it can."""
    if not is_queue_name(queue):
        return "the name of the queue is not valid"
    if unknown := sorted(query.keys() - {"delay", "escape"}):
        return f"{unknown[0][:40]!r} is not a parameter; use delay or escape"
    delay, escape = query.get("delay", "0"), query.get("escape", "false")
    if not re.fullmatch("[0-9]{1,6}", delay) or int(delay) > WEEK:
        return f"delay = {delay[:20]!r} is not valid; use an integer of seconds up to {WEEK}"
    return "" if escape in {"true", "false"} else f"escape = {escape[:20]!r} is neither true nor false"


def loopback_only(app: ASGIApp) -> ASGIApp:
    """Allow requests from this machine only, whatever address the port is bound to."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        client: Any = scope.get("client")
        if client and not ipaddress.ip_address(client[0]).is_loopback:
            await PlainTextResponse("this endpoint accepts requests from this machine only", status_code=403)(
                scope, receive, send
            )
            return
        await app(scope, receive, send)

    return guarded
