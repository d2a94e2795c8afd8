"""Ends what a request waits for when its client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request


async def unless_disconnected(request: Request, awaited: Coroutine[Any, Any, bool]) -> bool:
    """What this returns; False once the client has closed the connection, to whom any answer will do."""
    waiting = asyncio.ensure_future(awaited)
    gone = asyncio.ensure_future(disconnected(request))
    try:
        await asyncio.wait((waiting, gone), return_when=asyncio.FIRST_COMPLETED)
        return waiting.done() and waiting.result()
    finally:
        waiting.cancel()
        gone.cancel()


async def disconnected(request: Request) -> None:
    """Returns when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
