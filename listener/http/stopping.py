"""Requests that have no answer yet when the server stops."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from listener.http.problem import Problem, problem_response

_STOPPED: Final = Problem(
    name="unavailable",
    title="A service is unavailable",
    status=503,
    detail="the daemon stops; it is not known how far the request has come",
    hint="repeat the request if that is safe",
    headers={"retry-after": "5", "connection": "close"},
)


class AnswerWhenStopped:
    """An application in front of another one: what the server cancels at its end is answered with 503, not 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def send_and_note(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except asyncio.CancelledError:
            if began:
                raise
            await problem_response(_STOPPED)(scope, receive, send)
