"""A request and a reply as the two services see them, below HTTP's own details."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from urllib.parse import unquote


@dataclass(frozen=True, kw_only=True)
class Request:
    """One HTTP request. Header names are lower case; ``target`` is the request line's path and query, untouched."""

    method: str
    path: str
    target: str
    raw_query: str
    headers: dict[str, str]
    body: bytes
    dropped: int = 0  #: so many bytes of the body were not kept, since it is too large
    gone: Callable[[], bool] = field(default=lambda: False)  #: has the client closed its connection?

    @cached_property
    def query(self) -> dict[str, str]:
        """The query with names in lower case. Values are percent-decoded but keep ``+``, which handles may hold."""
        return {name.lower(): value for name, value in pairs(self.raw_query)}

    @property
    def body_size(self) -> int:
        return len(self.body) + self.dropped

    @property
    def host(self) -> str:
        return self.headers.get("host", "localhost")


class Transmission(StrEnum):
    """How a reply is sent, and what happens to its connection."""

    SENT = "sent"
    STALLED = "stalled"  #: nothing is sent, the connection stays
    RESET = "reset"  #: nothing is sent, the connection ends with a TCP reset
    HUNG_UP = "hung up"  #: nothing is sent, the connection is closed cleanly
    UNASKED = "unasked"  #: it is sent, and after it another one
    #: The head and ``keep`` bytes of the body are sent, then the connection is closed.
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP reply."""

    status: int
    body: bytes = b""
    content_type: str = "text/xml;charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    transmission: Transmission = Transmission.SENT
    keep: int = 0
    skew: timedelta = timedelta(0)  #: how far the clock is off that dates the reply
    faults: tuple[str, ...] = ()  #: the kinds of those that had an effect

    def with_headers(self, headers: tuple[tuple[str, str], ...]) -> Reply:
        """The same reply of a service, to which nothing has been done yet, with these headers."""
        return Reply(status=self.status, body=self.body, content_type=self.content_type, headers=headers)

    def without_end(self, length: int) -> Reply:
        """The same reply with the first bytes of its body only."""
        return replace(self, body=self.body[:length])


def pairs(query: str) -> list[tuple[str, str]]:
    """Names and values of a query string, percent-decoded, ``+`` left as it is."""
    items = (item.partition("=") for item in query.split("&") if item)
    return [(unquote(name), unquote(value)) for name, _, value in items]
