"""The beginning of the API, its document, and how it answers what it does not have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from listener import __version__
from listener.api import application
from listener.api.application import AREAS, OPENAPI
from listener.store.sql_store import SqlStore
from tests.support.api import DAEMON, Api, serving_api
from tests.support.cases import each_case


def test_the_root_names_the_server_and_all_areas(api: Api) -> None:
    reply = api.get("/v1").json()

    assert (reply["name"], reply["version"], reply["daemon"]) == ("mns-listener", __version__, DAEMON)
    assert reply["links"] == {
        "openapi": "/v1/openapi.json",
        **{area: f"/v1/{area}" for area in AREAS},
        **{area: f"/v1/{area}" for area in ("routes", "queues", "settings")},
    }
    paths = api.get("/v1/openapi.json").json()["paths"]
    # Not called: the events never end.
    assert [link for link in reply["links"].values() if link != OPENAPI and "get" not in paths[link]] == []


def test_an_unknown_path_is_a_problem(api: Api) -> None:
    reply = api.get("/v1/nothing")

    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json() == {
        "type": "https://github.com/mns-listener/mns-listener/blob/main/docs/api.md#not-found",
        "title": "Not found",
        "status": 404,
        "detail": "there is no path /v1/nothing",
        "hint": "`GET /v1` links to all areas",
    }


def test_there_is_no_page_that_loads_from_elsewhere(api: Api) -> None:
    assert [api.get(path).status_code for path in ("/docs", "/redoc", "/v1/docs")] == [404] * 3


@each_case(
    ("method", "path", "allowed"),
    [
        ("OPTIONS", "/v1/jobs", {"GET", "HEAD", "POST"}),
        ("DELETE", "/v1/jobs/talk-7", {"GET", "HEAD", "PUT"}),
        ("PUT", "/v1/jobs/talk-7/history", {"GET", "HEAD"}),
        ("GET", "/v1/dead-letters/drop", {"POST"}),
        ("POST", "/v1/dead-letters/7", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_answered_with_those_that_the_path_has(
    api: Api, method: str, path: str, allowed: set[str]
) -> None:
    reply = api.call(method, path)

    assert reply.status_code == 405
    assert set(reply.headers["allow"].split(", ")) == allowed
    assert reply.json()["title"] == "The path has no such method"
    assert reply.json()["detail"] == f"{path} has no method {method}"
    assert reply.json()["hint"] == f"it has {reply.headers['allow']}"


@each_case(
    "path", ["/v1", "/v1/jobs", "/v1/jobs/nothing", OPENAPI, "/v1/events?follow=no", "/v1/explain", "/v1/x"]
)
def test_head_is_answered_as_get_is_without_the_body(api: Api, path: str) -> None:
    head, get = api.call("HEAD", path), api.get(path)

    assert (head.status_code, head.headers, head.content) == (get.status_code, get.headers, b"")
    assert get.content


def test_events_that_never_end_are_not_waited_for_by_head(api: Api) -> None:
    reply = api.call("HEAD", "/v1/events")

    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


def test_every_operation_refuses_parameters_that_it_does_not_have(api: Api) -> None:
    """A misspelled filter would answer with everything."""
    for path, operations in api.get("/v1/openapi.json").json()["paths"].items():
        for method in operations:
            place = re.sub(r"\{\w+\}", "1", path)
            reply = api.call(method.upper(), f"{place}?rout=zz")
            assert (reply.status_code, reply.json()["field"]) == (422, "rout"), (method, path)


def test_a_parameter_that_is_not_known_is_answered_with_those_that_are(api: Api) -> None:
    one = api.get("/v1/jobs/talk-7?wiat=9").json()
    none = api.get("/v1?rout=zz").json()

    assert one["detail"] == "'wiat' is not a parameter of this operation"
    assert (one["field"], one["hint"]) == ("wiat", "known parameters: wait")
    assert none["hint"] == "it has no parameters in the query"
    assert "route, " in api.get("/v1/jobs?rout=zz").json()["hint"]


def test_a_request_with_parameters_does_not_wait_for_the_document(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To make it takes as long as all else that a page of a list may take."""
    monkeypatch.setattr(application, "get_openapi", lambda **_: pytest.fail("the document was made"))
    known = api.get("/v1/jobs?rout=zz").json()["hint"]

    assert known.startswith("known parameters: state, function, kind, ")
    assert known.endswith(", before, limit")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_is_json_by_its_type(api: Api, kind: str | None) -> None:
    """A page of another server may send other types without asking first."""
    reply = api.post(
        "/v1/dead-letters/drop", content=b'{"all": true}', headers={"content-type": kind} if kind else {}
    )

    assert reply.status_code == 422


def test_a_body_that_cannot_be_read_is_a_problem(api: Api) -> None:
    reply = api.post("/v1/dead-letters/drop", content=b'"\xff"', headers={"content-type": "application/json"})

    assert (reply.status_code, reply.json()["status"]) == (400, 400)


def operations_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def test_the_document_describes_problems_and_the_token(api: Api) -> None:
    document = api.get("/v1/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for operation in operations_of(document):
        assert operation["summary"]
        problems = {status: each for status, each in operation["responses"].items() if status[0] in "45"}
        assert {"401", "403", "422", "503"} <= set(problems)
        assert all(list(each["content"]) == ["application/problem+json"] for each in problems.values())


def test_the_document_says_whether_a_token_is_needed(store: SqlStore, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("read 0123456789abcdef\n")
    with serving_api(store, token_file=tmp_path / "tokens") as guarded:
        needs_one = guarded.get(
            "/v1/openapi.json", headers={"authorization": "Bearer 0123456789abcdef"}
        ).json()["security"]
    with serving_api(store) as open_to_all:
        needs_none = open_to_all.get("/v1/openapi.json").json()["security"]

    assert needs_one == [{"token": []}]
    assert needs_none == [{"token": []}, {}]


def test_every_reference_in_the_document_leads_to_something(api: Api) -> None:
    text = api.get("/v1/openapi.json").text
    known = json.loads(text)["components"]["schemas"]
    references = re.findall(r'"\$ref": ?"([^"]+)"', text)

    assert references
    assert {each.removeprefix("#/components/schemas/") for each in references} <= known.keys()
