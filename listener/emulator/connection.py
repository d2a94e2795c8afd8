"""One HTTP connection of the emulator: its parser, its limits, and how a fault may end it.

The parser is httptools, with which a queue is drained 1.5 times as fast as with h11.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, cast
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from listener.emulator.limits import MAX_CONNECTIONS, MAX_FIELDS, MAX_HEAD, MAX_HEADERS
from listener.http import time_limits
from listener.http.connection_limit import close_one, connection_limit
from listener.http.time_limits import LimitedConnection, TimeLimits

#: Longer than any long poll, so that the connection of a polling client is never closed.
KEEP_ALIVE_SECONDS = 75
#: Of a connection that has been closed or reset, in the kernel's ``enum``.
TCP_CLOSE = 7
#: An interim reply; clients of HTTP/1.1 ignore any number of them.
INTERIM = b"HTTP/1.1 100 "
PROBE = INTERIM + b"Continue\r\n\r\n"
#: A whole reply.
UNASKED = b"HTTP/1.1 204 No Content\r\n\r\n"
#: How often a client that sends nothing more is looked after.
LOOK_SECONDS = 1.0


class HeadTooLarge(Exception):
    """Raised into the parser, upon which uvicorn answers with status 400 and closes the connection."""


class BufferedTransport:
    """A transport that sends a reply as a whole: uvicorn writes head and body separately, and the second system call
    costs a quarter of the throughput in load tests. Interim replies are sent at once."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if data:
            self._parts.append(data)
        if data.startswith(INTERIM):
            self.flush()

    def flush(self) -> None:
        if self._parts:
            self._transport.write(b"".join(self._parts))
            self._parts.clear()

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class EmulatorConnection(LimitedConnection, HttpToolsProtocol):
    """A connection that the application finds in the state of its requests, beside the ``target`` as it was sent."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self._limits = TimeLimits(self.loop, latest=lambda: self.cycle, abort=self.abort)
        self._receiving = False  # a request has begun to arrive
        self._limited = False  # and is late
        self._head: int | None = None  # so many bytes of its head have arrived; None: all of it
        self._sends_no_more = False
        self._look: asyncio.TimerHandle | None = None
        #: The cycles that uvicorn has for the requests, but for some that have been answered.
        self._unanswered: list[Any] = []

    # How long and how large

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        buffered = BufferedTransport(cast("asyncio.Transport", transport))
        super().connection_made(cast("asyncio.Transport", buffered))
        self._limits.expect_request(None, seconds=KEEP_ALIVE_SECONDS)
        if len(self.connections) > connection_limit(MAX_CONNECTIONS, descriptors=2):
            close_one(cast("set[EmulatorConnection]", self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look:
            self._look.cancel()
        super().connection_lost(exc)
        # uvicorn tells only the newest one, and an older one may wait for this.
        for cycle in self._unanswered:
            cycle.disconnected = cycle.disconnected or not cycle.response_complete
            cycle.message_event.set()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._receiving or self.transport.is_closing():
            return
        if self._head is not None:
            self._head += len(data)
            if self._head > 2 * MAX_HEAD:  # of which a part may belong to the request before
                self.send_400_response("The head of the request is too large.")
        if not self._limited:
            self._limited = True
            self._limits.expect_request(
                self.cycle if self._head is not None else None, seconds=time_limits.WAIT_SECONDS
            )

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._receiving, self._limited, self._head = True, False, 0

    def on_message_complete(self) -> None:
        self._receiving = False
        super().on_message_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) == MAX_HEADERS:
            raise HeadTooLarge(f"more than {MAX_HEADERS} headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        target = origin_form(self.url)
        path, _, query = target.partition(b"?")
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD or query.count(b"&") >= MAX_FIELDS:
            raise HeadTooLarge(f"more than {MAX_HEAD} bytes, or {MAX_FIELDS} fields in the query")
        self._head = None
        self.url = b"/"  # uvicorn's own way with it ends at 64 KB, and loses an empty query, which is signed
        super().on_headers_complete()
        self._unanswered = [each for each in self._unanswered if not each.response_complete]
        self._unanswered.append(self.cycle)
        self.scope["path"] = unquote(path.decode("latin-1"))
        self.scope["raw_path"], self.scope["query_string"] = path, query
        self.scope["state"]["target"] = target.decode("latin-1")

    # How it ends

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn's returns nothing, so that asyncio always closes
        """Whether to keep the connection: a client that sends no more may well wait for replies.

        Or it has gone: then its kernel answers whatever we send with a reset, so we send something.
        """
        if not self.busy or self.scope["http_version"] == "1.0":
            return False
        self._sends_no_more = True
        self._look_after()
        return not self.gone()

    def on_response_complete(self) -> None:
        cast("BufferedTransport", self.transport).flush()
        super().on_response_complete()
        self._limits.waiting_since = self.loop.time()
        if self._sends_no_more and not self.busy:
            self.transport.close()

    def gone(self) -> bool:
        """Whether the client has closed its connection."""
        return self.transport.is_closing() or (self._sends_no_more and self._is_reset())

    def end(self, *, reset: bool) -> None:
        """Close the connection: immediately with a TCP reset, or cleanly after all data was sent."""
        if not reset:
            self.transport.close()
            return
        if not self.transport.is_closing():
            linger = struct.pack("ii", 1, 0)
            self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.abort()

    def send_unasked(self) -> None:
        """Send a reply, behind that to the last request, which belongs to none."""
        self.transport.write(UNASKED)
        cast("BufferedTransport", self.transport).flush()

    def _look_after(self) -> None:
        """Close the connection once the client has gone: asyncio no longer reads, and would not notice."""
        if self.busy and not self.cycle.response_started:
            self.transport.write(PROBE)
        if self._is_reset():
            self.abort()
        else:
            self._look = self.loop.call_later(LOOK_SECONDS, self._look_after)

    def _is_reset(self) -> bool:
        state: int = self._socket().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return state == TCP_CLOSE

    def _socket(self) -> Any:
        return self.transport.get_extra_info("socket")


def origin_form(target: bytes) -> bytes:
    """Path and query of a request's target: clients behind a proxy put scheme and host in front, and sign neither."""
    scheme, found, rest = target.partition(b"://")
    if not found or not scheme.isalpha():
        return target
    places = [place for mark in (b"/", b"?") if (place := rest.find(mark)) >= 0]
    path = rest[min(places) :] if places else b""
    return path if path.startswith(b"/") else b"/" + path
