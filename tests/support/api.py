"""The API in this process, on a store of its own: requests go through the application, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from listener.api.access import Tokens
from listener.api.application import application
from listener.api.context import ApiContext
from listener.client import Client
from listener.runtime.liveness import Health
from listener.settings.sections import Settings
from listener.store.sql_store import SqlStore

DAEMON = "host-1-a"


@dataclass
class Api:
    """Calls operations, as a client does."""

    context: ApiContext
    headers: dict[str, str] = field(default_factory=dict)
    woken: list[None] = field(default_factory=list)  #: one entry for each time that the daemon was woken

    def call(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **request: Any
    ) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(application(self.context), raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(
                    method, path, headers=self.headers | dict(headers or {}), **request
                )

        return asyncio.run(ask())

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.call("GET", path, **request)

    def post(self, path: str, **request: Any) -> httpx.Response:
        return self.call("POST", path, **request)


@contextmanager
def serving_api(
    store: SqlStore, settings: Settings | None = None, *, token_file: Path | None = None, ready: bool = True
) -> Iterator[Api]:
    """The API on this store, with the tokens of this file."""
    woken: list[None] = []
    client = Client(settings or Settings(), store=store)
    context = ApiContext(
        daemon=DAEMON,
        client=client,
        tokens=Tokens(token_file) if token_file else None,
        ready=lambda: Health(ok=ready, details={}),
        wake=lambda: woken.append(None),
    )
    yield Api(context, woken=woken)
