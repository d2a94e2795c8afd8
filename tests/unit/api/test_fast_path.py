"""Single jobs that are accepted without the framework: they are answered as the framework would answer them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from listener.api.fast_path import FastPath
from listener.settings.loader import settings_from
from tests.support.api import Api, serving_api
from tests.support.cases import each_case
from tests.support.program import configured_place

PATH = "/v1/jobs"
COVER = {
    "function": "Cover",
    "input": "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4",
    "output": "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg",
}
JSON = {"content-type": "application/json", "prefer": "respond-async"}


@pytest.fixture
def mps(tmp_path: Path) -> Iterator[Api]:
    """The API with an MPS, and without a daemon that submits what it accepts."""
    with (
        configured_place(tmp_path) as place,
        place.store() as store,
        serving_api(store, settings_from(place.folder / "listener.toml")) as api,
    ):
        yield api


class Passed:
    """Stands for the framework: notes what it gets."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        self.messages.append(message := await receive())
        while message.get("more_body"):
            self.messages.append(message := await receive())
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@each_case(
    ("sent", "headers"),
    [
        pytest.param({}, {}, id="nameless"),
        pytest.param({"reference": "talk/7"}, {}, id="reference"),
        pytest.param({}, {"idempotency-key": "talk-7"}, id="key"),
        pytest.param(
            {"data": {"a": "ü", "b": 1.50}}, {"content-type": "Application/JSON ; x=y"}, id="charset"
        ),
        pytest.param({"deadline": 1800}, {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}, id="trace"),
        pytest.param({"function": "Unknown"}, {}, id="warnings"),
        pytest.param({"input": "x"}, {}, id="refused"),
        pytest.param({"reference": "a"}, {"idempotency-key": "b"}, id="two-names"),
        pytest.param({"tenant": "nobody"}, {}, id="tenant"),
    ],
)
def test_a_valid_request_does_not_reach_the_framework(
    mps: Api, sent: dict[str, Any], headers: dict[str, str]
) -> None:
    mps.application = FastPath(passed := Passed(), mps.context, path=PATH)

    assert mps.post(PATH, content=json.dumps(COVER | sent), headers=JSON | headers).status_code != 418
    assert not passed.messages


@each_case(
    ("body", "headers"),
    [
        pytest.param(COVER, {}, id="accepted"),
        pytest.param(COVER | {"deadline": "30m", "data": {"a": ["ü", 1.5, None]}}, {}, id="members"),
        pytest.param(COVER | {"function": "Unknown"}, {}, id="warnings"),
        pytest.param(COVER | {"reference": "talk-7"}, {"idempotency-key": "talk-7"}, id="same-names"),
        pytest.param(COVER | {"reference": "a"}, {"idempotency-key": "b"}, id="two-names"),
        pytest.param(COVER | {"input": "x"}, {}, id="doubtful"),
        pytest.param(COVER | {"tenant": "nobody"}, {}, id="tenant"),
        pytest.param(COVER | {"data": {"a": float("nan")}}, {}, id="nan"),
        pytest.param(COVER | {"unknown": 1}, {}, id="member"),
        pytest.param(COVER | {"force": 1, "input": 2}, {}, id="types"),
        pytest.param(COVER | {"reference": ""}, {}, id="empty-reference"),
        pytest.param(COVER, {"idempotency-key": ""}, id="empty-key"),
        pytest.param(COVER, {"idempotency-key": "\xfc"}, id="other-key"),
        pytest.param(COVER | {"model": "\x00"}, {}, id="nul"),
        pytest.param(COVER | {"model": "\ud800"}, {}, id="surrogate"),
        pytest.param(b'{"function": "Cover", "function": "Cover"}', {}, id="twice"),
        pytest.param(b"{", {}, id="half"),
        pytest.param(b"", {}, id="empty"),
        pytest.param(b"[" * 100_000, {}, id="deep"),
        pytest.param([], {}, id="list"),
        pytest.param(b'"\xff"', {}, id="encoding"),
        pytest.param(json.dumps(COVER).encode("utf-16"), {}, id="utf-16"),
        pytest.param(COVER, {"content-type": "text/plain"}, id="text"),
        pytest.param(COVER, {"content-type": "application/x+json"}, id="plus-json"),
        pytest.param(COVER, {"content-type": ""}, id="no-type"),
    ],
)
def test_it_answers_as_the_framework_does(mps: Api, body: Any, headers: dict[str, str]) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    # Whoever is first, what is accepted has this name, and the others are answered with the same job.
    named = {"idempotency-key": "once"} | headers
    if isinstance(body, dict) and "reference" in body:
        named = headers

    def ask(**other: str) -> httpx.Response:
        raw = [(name, value.encode("latin-1")) for name, value in (JSON | named | other).items()]
        return mps.call("POST", PATH, content=content, headers=dict(raw))

    fast = [ask(), ask()]
    mps.application = mps.framework
    slow = ask()
    assert (fast[1].status_code, fast[1].content) == (slow.status_code, slow.content)
    assert dict(fast[1].headers) == dict(slow.headers)
    assert fast[0].content == slow.content
    assert fast[0].status_code in (202, slow.status_code)


def test_a_body_in_parts_and_a_client_that_is_gone_are_passed_on_as_they_arrived(mps: Api) -> None:
    scope = {"type": "http", "path": PATH, "method": "POST", "query_string": b""}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in JSON.items()]
    messages = [
        {"type": "http.request", "body": b'{"function"', "more_body": True},
        {"type": "http.request", "body": b": 1", "more_body": True},
        {"type": "http.disconnect"},
    ]
    coming = iter(messages)

    async def receive() -> Message:
        return next(coming)

    async def send(_message: Message) -> None:
        pass

    passed = Passed()
    mps.run(FastPath(passed, mps.context, path=PATH)(scope, receive, send))

    assert passed.messages == messages


def test_an_error_that_nothing_foresaw_is_answered_and_logged(
    mps: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(mps.context.client, "prepare", fail)

    reply = mps.post(PATH, json=COVER, headers=JSON)

    assert (reply.status_code, reply.json()["type"].rpartition("#")[2]) == (500, "internal")


@each_case(
    "change",
    [
        pytest.param({"method": "GET"}, id="method"),
        pytest.param({"path": f"{PATH}/batch"}, id="path"),
        pytest.param({"params": {"x": "1"}}, id="query"),
        pytest.param({"headers": JSON | {"prefer": "wait=10"}}, id="waits-for-mps"),
    ],
)
def test_other_requests_pass(mps: Api, change: dict[str, Any]) -> None:
    mps.application = FastPath(Passed(), mps.context, path=PATH)
    asked = {"method": "POST", "path": PATH, "headers": JSON, "content": json.dumps(COVER)} | change

    assert mps.call(**asked).status_code == 418
