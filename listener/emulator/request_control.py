"""``/_emulator/requests``: the last requests and what became of them, selected by patterns."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from listener.emulator.request_log import FILTERS, RequestLog


class RequestControl:
    def __init__(self, log: RequestLog) -> None:
        self._log = log

    def routes(self) -> list[Route]:
        return [Route("/requests", self.show)]

    async def show(self, request: Request) -> Response:
        patterns = dict(request.query_params)
        after = patterns.pop("after", "0")
        if unknown := sorted(patterns.keys() - set(FILTERS)):
            names = ", ".join(FILTERS)
            return PlainTextResponse(
                f"{unknown[0][:40]!r} is not a filter; use {names} or after", status_code=400
            )
        if not (after.isascii() and after.isdecimal() and len(after) < 20):
            return PlainTextResponse("after is not the number of a request", status_code=400)
        # In a thread, since the replies may be long in which it looks for IDs.
        return await asyncio.to_thread(lambda: JSONResponse(self._log.select(patterns, after=int(after))))
