"""A request that the stop of the server cuts short is answered, unless its answer has begun."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from listener.http.stopping import AnswerWhenStopped

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}


async def sent_when_cancelled(*, begins: bool) -> list[Message]:
    sent: list[Message] = []
    waits = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        if begins:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        waits.set()
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    task = asyncio.ensure_future(AnswerWhenStopped(app)(SCOPE, receive, send))
    await waits.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return sent


def test_a_request_without_an_answer_gets_503_with_a_retry_after() -> None:
    start, body = asyncio.run(sent_when_cancelled(begins=False))

    assert (start["status"], dict(start["headers"])[b"retry-after"]) == (503, b"5")
    assert json.loads(body["body"])["type"].endswith("#unavailable")


def test_an_answer_that_has_begun_is_not_followed_by_another() -> None:
    assert [each.get("status") for each in asyncio.run(sent_when_cancelled(begins=True))] == [200]
