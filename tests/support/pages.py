"""The pages in this process, on a store of their own: requests go through the application, without a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from listener.daemon.statistics_loop import StatisticsLoop
from listener.pages.application import Pages
from listener.runtime.liveness import Health
from listener.settings.sections import Settings
from listener.store.sql_store import SqlStore
from tests.support.api import Api, serving_api

#: Tokens that may write, and only read.
WRITER, READER = "writer-0123456789", "reader-0123456789"
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


@dataclass
class Browser:
    """Sends requests as a browser does: with cookies, and forms with the token of the page before."""

    api: Api
    pages: Pages
    cookies: httpx.Cookies = field(default_factory=httpx.Cookies)
    base_url: str = "http://localhost"

    def call(self, method: str, path: str, **request: Any) -> httpx.Response:
        reply: httpx.Response = self.api.run(self.ask(method, path, **request))
        return reply

    async def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The same for a test with several requests at a time."""
        transport = httpx.ASGITransport(self.pages.application())
        async with httpx.AsyncClient(
            transport=transport, base_url=self.base_url, cookies=self.cookies
        ) as client:
            reply = await client.request(method, path, **request)
            self.cookies = client.cookies
            return reply

    def get(self, path: str) -> httpx.Response:
        return self.call("GET", path)

    def text(self, path: str) -> str:
        """A page that must be there."""
        reply = self.get(path)
        assert reply.status_code == 200, reply.text
        return reply.text

    def csrf(self, path: str = "/dead-letters") -> str:
        """The token in the forms of this page."""
        found = _CSRF.search(self.text(path))
        assert found
        return found[1]

    def post(self, path: str, *, csrf: str | None = None, **fields: Any) -> httpx.Response:
        token = self.csrf() if csrf is None else csrf
        return self.call("POST", path, data={"csrf": token, **fields})

    def sign_in(self, token: str, *, after: str = "/") -> httpx.Response:
        return self.call("POST", "/sign-in", data={"token": token, "next": after})


@contextmanager
def browsing(
    store: SqlStore,
    settings: Settings | None = None,
    *,
    token_file: Path | None = None,
    ready: bool = True,
    statistics: StatisticsLoop | None = None,
) -> Iterator[Browser]:
    """The pages on this store; whoever may see them needs a token of this file, if there is one."""

    async def no_pause(_seconds: float) -> None:
        pass

    with serving_api(store, settings, token_file=token_file, statistics=statistics) as api:
        context = replace(api.context, ready=lambda: Health(ok=ready, details={"store": "the store is away"}))
        yield Browser(api, Pages(context, pause=no_pause))
