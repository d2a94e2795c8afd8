"""The HTTP server of the daemon: health and metrics, and the API with the pages if it is on."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from listener.aliyun.tenant_clients import TenantClients
from listener.core import clock
from listener.core.lazy_imports import lazy_imports
from listener.core.logger import get_logger
from listener.http import address, app
from listener.http.server import Server
from listener.settings.sections import Settings

with lazy_imports():  # takes memory and time, so only if the API is on
    from listener import client
    from listener.api import acceptance
    from listener.api import application as api
    from listener.api import context as api_context
    from listener.api import threads as api_threads
    from listener.pages import application as pages

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from listener.api.access import Tokens
    from listener.api.context import ApiContext
    from listener.daemon.wiring import Parts
    from listener.intake.poller_group import PollerGroup

log = get_logger(__name__)

#: How long ago a batch may have been recorded by which a backlog is recognized.
RECENTLY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Serving:
    """The running server."""

    server: Server
    context: ApiContext | None  #: None without the API

    def use(self, settings: Settings) -> None:
        """Answer by these settings from now on."""
        if self.context:
            self.context.client.settings = settings

    def stop(self) -> None:
        """Answer those who wait for jobs, end the streams of events, and end."""
        if self.context:
            self.context.outcomes.close()
            self.context.feed.close()
        self.server.stop()


def serve(
    settings: Settings, parts: Parts, port: socket.socket, *, clients: TenantClients, tokens: Tokens | None
) -> Serving:
    """Start to answer the requests that arrive at the port."""
    http, health = settings.http, parts.health
    context = _api_context(settings, parts, clients, tokens) if http.serves_api else None
    served = app.application(
        alive=health.alive,
        ready=health.ready,
        metrics=health.exposition,
        # No browser connects to a unix socket, and a proxy in front of it passes on any name.
        allowed_hosts=None if http.listen.startswith(address.UNIX) else http.allowed_hosts,
        otherwise=_api_and_pages(context) if context else None,
        body_limits={api.PREFIX: api.MAX_BODY, **pages.BODY_LIMITS} if context else {},
    )
    if address.is_public(http.listen):
        log.warning(
            "http.public",
            listen=http.listen,
            hint="other machines can reach health and metrics without a token, and the API over plain HTTP; put a "
            "proxy with TLS in front of it",
        )
    server = Server(served, port, max_connections=http.max_connections)
    server.start()
    return Serving(server, context)


def _api_context(
    settings: Settings, parts: Parts, clients: TenantClients, tokens: Tokens | None
) -> ApiContext:
    threads = api_threads.Threads(api_context.STORE_THREADS)
    outcomes = api_context.make_outcomes(parts.store, threads)
    backlog = _Backlog(parts.poller_groups)
    parts.recorded.subscribe(outcomes.notify)
    parts.recorded.subscribe(backlog.notify)
    jobs = client.Client(settings, clients=clients, store=parts.store)
    return api_context.ApiContext(
        daemon=parts.health.daemon,
        client=jobs,
        acceptance=acceptance.Acceptance(jobs, submit_soon=parts.wake_submitters),
        tokens=tokens,
        ready=parts.health.ready,
        wake=parts.dispatcher.wake,
        threads=threads,
        outcomes=outcomes,
        pull=parts.pull,
        pull_waiting=parts.pull_waiting,
        queues=parts.health.queues,
        history=lambda: parts.statistics.history,
        activity=parts.statistics.activity,
        feed=api_context.make_feed(parts.store, threads, busy=backlog.is_worked_off),
    )


class _Backlog:
    """What has gathered in the queues."""

    def __init__(self, groups: Sequence[PollerGroup]) -> None:
        self._groups = groups
        self._recorded = 0.0

    def notify(self) -> None:
        """Something was recorded."""
        self._recorded = clock.monotonic()

    def is_worked_off(self) -> bool:
        """Whether the last batch of a queue was full, and recorded just now: a poller that has emptied its queue may
        wait in a long poll, and not know it yet."""
        recent = clock.monotonic() - self._recorded < RECENTLY.total_seconds()
        return recent and any(group.first.full for group in self._groups)


def _api_and_pages(context: ApiContext) -> ASGIApp:
    """The API below its prefix, the pages at every other path."""
    api_app, pages_app = api.application(context), pages.application(context)

    async def by_path(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        of_api = path == api.PREFIX or path.startswith(f"{api.PREFIX}/")
        await (api_app if of_api else pages_app)(scope, receive, send)

    return by_path
