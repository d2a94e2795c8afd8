"""The beginning of the API, its document, and how it answers what it does not have."""

from __future__ import annotations

from typing import Any

from listener import __version__
from listener.api.application import AREAS
from tests.support.api import DAEMON, Api


def test_the_root_names_the_server_and_all_areas(api: Api) -> None:
    reply = api.get("/v1").json()

    assert (reply["name"], reply["version"], reply["daemon"]) == ("mns-listener", __version__, DAEMON)
    assert reply["links"] == {
        "openapi": "/v1/openapi.json",
        **{area: f"/v1/{area}" for area in AREAS},
        **{area: f"/v1/{area}" for area in ("routes", "queues", "settings")},
    }
    assert [api.get(path).status_code for path in reply["links"].values()] == [200] * len(reply["links"])


def test_an_unknown_path_is_a_problem(api: Api) -> None:
    reply = api.get("/v1/nothing")

    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json() == {
        "type": "https://github.com/mns-listener/mns-listener/blob/main/docs/api.md#not-found",
        "title": "Not Found",
        "status": 404,
    }


def test_there_is_no_page_that_loads_from_elsewhere(api: Api) -> None:
    assert [api.get(path).status_code for path in ("/docs", "/redoc", "/v1/docs")] == [404] * 3


def operations_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def test_the_document_describes_problems_and_the_token(api: Api) -> None:
    document = api.get("/v1/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    assert document["security"] == [{"token": []}]
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for operation in operations_of(document):
        assert operation["summary"]
        problems = {status: each for status, each in operation["responses"].items() if status[0] in "45"}
        assert {"401", "403", "503"} <= set(problems)
        assert all(list(each["content"]) == ["application/problem+json"] for each in problems.values())
