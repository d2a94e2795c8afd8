"""Every error about a value names its field, and says what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from listener.core.job_kinds import JOB_KINDS, SUBMITTED_KINDS
from listener.settings.loader import settings_from
from tests.support.api import Api, serving_api
from tests.support.builders import a_job
from tests.support.cases import each_case
from tests.support.program import configured_place

COVER = {
    "function": "Cover",
    "input": "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4",
    "output": "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg",
}


@pytest.fixture
def mps(tmp_path: Path) -> Iterator[Api]:
    """The API with an MPS and three jobs."""
    with (
        configured_place(tmp_path) as place,
        place.store() as store,
        serving_api(store, settings_from(place.folder / "listener.toml")) as api,
    ):
        for reference in ("talk-7a", "talk-7b", "other"):
            store.add_job(a_job(token=reference, job_id=f"id-{reference}", reference=reference))
        yield api


def problem(api: Api, request: str, body: Any = None, **headers: str) -> dict[str, Any]:
    """What the request is refused with; NaN is sent as Python writes it."""
    method, path = request.split()
    sent = {} if body is None else {"content": json.dumps(body)}
    reply = api.call(method, path, headers={"content-type": "application/json"} | headers, **sent)
    assert reply.status_code in (404, 409, 422), reply.text
    document: dict[str, Any] = reply.json()
    return document


@each_case(
    ("request_line", "body", "field", "way_out"),
    [
        ("POST /v1/jobs", COVER | {"tenant": "nobody"}, "tenant", "none means the top level"),
        ("POST /v1/jobs", COVER | {"kind": "transcode"}, "kind", "use one of IProduction, Transcode"),
        ("POST /v1/jobs", COVER | {"inptu": "x"}, "inptu", "leave it out"),
        ("POST /v1/jobs", COVER | {"data": {"a": [{"b": float("nan")}]}}, "data", "such as NaN"),
        (
            "POST /v1/jobs/batch",
            {"jobs": [COVER, COVER | {"params": {"a": float("inf")}}]},
            "jobs.1.params",
            "NaN",
        ),
        ("POST /v1/jobs/batch", {"jobs": [COVER | {"kind": "X"}]}, "jobs.0.kind", "use one of"),
        ("PUT /v1/jobs/new", {"tenant": "nobody"}, "tenant", "none means the top level"),
        ("PUT /v1/jobs/new", {"kind": "X"}, "kind", "use one of"),
        ("PUT /v1/jobs/other", {}, "name", "use the id that MPS returned"),
        ("PUT /v1/jobs/a%1Cb", {}, "name", "pattern"),
        ("POST /v1/explain", {}, "message", "give either message or job"),
        ("POST /v1/explain", {"message": "x", "job": "y"}, "job", "give only one"),
        ("POST /v1/explain", {"job": "y", "queue": "q"}, "queue", "leave it out"),
        ("POST /v1/explain", {"job": "talk-7"}, "job", "type more of the name"),
        ("POST /v1/explain", {"job": "nobody"}, "job", "GET /v1/jobs"),
        ("POST /v1/results/drop", {}, "ids", "all = true"),
        ("POST /v1/results/drop", {"ids": [1], "all": True}, "all", "only one of the two"),
        ("POST /v1/results/drop", {"ids": [1], "filters": {}}, "filters", "requires all = true"),
        ("POST /v1/results/drop", {"ids": [1], "before": 7}, "before", "requires all = true"),
        ("GET /v1/jobs/nobody", None, "name", "GET /v1/jobs"),
        ("GET /v1/jobs/nobody/history", None, "name", "GET /v1/jobs"),
        ("GET /v1/jobs/nobody/outputs", None, "name", "GET /v1/jobs"),
        ("GET /v1/results/7", None, "result_id", "GET /v1/results"),
        ("GET /v1/results/x", None, "result_id", "is a whole number"),
        ("GET /v1/deliveries/7", None, "delivery_id", "GET /v1/deliveries"),
        ("GET /v1/dead-letters/7", None, "dead_letter_id", "GET /v1/dead-letters"),
        ("GET /v1/quarantine/7", None, "message_id", "GET /v1/quarantine"),
        ("GET /v1/events?after=x", None, "after", "begin without a cursor"),
        ("POST /v1/deliveries/7", {"action": "done", "attempt": 1}, "delivery_id", "of the claim"),
        ("POST /v1/routes/nothing/claim", None, "route", "routes with one: videos"),
        ("POST /v1/routes/videos/claim?handler=other", None, "handler", "it has: "),
    ],
)
def test_the_field_and_the_way_out_are_named(
    mps: Api, request_line: str, body: Any, field: str, way_out: str
) -> None:
    refused = problem(mps, request_line, body)

    assert refused.get("field") == field
    assert way_out in f"{refused['detail']}; {refused.get('hint', '')}"


def test_what_is_refused_of_several_names_its_member_too(mps: Api) -> None:
    jobs = mps.post("/v1/jobs/batch", json={"jobs": [COVER | {"tenant": "nobody"}]}).json()["jobs"]
    settled = mps.post(
        "/v1/deliveries", json={"settlements": [{"delivery": 7, "action": "done", "attempt": 1}]}
    ).json()["settled"]

    assert jobs[0]["problem"]["field"] == "tenant"
    assert settled[0]["problem"]["field"] == "delivery"
    assert "of the claim" in settled[0]["problem"]["hint"]


def test_a_body_that_is_missing_or_no_object_is_said_to_be(mps: Api) -> None:
    assert problem(mps, "POST /v1/jobs")["detail"] == "the body is missing"
    assert problem(mps, "POST /v1/jobs", [1])["detail"] == "the body must be a JSON object"


def test_a_body_that_cannot_be_read_is_answered_with_what_can(mps: Api) -> None:
    reply = mps.post("/v1/jobs", content=b'"\xff"', headers={"content-type": "application/json"})

    assert (reply.status_code, "UTF-8" in reply.json()["hint"]) == (400, True)


def test_a_very_long_value_is_not_repeated_as_a_whole(mps: Api) -> None:
    refused = problem(mps, "POST /v1/jobs", COVER | {"reference": "x" * 100_000})

    assert refused["field"] == "reference"
    assert len(refused["detail"]) < 1100
    assert refused["detail"].endswith("characters")


def test_two_keys_are_refused_and_the_same_one_twice_is_one(mps: Api) -> None:
    def submit(*keys: bytes) -> Any:
        headers = [(b"content-type", b"application/json"), (b"prefer", b"respond-async")]
        named = [*headers, *((b"idempotency-key", key) for key in keys)]
        return mps.run(mps.ask_with("POST", "/v1/jobs", named, json.dumps(COVER).encode()))

    assert submit(b"a", b"b").json()["field"] == "idempotency-key"
    assert submit(b"a", b"a").json()["reference"] == "a"


def test_a_preference_counts_in_whichever_line_it_is(mps: Api) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"prefer", b"wait=10"),
        (b"prefer", b"handling=strict, respond-async"),
    ]
    body = json.dumps(COVER | {"reference": "once"}).encode()
    fast = mps.run(mps.ask_with("POST", "/v1/jobs", headers, body))
    mps.application = mps.framework
    slow = mps.run(mps.ask_with("POST", "/v1/jobs", headers, body))

    assert (fast.status_code, slow.status_code) == (202, 200)
    assert slow.headers["preference-applied"] == "respond-async"


def test_closed_sets_and_cursors_are_in_the_document(mps: Api) -> None:
    document = mps.get("/v1/openapi.json").json()
    schemas = document["components"]["schemas"]
    parameters = {
        each["name"]: each["schema"] for each in document["paths"]["/v1/events"]["get"]["parameters"]
    }

    assert schemas["JobSubmission"]["properties"]["kind"]["enum"] == [
        "",
        *(kind.name for kind in SUBMITTED_KINDS),
    ]
    assert schemas["JobRegistration"]["properties"]["kind"]["enum"] == [
        "",
        *(kind.name for kind in JOB_KINDS),
    ]
    assert schemas["AttemptDocument"]["properties"]["outcome"]["enum"] == ["done", "retry", "dead", "offered"]
    assert parameters["after"]["pattern"] == parameters["last-event-id"]["pattern"]
    assert parameters["after"]["pattern"].startswith("^(([0-9]")


@each_case(
    ("path", "body", "field"),
    [
        ("/v1/jobs", b'{"function": "Cover", "reference": "a", "reference": "b"}', "reference"),
        ("/v1/jobs", b'{"function": "Cover", "data": {"x": [{"y": 1, "y": 1}]}}', "y"),
        ("/v1/jobs/batch", b'{"jobs": [{"input": "a", "input": "b"}]}', "input"),
        ("/v1/results/drop", b'{"ids": [1], "all": true, "all": false}', "all"),
        ("/v1/explain", b'{"job": "a", "job": "b"}', "job"),
    ],
)
def test_a_member_is_given_once(mps: Api, path: str, body: bytes, field: str) -> None:
    for preference in ("respond-async", "wait=1"):
        reply = mps.post(
            path, content=body, headers={"content-type": "application/json", "prefer": preference}
        )

        assert (reply.status_code, reply.json()["field"]) == (422, field)
        assert "more than once" in reply.json()["detail"]


def test_a_body_in_another_encoding_or_nested_deeply_is_answered_as_before(mps: Api) -> None:
    deep = b'{"data": ' + b'{"a": ' * 900 + b"1" + b"}" * 901
    headers = {"content-type": "application/json"}

    assert mps.post("/v1/jobs", content=deep, headers=headers).json()["field"] == "function"
    assert mps.post("/v1/jobs", content="{}".encode("utf-16"), headers=headers).json()["field"] == "function"
