"""Refuses requests that no client of this server sends: for another host, from a foreign page, or with a large body."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from listener.http.address import is_address
from listener.http.problem import Problem, problem_response

#: The largest body of a request, in bytes, unless the path has a limit of its own.
MAX_BODY: Final = 64 << 10
#: The methods of requests that change nothing.
SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
#: The beginning of a target that is a whole URL.
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://(?P<host>[^/?]+)")
#: A Host header (RFC 9110, 7.2): a name or an address, which is in brackets if it has colons, and perhaps a port.
_HOST: Final = re.compile(r"(\[(?P<ipv6>[^\[\]]*:[^\[\]]*)\]|(?P<name>[^:\[\]]+))(:(?P<port>[0-9]{0,5}))?")
_MAX_PORT: Final = 65_535
_ALLOW: Final = "add its name to http.allowed_hosts"


class Guard:
    """An application in front of another one.

    Against DNS rebinding (a web page whose name suddenly resolves to 127.0.0.1, so that a browser lets its scripts read
    our answers) the Host header must name this machine. An IP address is always accepted, since a browser sends one
    only for a page from that very address; probes of Kubernetes send the pod's.

    Against forms and scripts of other pages, a request that changes something must not have the Origin of another
    server: browsers send it with each of them, other clients send none.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        allowed_hosts: Collection[str] | None,
        body_limits: Mapping[str, int] | None = None,
        hint: str = _ALLOW,
    ) -> None:
        """``allowed_hosts`` are accepted besides localhost and addresses; None accepts all.

        ``body_limits``: the largest body of requests whose path begins like this. ``hint``: what to do about a host
        that is not accepted.
        """
        self._app = app
        self._hint = hint
        self._allowed = None if allowed_hosts is None else {host.lower() for host in allowed_hosts}
        self._body_limits = body_limits or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = _in_origin_form(scope)
        problem = self._refusal(scope, Headers(scope=scope))
        if problem is None:
            await self._app(scope, receive, send)
            return
        if problem.status in (400, 403):  # the other refusals are those of bodies that are not to be read
            await _read_body(receive)
        await problem_response(problem)(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Problem | None:
        host = headers.get("host", "")
        if problem := self._refused_host(host):
            return problem
        if scope["method"] not in SAFE_METHODS and _is_foreign(headers.get("origin"), host):
            return _refused(
                403,
                "forbidden-origin",
                "the Origin header names another server: pages of other servers may not change anything here",
                "send the request from a page of this server, or without a browser",
            )
        if "transfer-encoding" in headers:
            return _refused(
                411,
                "length-required",
                "the length of the body is required",
                "send the header Content-Length instead of Transfer-Encoding",
            )
        limit = self._body_limit(scope["path"])
        if _is_larger(headers.get("content-length", "0"), limit):
            return _refused(
                413, "body-too-large", f"the body is larger than {limit} bytes", "send less in one request"
            )
        return None

    def _body_limit(self, path: str) -> int:
        return next(
            (limit for beginning, limit in self._body_limits.items() if path.startswith(beginning)), MAX_BODY
        )

    def _refused_host(self, header: str) -> Problem | None:
        if self._allowed is None or not header:  # HTTP/1.0 needs no Host header, and browsers always send one
            return None
        found = _HOST.fullmatch(header)
        if found is None or int(found["port"] or "0") > _MAX_PORT:
            return _refused(
                400,
                "bad-request",
                "the Host header is not valid",
                "send HOST or HOST:PORT, e.g. localhost:8471",
            )
        host = (found["ipv6"] or found["name"]).removesuffix(".").lower()
        if host == "localhost" or is_address(host) or host in self._allowed:
            return None
        return _refused(403, "forbidden-host", "the Host header names another host", self._hint)


_TITLES: Final = {
    "bad-request": "The request cannot be read",
    "forbidden-host": "The request is for another host",
    "forbidden-origin": "A page of another server sent the request",
    "length-required": "The length of the body is required",
    "body-too-large": "The body is too large",
}


async def _read_body(receive: Receive) -> None:
    """Read what a client that is refused sends, up to ``MAX_BODY``: if a connection is closed while there is more to be
    read, the system resets it, and the client may not see the response.
    """
    left = MAX_BODY
    while left > 0:
        message = await receive()
        if not message.get("more_body"):  # the end of the body, or of the connection
            return
        left -= len(message["body"])


def _in_origin_form(scope: Scope) -> Scope:
    """A target may be a whole URL, whose host then counts instead of the Host header (RFC 9112, 3.2.2)."""
    found = _ABSOLUTE.match(scope.get("raw_path") or b"")
    if found is None:
        return scope
    others = [(name, value) for name, value in scope["headers"] if name != b"host"]
    raw_path = scope["raw_path"][found.end() :] or b"/"
    return {
        **scope,
        "raw_path": raw_path,
        "path": unquote(raw_path.decode("ascii")),
        "headers": [(b"host", found["host"]), *others],
    }


def _is_foreign(origin: str | None, host: str) -> bool:
    """Whether a page of another server sent the request; also if its origin is hidden (``null``)."""
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != host.lower() or not host
    except ValueError:
        return True


def _is_larger(digits: str, limit: int) -> bool:
    """Compares by length first: a number may have thousands of digits."""
    digits = digits.lstrip("0") or "0"
    return len(digits) > len(str(limit)) or int(digits) > limit


def _refused(status: int, name: str, detail: str, hint: str = "") -> Problem:
    return Problem(
        name=name,
        title=_TITLES[name],
        status=status,
        detail=detail,
        hint=hint,
        headers={"connection": "close"},
    )
