"""Every error of the listener becomes a problem document, and nothing else is shown."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from structlog.testing import capture_logs

from listener.api import problems
from listener.api.problems import UnexpectedErrors, answer_with_problems
from listener.core.errors import (
    AlreadyExists,
    FailureKind,
    ListenerError,
    MpsRejected,
    MpsUnavailable,
    NotFound,
    ReferenceExists,
    SettingsError,
    StoreFailureKind,
    StoreRejected,
    StoreUnavailable,
    UsageError,
)
from tests.support import ROOT
from tests.support.cases import each_case


class Body(BaseModel):
    number: int
    inner: dict[str, int] = {}


def reply_to(error: Exception) -> httpx.Response:
    app = FastAPI()
    answer_with_problems(app)

    @app.get("/")
    def fail() -> None:
        raise error

    return asyncio.run(ask(app, "GET"))


async def ask(app: FastAPI, method: str, **request: object) -> httpx.Response:
    transport = httpx.ASGITransport(UnexpectedErrors(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.request(method, "/", **request)  # type: ignore[arg-type] # whatever httpx takes


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (NotFound("words"), 404, "not-found"),
        (ReferenceExists("words"), 409, "reference-exists"),
        (AlreadyExists("words"), 409, "already-exists"),
        (UsageError("words"), 422, "invalid-request"),
        (MpsRejected("words", code="InvalidParameter"), 422, "rejected-by-mps"),
        (SettingsError("words"), 422, "not-configured"),
        (StoreRejected("words"), 422, "not-storable"),
        (MpsUnavailable("words", kind=FailureKind.TIMEOUT, hint="wait"), 503, "mps-unavailable"),
        (StoreUnavailable("words", kind=StoreFailureKind.LOCKED, hint="wait"), 503, "store-unavailable"),
    ],
)
def test_an_error_of_the_listener_has_its_status(error: ListenerError, status: int, name: str) -> None:
    reply = reply_to(error)
    document = reply.json()

    assert (reply.status_code, document["status"]) == (status, status)
    assert document["type"].endswith(f"#{name}")
    assert document["detail"] == "words"
    assert document.get("hint", "") == getattr(error, "hint", "")
    assert document.get("code", "") == getattr(error, "code", "")
    assert ("retry-after" in reply.headers) is (status == 503)


def test_every_type_is_described_where_it_points_to() -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    described = set(re.findall(r'<a id="([a-z-]+)"></a>`\1`', page))
    used = {name for _, _, name, _ in problems._ERRORS} | {
        *("internal", "unauthorized", "read-only-token", "forbidden-host", "forbidden-origin"),
        *("length-required", "body-too-large", "bad-request", "method-not-allowed"),
    }

    assert described == used


@each_case("error", [RuntimeError("/secret/path"), ListenerError("/secret/path")])
def test_an_unexpected_error_is_logged_and_not_shown(error: Exception) -> None:
    with capture_logs() as logs:
        reply = reply_to(error)

    assert reply.status_code == 500
    assert reply.json()["type"].endswith("#internal")
    assert "secret" not in reply.text
    assert [entry["event"] for entry in logs] == ["request.failed"]


def test_a_wrong_member_is_named() -> None:
    app = FastAPI()
    answer_with_problems(app)

    @app.post("/")
    def take(body: Body, limit: int) -> None:
        raise AssertionError

    one = asyncio.run(ask(app, "POST", json={"number": 1, "inner": {"a": "x"}}, params={"limit": 1})).json()
    two = asyncio.run(ask(app, "POST", json={"number": "x"})).json()
    garbled = asyncio.run(
        ask(app, "POST", content=b"{", params={"limit": 1}, headers={"content-type": "application/json"})
    )

    assert (one["status"], one["field"], "errors" in one) == (422, "inner.a", False)
    assert [each["field"] for each in two["errors"]] == ["limit", "number"]
    assert garbled.status_code == 422
    assert garbled.json()["detail"].startswith("the body is not JSON: Expecting property name")
    assert garbled.json()["detail"].endswith("at character 1")
    assert "field" not in garbled.json()
    assert "x" not in one["detail"]


@pytest.mark.parametrize(
    ("content_type", "hinted"),
    [
        ("application/x-www-form-urlencoded", True),
        ("text/plain", True),
        ("application/json; charset=utf-8", False),
        ("application/merge-patch+json", False),
    ],
)
def test_a_body_that_is_not_sent_as_json_is_answered_with_the_header_that_is_missing(
    content_type: str, hinted: bool
) -> None:
    app = FastAPI()
    answer_with_problems(app)

    @app.post("/")
    def take(body: Body) -> None:
        raise AssertionError

    request = ask(app, "POST", content=b'{"number": "x"}', headers={"content-type": content_type})
    document = asyncio.run(request).json()

    assert document["status"] == 422
    assert ("Content-Type: application/json" in document.get("hint", "")) is hinted
