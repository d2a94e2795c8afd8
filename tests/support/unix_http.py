"""Requests to a daemon that listens at a unix socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx


@contextmanager
def unix_client(path: Path) -> Iterator[httpx.Client]:
    """A client that waits longer than any request may."""
    transport = httpx.HTTPTransport(uds=str(path))
    with httpx.Client(transport=transport, base_url="http://localhost", timeout=120) as client:
        yield client
