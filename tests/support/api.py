"""The API in this process, on a store of its own: requests go through the application, without a server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import httpx
from fastapi import FastAPI
from starlette.types import ASGIApp

from listener.api.acceptance import Acceptance
from listener.api.access import Tokens
from listener.api.application import fastapi_application, guarded
from listener.api.context import STORE_THREADS, ApiContext, make_feed, make_outcomes
from listener.api.threads import Threads
from listener.client import Client
from listener.daemon.statistics_loop import StatisticsLoop
from listener.dispatch.pull_waiting import PullWaiting
from listener.runtime.liveness import Health
from listener.settings.sections import Settings
from listener.store.sql_store import SqlStore
from listener.store.statistics import Statistics
from tests.support.pulling import a_pull

DAEMON = "host-1-a"
#: How many accepted jobs may wait to be submitted.
MAX_WAITING = 10


class _Current:
    """Stands for the context of the API that a test just uses."""

    context: ApiContext

    def __getattr__(self, name: str) -> Any:
        return getattr(self.context, name)


_CURRENT = _Current()


@cache
def _application() -> FastAPI:
    """One for all tests of a process: FastAPI takes longer to build it than most tests take otherwise."""
    return fastapi_application(cast("ApiContext", _CURRENT))


class Api:
    """Calls operations, as a client does."""

    def __init__(self, context: ApiContext, runner: asyncio.Runner) -> None:
        self.context = context
        self.headers: dict[str, str] = {}
        self.woken = 0  #: how often the daemon was woken
        self.submitters_woken = 0
        _CURRENT.context = context
        self.framework = _application()
        self.application: ASGIApp = guarded(self.framework, context)
        self._runner = runner

    @property
    def store(self) -> SqlStore:
        return self.context.store

    def call(self, method: str, path: str, **request: Any) -> httpx.Response:
        return self._runner.run(self.ask(method, path, **request))

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **request: Any
    ) -> httpx.Response:
        """The same for a test with several requests at a time, see ``run``."""
        transport = httpx.ASGITransport(self.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, headers=self.headers | dict(headers or {}), **request)

    async def ask_with(
        self, method: str, path: str, headers: Sequence[tuple[bytes, bytes]], content: bytes
    ) -> httpx.Response:
        """The same with exactly these headers, which may be repeated."""
        transport = httpx.ASGITransport(self.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, headers=list(headers), content=content)

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.call("GET", path, **request)

    def post(self, path: str, **request: Any) -> httpx.Response:
        return self.call("POST", path, **request)

    def put(self, path: str, **request: Any) -> httpx.Response:
        return self.call("PUT", path, **request)


@contextmanager
def serving_api(
    store: SqlStore,
    settings: Settings | None = None,
    *,
    token_file: Path | None = None,
    ready: bool = True,
    statistics: StatisticsLoop | None = None,
    max_waiting: int = MAX_WAITING,
) -> Iterator[Api]:
    """The API on this store, with the tokens of this file; ``ready`` is what the daemon reports, ``statistics`` what it
    has read, by default nothing yet."""
    read = statistics or StatisticsLoop(Statistics(store.database).totals, stop=threading.Event())

    def wake() -> None:
        api.woken += 1

    def submit_soon() -> None:
        api.submitters_woken += 1

    threads = Threads(STORE_THREADS)
    pull = a_pull(store)
    client = Client(settings or Settings(), store=store)
    context = ApiContext(
        daemon=DAEMON,
        client=client,
        acceptance=Acceptance(client, submit_soon=submit_soon, max_waiting=max_waiting),
        tokens=Tokens(token_file) if token_file else None,
        ready=lambda: Health(ok=ready, details={}),
        wake=wake,
        threads=threads,
        outcomes=make_outcomes(store, threads),
        pull=pull,
        pull_waiting=PullWaiting(pull),
        queues=tuple,
        history=lambda: read.history,
        activity=read.activity,
        feed=make_feed(store, threads, busy=lambda: False),
    )
    with asyncio.Runner() as runner:
        api = Api(context, runner)
        yield api
