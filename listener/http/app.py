"""Health and metrics as a Starlette application, with whatever else is served beside them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from listener.http.guard import Guard
from listener.http.stopping import AnswerWhenStopped
from listener.runtime.liveness import Health
from listener.runtime.metrics import CONTENT_TYPE


def application(
    *,
    alive: Callable[[], Health],
    ready: Callable[[], Health],
    metrics: Callable[[], bytes],
    allowed_hosts: Collection[str] | None = None,
    otherwise: ASGIApp | None = None,
    body_limits: Mapping[str, int] | None = None,
) -> ASGIApp:
    """``/healthz``: all loops are running. ``/readyz``: the store is available too. ``/metrics``: Prometheus text.

    ``otherwise`` answers every other path. ``allowed_hosts`` and ``body_limits`` are explained at ``Guard``. All
    answers come from memory: none needs a thread, and there may be none left.
    """

    async def healthz(_request: Request) -> Response:
        return _answer(alive())

    async def readyz(_request: Request) -> Response:
        return _answer(ready())

    async def exposition(_request: Request) -> Response:
        return Response(metrics(), media_type=CONTENT_TYPE)

    routes = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", exposition)]
    ours = Starlette(routes=routes)
    served = ours if otherwise is None else _by_path({route.path: ours for route in routes}, otherwise)
    return Guard(AnswerWhenStopped(served), allowed_hosts=allowed_hosts, body_limits=body_limits)


def _by_path(apps: Mapping[str, ASGIApp], otherwise: ASGIApp) -> ASGIApp:
    """Not a router of Starlette's: what that adds to each request takes as long as a simple answer."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await apps.get(scope["path"], otherwise)(scope, receive, send)

    return served


def _answer(health: Health) -> Response:
    return JSONResponse({"ok": health.ok, **health.details}, status_code=200 if health.ok else 503)
