"""How many connections may be open, and which one is closed for another one."""

from __future__ import annotations

import resource
from collections.abc import Collection
from typing import Protocol

#: One of so many descriptors that the process may open is a connection at most: the others are for everything else.
DESCRIPTORS_PER_CONNECTION = 8


class Closable(Protocol):
    """A connection that can be closed for another one."""

    @property
    def busy(self) -> bool:
        """Whether a request is being processed that has arrived as a whole."""

    @property
    def waiting_since(self) -> float:
        """The event loop's time."""

    def abort(self) -> None:
        """Close it now, without sending what is left to send."""


def connection_limit(wanted: int, *, descriptors: int = DESCRIPTORS_PER_CONNECTION) -> int:
    """How many connections may be open at the same time: so many, or what the limit of descriptors allows."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    share = wanted if limit == resource.RLIM_INFINITY else limit // descriptors
    return max(1, min(wanted, share))


def close_one(connections: Collection[Closable]) -> bool:
    """Close the connection that has waited longest, if possible one without a request; false if there is none.

    Its descriptor is free in the next turn of the event loop.
    """
    if not connections:
        return False
    min(connections, key=lambda one: (one.busy, one.waiting_since)).abort()
    return True
