"""Submitting, registering, listing and showing jobs, with an emulated MPS."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from listener.api.jobs import MPS_THREADS
from listener.api.serialize import job_dict
from listener.core.errors import FailureKind, MpsUnavailable
from listener.core.model import Job, JobState, ResultStatus, RoutingDecision
from listener.settings.loader import settings_from
from listener.store.sql_store import SqlStore
from tests.support.api import Api, serving_api
from tests.support.builders import (
    JOB_ID,
    NOON,
    a_decoded_message,
    a_job,
    a_result,
    events_of_medium,
    routes_all,
)
from tests.support.cases import each_case
from tests.support.program import NOTIFY_URL, Place, configured_place

INPUT = "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4"
OUTPUT = "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg"
COVER = {"function": "Cover", "input": INPUT, "output": OUTPUT}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with configured_place(tmp_path) as here:
        yield here


@pytest.fixture
def mps(place: Place) -> Iterator[Api]:
    """The API with an MPS."""
    with place.store() as store, serving_api(store, settings_from(place.folder / "listener.toml")) as api:
        yield api


def submissions(place: Place) -> int:
    return place.asked("SubmitIProductionJob")


# submit


@pytest.mark.parametrize("register", [True, False], ids=["register", "submit"])
def test_a_job_continues_the_trace_of_the_request(mps: Api, register: bool) -> None:
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    method, path = ("PUT", "/v1/jobs/j1") if register else ("POST", "/v1/jobs")
    reply = mps.call(method, path, json={} if register else COVER, headers={"traceparent": traceparent})

    assert (reply.status_code, reply.json()["trace"]) == (201, traceparent)
    again = mps.call(method, "/v1/jobs/j2" if register else path, json={} if register else COVER)
    assert again.json()["trace"] == ""


def test_a_job_is_submitted_and_answered_with_all_its_fields(mps: Api, place: Place) -> None:
    reply = mps.post(
        "/v1/jobs", json=COVER | {"params": {"width": 640}, "data": {"article": 7}, "deadline": "30m"}
    )
    job = reply.json()

    assert reply.status_code == 201
    assert reply.headers["location"] == f"/v1/jobs/{job['job_id']}"
    assert (job["state"], job["notify_url"], job["user_data"]) == ("submitted", NOTIFY_URL, '{"article": 7}')
    assert set(job) == set(job_dict(a_job())) - {"token"} | {"warnings"}
    stored = mps.store.find_job(job["job_id"])
    assert stored
    assert stored.deadline_at
    assert (stored.deadline_at - stored.created_at).total_seconds() == 1800
    assert mps.get(reply.headers["location"]).json()["job_id"] == job["job_id"]
    assert submissions(place) == 1


def test_warnings_are_in_every_answer(mps: Api) -> None:
    first, second = (mps.post("/v1/jobs", json=COVER | {"function": "Covr"}).json() for _ in range(2))

    assert "did you mean Cover" in " ".join(first["warnings"])
    assert first["warnings"] == second["warnings"]


@pytest.mark.parametrize("key", ["reference", "header"])
def test_the_same_request_again_answers_with_the_same_job(mps: Api, place: Place, key: str) -> None:
    headers = {"idempotency-key": "talk-7"} if key == "header" else {}
    body = COVER | ({"reference": "talk-7"} if key == "reference" else {})
    first = mps.post("/v1/jobs", json=body, headers=headers)
    second = mps.post("/v1/jobs", json=body, headers=headers)

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["reference"] == "talk-7"
    assert first.json() | {"submitted_at": None} == second.json() | {"submitted_at": None}
    assert submissions(place) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"function": "VideoH2V"},
        {"input": INPUT.replace("talk", "walk")},
        {"params": {"width": 640}},
        {"data": "other"},
        {"pipeline": "other"},
        {"deadline": "1s"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_request_with_the_same_reference_is_a_conflict(
    mps: Api, place: Place, change: dict[str, Any]
) -> None:
    mps.post("/v1/jobs", json=COVER | {"reference": "talk-7"})
    reply = mps.post("/v1/jobs", json=COVER | {"reference": "talk-7"} | change)

    assert (reply.status_code, reply.json()["type"].rpartition("#")[2]) == (409, "reference-exists")
    assert submissions(place) == 1


def test_a_repeat_while_the_answer_of_mps_is_open_submits_nothing(mps: Api, place: Place) -> None:
    mps.post("/v1/jobs", json=COVER | {"reference": "talk-6"})
    known = mps.store.find_job("talk-6")
    assert known
    mps.store.add_job(open_copy(known, reference="talk-7"))
    reply = mps.post("/v1/jobs", json=COVER | {"reference": "talk-7"})

    assert (reply.status_code, reply.json()["state"]) == (200, "intent")
    assert submissions(place) == 1


def open_copy(job: Job, *, reference: str) -> Job:
    """The same job as it is stored before MPS has answered."""
    fields = {
        name: getattr(job, name) for name in ("function", "kind", "input", "output", "params", "notify_url")
    }
    return a_job(
        **fields, token="another", reference=reference, job_id="", state=JobState.INTENT, user_data=None
    )


def test_a_refused_job_may_be_submitted_again(mps: Api) -> None:
    mps.store.add_job(a_job(reference="talk-7", job_id="", state=JobState.REFUSED, finished_at=NOON))

    assert mps.post("/v1/jobs", json=COVER | {"reference": "talk-7"}).status_code == 201


def test_a_reference_and_another_key_are_refused(mps: Api) -> None:
    body = COVER | {"reference": "talk-7"}

    assert mps.post("/v1/jobs", json=body, headers={"idempotency-key": "talk-8"}).status_code == 422
    assert mps.post("/v1/jobs", json=body, headers={"idempotency-key": "talk-7"}).status_code == 201


@pytest.mark.parametrize("key", ["клип", "\xff", "\x80"])
def test_an_idempotency_key_is_ascii(mps: Api, key: str) -> None:
    """It would become another reference than the same text in the body."""
    answer = mps.post("/v1/jobs", json=COVER, headers={"idempotency-key": key.encode()})

    assert (answer.status_code, answer.json()["field"]) == (422, "idempotency-key")
    assert mps.get("/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    ("body", "headers", "field"),
    [
        ({"reference": ""}, {}, "reference"),
        ({"reference": "", "force": True}, {"idempotency-key": "talk-7"}, "reference"),
        ({}, {"idempotency-key": ""}, "idempotency-key"),
        ({"reference": "talk-7"}, {"idempotency-key": ""}, "idempotency-key"),
    ],
)
def test_an_empty_reference_is_refused_as_a_repeat_would_not_be_safe(
    mps: Api, place: Place, body: dict[str, Any], headers: dict[str, str], field: str
) -> None:
    reply = mps.post("/v1/jobs", json=COVER | body, headers=headers)

    assert (reply.status_code, reply.json()["field"]) == (422, field)
    assert reply.json()["detail"].endswith("leave it out if that is meant")
    assert submissions(place) == 0


@each_case(
    ("body", "field", "words"),
    [
        ({"function": "Cover", "inptu": INPUT}, "inptu", "is not a member of this object"),
        ({"function": 7}, "function", "valid string"),
        ({"function": "Cover", "force": "no"}, "force", "valid boolean"),
        ({"function": "Cover", "deadline": "soon"}, "deadline", "not a valid duration"),
        ({"function": "Co\0ver"}, "function", "contains a NUL"),
        ({}, "function", "function is missing"),
        (COVER | {"output": INPUT}, "output", "{sequenceId}"),
        (COVER | {"kind": "Spectrogram"}, "kind", "cannot be submitted here"),
        (COVER | {"input": "talk.mp4"}, "input", "Input: "),
        (COVER | {"tenant": "nobody"}, "tenant", "no tenant 'nobody'"),
    ],
)
def test_what_cannot_work_is_refused_and_not_sent(
    mps: Api, place: Place, body: dict[str, Any], field: str, words: str
) -> None:
    reply = mps.post("/v1/jobs", json=body)

    assert reply.status_code == 422
    assert words in reply.json()["detail"]
    assert reply.json().get("field", "") == field
    assert submissions(place) == 0


def test_what_force_overrides_is_answered_with_the_member_of_the_body(mps: Api) -> None:
    problem = mps.post("/v1/jobs", json=COVER | {"params": "{fps: 5}"}).json()

    assert (problem["field"], problem["hint"]) == (
        "params",
        'if you know better, submit it with "force": true',
    )
    assert "--force" not in problem["detail"]


def test_numbers_that_json_does_not_have_are_refused(mps: Api) -> None:
    reply = mps.post(
        "/v1/jobs",
        content=b'{"function": "Cover", "data": {"a": NaN}}',
        headers={"content-type": "application/json"},
    )

    assert (reply.status_code, "JSON does not have" in reply.json()["detail"]) == (422, True)


def test_what_mps_rejects_is_a_problem_with_its_code(mps: Api) -> None:
    reply = mps.post("/v1/jobs", json=COVER | {"params": "no JSON", "force": True})

    assert reply.status_code == 422
    assert reply.json()["code"] == "InvalidParameter.JsonObjectFormatInvalid"
    assert reply.json()["request_id"]


def test_without_mps_nothing_can_be_submitted(api: Api) -> None:
    reply = api.post("/v1/jobs", json=COVER | {"notify_url": NOTIFY_URL})

    assert (reply.status_code, reply.json()["type"].rpartition("#")[2]) == (422, "not-configured")


# register


def test_a_job_is_registered_once(api: Api) -> None:
    body = {"kind": "Transcode", "reference": "talk-7", "deadline": 60}
    replies = [api.put(f"/v1/jobs/{JOB_ID}", json=body) for _ in range(2)]
    other = api.put(f"/v1/jobs/{JOB_ID}", json=body | {"kind": "Snapshot"})

    assert [reply.status_code for reply in (*replies, other)] == [201, 200, 409]
    assert replies[0].json() == replies[1].json()
    assert (replies[0].json()["kind"], replies[0].json()["state"]) == ("Transcode", "submitted")


def test_a_job_that_is_registered_otherwise_is_refused_with_the_members_that_differ(api: Api) -> None:
    api.put(f"/v1/jobs/{JOB_ID}", json={"kind": "Transcode", "reference": "talk-7", "deadline": 60})
    problem = api.put(
        f"/v1/jobs/{JOB_ID}", json={"kind": "Snapshot", "reference": "talk-7", "deadline": 90}
    ).json()

    assert problem["detail"] == f"job '{JOB_ID}' is registered with another kind and another deadline"
    assert problem["field"] == "kind"


def test_no_way_out_is_a_command(api: Api) -> None:
    api.put(f"/v1/jobs/{JOB_ID}", json={"reference": "talk-7"})
    replies = [
        api.put("/v1/jobs/other", json={"reference": "talk-7"}),
        api.put(f"/v1/jobs/{JOB_ID}", json={"reference": "talk-8"}),
        api.post("/v1/jobs", json=COVER | {"kind": "Nothing"}),
        api.get("/v1/jobs/nothing"),
    ]

    assert [reply.status_code for reply in replies] == [409, 409, 422, 404]
    assert [reply.text for reply in replies if "mns-listener " in reply.text] == []
    assert "GET /v1/jobs/REFERENCE" in replies[0].json()["hint"]
    assert replies[3].json()["hint"] == "list jobs with `GET /v1/jobs`"


def test_nothing_has_to_be_known_of_a_registered_job(api: Api) -> None:
    assert api.put(f"/v1/jobs/{JOB_ID}").status_code == 201
    assert api.put("/v1/jobs/with blank", json={}).status_code == 422


# list


def test_jobs_are_listed_in_pages_newest_first(api: Api) -> None:
    for number in range(5):
        api.store.add_job(a_job(job_id=f"job-{number}", token=f"token-{number}", reference=f"r-{number}"))
    pages = []
    before: int | None = None
    while True:
        reply = api.get("/v1/jobs", params={"limit": 2} | ({"before": before} if before else {})).json()
        pages.append([job["job_id"] for job in reply["jobs"]])
        before = reply["next"]
        if before is None:
            break

    assert pages == [["job-4", "job-3"], ["job-2", "job-1"], ["job-0"]]
    assert "token" not in api.get("/v1/jobs").text


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"state": "submitted"}, ["two", "one"]),
        ({"state": "Fail"}, []),
        ({"function": "cover"}, ["two", "one"]),
        ({"reference": "talk-*"}, ["one"]),
        ({"since": "1h"}, []),
        ({"until": "2024-05-01T12:00:00Z"}, []),
        ({"until": "2024-05-01T12:00:01+00:00"}, ["two", "one"]),
    ],
)
def test_a_list_can_be_narrowed(api: Api, params: dict[str, str], found: list[str]) -> None:
    for name, reference in (("one", "talk-1"), ("two", "walk-1")):
        job = a_job(job_id=name, token=name, reference=reference, function="Cover", state=JobState.SUBMITTED)
        api.store.add_job(job)

    assert [job["job_id"] for job in api.get("/v1/jobs", params=params).json()["jobs"]] == found


@each_case(
    ("params", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"before": 0}, "before"),
        ({"before": 2**53}, "before"),
        ({"state": "nothing"}, "state"),
        ({"since": "yesterday"}, "since"),
        ({"since": "9" * 400 + "d"}, "since"),
        ({"reference": "a\0"}, "reference"),
    ],
)
def test_a_wrong_parameter_is_named(api: Api, params: dict[str, Any], field: str) -> None:
    reply = api.get("/v1/jobs", params=params)

    assert (reply.status_code, reply.json()["field"]) == (422, field)


# show


@pytest.fixture
def ended(api: Api) -> Job:
    """A job with a successful result."""
    job = a_job(reference="talks/7 a?")
    api.store.add_job(job)
    record(api.store, "Success", raw='{"JobId": "…"}')
    return job


def record(store: SqlStore, state: str, **fields: Any) -> None:
    message = a_decoded_message(result=a_result(job_id=JOB_ID, state=state, **fields))
    store.record([message], lambda *_: RoutingDecision(status=ResultStatus.PARKED), at=NOON)


@pytest.mark.parametrize("name", [JOB_ID, "talks%2F7%20a%3F"])
def test_a_job_is_found_by_its_names(api: Api, ended: Job, name: str) -> None:
    assert api.get(f"/v1/jobs/{name}").json()["state"] == "Success"
    history = api.get(f"/v1/jobs/{name}/history").json()
    assert history["job"]["reference"] == ended.reference
    assert [(each["state"], each["status"], each["raw"]) for each in history["results"]] == [
        ("Success", "parked", '{"JobId": "…"}')
    ]


@pytest.mark.parametrize("path", ["/v1/jobs/nothing", "/v1/jobs/nothing/history", "/v1/jobs/nothing/outputs"])
def test_an_unknown_job_is_not_found(api: Api, path: str) -> None:
    reply = api.get(path)

    assert (reply.status_code, reply.json()["type"].rpartition("#")[2]) == (404, "not-found")


def test_results_without_a_job_have_a_history(api: Api) -> None:
    record(api.store, "Success")

    history = api.get(f"/v1/jobs/{JOB_ID}/history").json()
    assert (history["job"], len(history["results"])) == (None, 1)


def test_a_long_history_has_pages(api: Api) -> None:
    api.store.record(events_of_medium(3), routes_all(), at=NOON)

    newest = api.get("/v1/jobs/v/history?limit=2").json()
    assert ([each["id"] for each in newest["results"]], newest["next"]) == ([2, 3], 2)
    assert len(newest["deliveries"]) == 2
    oldest = api.get("/v1/jobs/v/history?limit=2&before=2").json()
    assert ([each["id"] for each in oldest["results"]], oldest["next"]) == ([1], None)


def test_outputs_come_from_mps(mps: Api, place: Place) -> None:
    job = mps.post("/v1/jobs", json=COVER).json()
    assert mps.get(f"/v1/jobs/{job['job_id']}/outputs").json()["outputs"] is None
    mps.store.record(
        [a_decoded_message(result=a_result(job_id=job["job_id"], function="Cover"))],
        lambda *_: RoutingDecision(status=ResultStatus.PARKED),
        at=NOON,
    )

    reply = mps.get(f"/v1/jobs/{job['job_id']}/outputs").json()
    assert reply["state"] == "Success"
    assert reply["outputs"]["files"]


def test_mps_that_is_away_is_a_problem_that_may_pass(mps: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_given: Any, **_named: Any) -> None:
        raise MpsUnavailable("MPS: timed out", kind=FailureKind.TIMEOUT, hint="wait")

    monkeypatch.setattr(mps.context.client.clients.mps(""), "submit", away)
    reply = mps.post("/v1/jobs", json=COVER | {"reference": "talk-7"})

    assert (reply.status_code, reply.headers["retry-after"], reply.json()["hint"]) == (503, "5", "wait")
    again = mps.post("/v1/jobs", json=COVER | {"reference": "talk-7"})
    assert (again.status_code, again.json()["state"]) == (200, "intent")


def test_submissions_that_wait_for_mps_hold_up_no_other_request(
    mps: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def slow(*_given: Any, **_named: Any) -> None:
        answered.wait()
        raise MpsUnavailable("MPS: refused", kind=FailureKind.REFUSED)

    monkeypatch.setattr(mps.context.client.clients.mps(""), "submit", slow)

    async def scene() -> list[int]:
        submissions = [asyncio.create_task(mps.ask("POST", "/v1/jobs", json=COVER)) for _ in range(60)]
        listed = await mps.ask("GET", "/v1/jobs")
        while len(listed.json()["jobs"]) < MPS_THREADS:
            listed = await mps.ask("GET", "/v1/jobs")
        answered.set()
        return [(await each).status_code for each in submissions]

    assert mps.run(scene()) == [503] * 60
