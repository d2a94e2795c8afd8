"""Refuses requests that no client of this server sends: for another host, or with a large body."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

#: The largest body of a request, in bytes.
MAX_BODY = 64 << 10


class Guard:
    """An application in front of another one.

    Against DNS rebinding (a web page whose name suddenly resolves to 127.0.0.1, so that a browser lets its scripts read
    our answers) the Host header must name this machine. An IP address is always accepted, since a browser sends one
    only for a page from that very address; probes of Kubernetes send the pod's.
    """

    def __init__(self, app: ASGIApp, *, allowed_hosts: Collection[str] | None) -> None:
        """``allowed_hosts`` are accepted besides localhost and addresses; None accepts all."""
        self._app = app
        self._allowed = None if allowed_hosts is None else {host.lower() for host in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._refusal(Headers(scope=scope)) or self._app
        await answer(scope, receive, send)

    def _refusal(self, headers: Headers) -> ASGIApp | None:
        if not self._is_allowed(headers.get("host", "")):
            return _refuse(403, "the Host header names another host; add its name to http.allowed_hosts")
        if "transfer-encoding" in headers:
            return _refuse(411, "the length of the body is required")
        if _is_larger(headers.get("content-length", "0"), MAX_BODY):
            return _refuse(413, f"the body is larger than {MAX_BODY} bytes")
        return None

    def _is_allowed(self, header: str) -> bool:
        host = _host_of(header)
        if self._allowed is None or not host:  # HTTP/1.0 needs no Host header, and browsers always send one
            return True
        return host == "localhost" or _is_address(host) or host in self._allowed


def _host_of(header: str) -> str:
    """The host without its port, in lower case."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].removesuffix(".").lower()


def _is_larger(digits: str, limit: int) -> bool:
    """Compares by length first: a number may have thousands of digits."""
    digits = digits.lstrip("0") or "0"
    return len(digits) > len(str(limit)) or int(digits) > limit


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _refuse(status: int, words: str) -> ASGIApp:
    return PlainTextResponse(f"{words}\n", status_code=status, headers={"connection": "close"})
