"""Network connections for httpcore that keep one deadline, and a limit on what they receive, for a whole call.

The timeouts of HTTP clients apply to each read: a peer that sends a byte now and then evades them.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore

#: A socket that is writable accepts at least this much at once, so that one write is one wait.
_WRITE_BYTES = 4096


@dataclass(slots=True)
class Budget:
    """What a call may still use. All of its reads and writes share it."""

    deadline: float  #: in seconds of ``time.monotonic``
    bytes_left: int  #: that may be received


_budget: ContextVar[Budget] = ContextVar("budget")


@contextmanager
def limited_to(budget: Budget) -> Iterator[None]:
    """Let every connection that is used in this thread until the end of the ``with`` keep to the budget."""
    token = _budget.set(budget)
    try:
        yield
    finally:
        _budget.reset(token)


class BoundedBackend(httpcore.NetworkBackend):
    """Connects within the budget. Looking up the host's address cannot be interrupted, but the time counts."""

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Try each address of the host, with an equal share of the time that is left."""
        addresses = _addresses(host, port)
        error: Exception | None = None
        for index, address in enumerate(addresses):
            share = _seconds_left(httpcore.ConnectTimeout) / (len(addresses) - index)
            try:
                stream = self._backend.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
                error = failure
            else:
                return _BoundedStream(stream)
        raise error or httpcore.ConnectError(f"{host} has no address")


class _BoundedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        budget = _budget.get()
        if not budget.bytes_left:
            raise httpcore.ReadError("the response is too long")
        data = self._stream.read(min(max_bytes, budget.bytes_left), _seconds_left(httpcore.ReadTimeout))
        budget.bytes_left -= len(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITE_BYTES):
            self._stream.write(buffer[start : start + _WRITE_BYTES], _seconds_left(httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _seconds_left(httpcore.ConnectTimeout)
        return _BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _seconds_left(timeout: type[httpcore.TimeoutException]) -> float:
    left = _budget.get().deadline - time.monotonic()
    if left <= 0:
        raise timeout("the deadline has passed")
    return left


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error
    return [str(address[0]) for *_, address in found]
