"""Requests to a daemon, by clients that wait longer than any request may take, and that load no certificates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.program import BOUND


@contextmanager
def unix_client(path: Path) -> Iterator[httpx.Client]:
    """A client of a daemon that listens at this socket."""
    transport = httpx.HTTPTransport(uds=str(path), verify=False)
    with httpx.Client(transport=transport, base_url="http://localhost", timeout=BOUND) as client:
        yield client


@contextmanager
def tcp_client(url: str) -> Iterator[httpx.Client]:
    """A client of a daemon that listens at this URL, without a proxy."""
    with httpx.Client(base_url=url, trust_env=False, verify=False, timeout=BOUND) as client:
        yield client
