"""Accepts single jobs without the framework, which takes several times as long for a request as the job itself."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pydantic import TypeAdapter
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from listener.api.context import ApiContext
from listener.api.jobs import (
    IdempotencyKey,
    JobSubmission,
    SubmittedJob,
    Traceparent,
    accept_job,
    prefers_async,
)
from listener.api.parameters import IDEMPOTENCY_KEY, unique_members
from listener.api.problems import INTERNAL, problem_of
from listener.core.errors import ListenerError
from listener.http.problem import problem_response

_JSON: Final = b"application/json"
_KEY: Final = TypeAdapter[str](IdempotencyKey)
_TRACEPARENT: Final = TypeAdapter[str](Traceparent)


class _Request(NamedTuple):
    """What a request submits."""

    submission: JobSubmission
    idempotency_key: str
    traceparent: str


class FastPath:
    """An application in front of the API that answers ``POST /v1/jobs`` if that is valid and need not wait for MPS.

    It is verified and answered by what the operation is declared with. Every other request passes, also one that is not
    valid: the framework says what is wrong with it.
    """

    def __init__(self, app: ASGIApp, context: ApiContext, *, path: str) -> None:
        """``path`` is that of the operation."""
        self._app = app
        self._context = context
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != self._path or scope["method"] != "POST" or scope["query_string"]:
            await self._app(scope, receive, send)
            return
        if not prefers_async(
            value.decode("latin-1") for name, value in scope["headers"] if name == b"prefer"
        ):
            await self._app(scope, receive, send)
            return
        messages = await _received(receive)
        request = _read(scope["headers"], messages)
        if request is None:
            await self._app(scope, _Replay(messages, receive), send)
            return
        try:
            response = await self._answer(request)
        except Exception:  # it is answered and raised again, as the framework does it
            await problem_response(INTERNAL)(scope, receive, send)
            raise
        await response(scope, receive, send)

    async def _answer(self, request: _Request) -> Response:
        try:
            answer = await accept_job(
                self._context,
                request.submission,
                idempotency_key=request.idempotency_key,
                traceparent=request.traceparent,
            )
        except ListenerError as error:
            return problem_response(problem_of(error))
        return Response(
            SubmittedJob.model_validate(answer.document).model_dump_json(),
            status_code=answer.status,
            headers=answer.headers,
            media_type="application/json",
        )


class _Replay:
    """Receives what has been received already, and then the rest."""

    def __init__(self, messages: Sequence[Message], receive: Receive) -> None:
        self._messages = deque(messages)
        self._receive = receive

    async def __call__(self) -> Message:
        return self._messages.popleft() if self._messages else await self._receive()


async def _received(receive: Receive) -> Sequence[Message]:
    """The messages of the body; the last one says that it ended, or that the client is gone."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    return messages


def _read(lines: Sequence[tuple[bytes, bytes]], messages: Sequence[Message]) -> _Request | None:
    """None for a request that is not valid, or unusual."""
    headers = dict(reversed(lines))  # the first one of a name counts
    is_json = headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == _JSON
    keys = sum(name == IDEMPOTENCY_KEY.encode() for name, _ in lines)
    if not is_json or keys > 1 or messages[-1]["type"] != "http.request":
        return None
    try:
        body = json.loads(
            b"".join(message.get("body", b"") for message in messages), object_pairs_hook=unique_members
        )
        return _Request(
            JobSubmission.model_validate(body),
            _header(headers, b"idempotency-key", _KEY),
            _header(headers, b"traceparent", _TRACEPARENT),
        )
    except (ValueError, RecursionError):  # also what pydantic raises
        return None


def _header(headers: Mapping[bytes, bytes], name: bytes, adapter: TypeAdapter[str]) -> str:
    given = headers.get(name)
    return "" if given is None else adapter.validate_python(given.decode("latin-1"))
