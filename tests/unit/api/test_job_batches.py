"""Jobs that are accepted now and submitted soon: one by one, and many in one request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from listener.api.job_batches import MAX_JOBS
from listener.core.model import JobState
from listener.settings.loader import settings_from
from tests.support.api import MAX_WAITING, Api, serving_api
from tests.support.program import Place, configured_place

COVER = {
    "function": "Cover",
    "input": "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4",
    "output": "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg",
}
ASYNC = {"prefer": "respond-async"}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with configured_place(tmp_path) as here:
        yield here


@pytest.fixture
def mps(place: Place) -> Iterator[Api]:
    """The API with an MPS, and without a daemon that submits what it accepts."""
    with place.store() as store, serving_api(store, settings_from(place.folder / "listener.toml")) as api:
        yield api


def accepted(api: Api) -> list[str]:
    return [job.reference for job in api.store.accepted_jobs(limit=2 * MAX_WAITING)]


def covers(*references: str) -> dict[str, Any]:
    return {"jobs": [COVER | {"reference": reference} for reference in references]}


@pytest.mark.parametrize("prefer", ["respond-async", "handling=lenient, Respond-Async; wait=10"])
def test_a_job_is_accepted_without_a_call_of_mps(mps: Api, place: Place, prefer: str) -> None:
    sent = COVER | {"reference": "talk/7", "deadline": "30m"}
    first, again = (mps.post("/v1/jobs", json=sent, headers={"prefer": prefer}) for _ in range(2))

    assert (first.status_code, again.status_code) == (202, 200)
    assert first.headers["preference-applied"] == "respond-async"
    assert first.headers["location"] == "/v1/jobs/talk%2F7"
    assert first.json()["state"] == JobState.ACCEPTED
    assert mps.get(first.headers["location"]).json()["reference"] == "talk/7"
    assert (accepted(mps), mps.submitters_woken) == (["talk/7"], 1)
    assert place.asked("SubmitIProductionJob") == 0


def test_a_job_that_was_accepted_is_not_submitted_by_another_request(mps: Api, place: Place) -> None:
    mps.post("/v1/jobs", json=COVER, headers=ASYNC | {"idempotency-key": "talk-7"})
    same = mps.post("/v1/jobs", json=COVER | {"reference": "talk-7"})
    other = mps.post("/v1/jobs", json=COVER | {"reference": "talk-7", "model": "other"}, headers=ASYNC)

    assert (same.status_code, same.json()["state"]) == (200, "accepted")
    assert (other.status_code, other.json()["type"].rpartition("#")[2]) == (409, "reference-exists")
    assert place.asked("SubmitIProductionJob") == 0


def test_the_same_key_at_the_same_time_makes_one_job(mps: Api) -> None:
    async def ask() -> list[httpx.Response]:
        headers = ASYNC | {"idempotency-key": "talk-7"}
        sent = [COVER, COVER, COVER | {"model": "other"}, COVER]
        return await asyncio.gather(
            *(mps.ask("POST", "/v1/jobs", json=body, headers=headers) for body in sent)
        )

    replies = mps.run(ask())
    assert sorted(reply.status_code for reply in replies) == [200, 200, 202, 409]
    documents = [reply.json() for reply in replies if reply.status_code != 409]
    assert documents == [documents[0]] * 3
    assert accepted(mps) == ["talk-7"]


def test_a_job_without_a_reference_gets_one(mps: Api) -> None:
    replies = [mps.post("/v1/jobs", json=COVER, headers=ASYNC) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [202, 202]
    assert [reply.headers["location"].rpartition("/")[2] for reply in replies] == accepted(mps)


def test_what_cannot_work_is_not_accepted(mps: Api, api: Api) -> None:
    refused = mps.post("/v1/jobs", json=COVER | {"output": "covers"}, headers=ASYNC)
    without_mps = api.post("/v1/jobs", json=COVER, headers=ASYNC)

    assert (refused.status_code, refused.json()["field"]) == (422, "output")
    assert without_mps.json()["type"].rpartition("#")[2] in ("not-configured", "invalid-request")
    assert accepted(mps) == accepted(api) == []


def test_each_job_of_a_batch_is_accepted_or_refused_by_itself(mps: Api) -> None:
    mps.post("/v1/jobs/batch", json=covers("a", "b"))
    batch = covers("a", "c", "b", "c", "d")
    batch["jobs"][2]["model"] = "other"
    batch["jobs"][4]["output"] = "covers"
    reply = mps.post("/v1/jobs/batch", json=batch)
    document = reply.json()

    assert reply.status_code == 202, reply.text
    assert {name: document[name] for name in ("accepted", "existing", "refused")} == {
        "accepted": 1,
        "existing": 2,
        "refused": 2,
    }
    assert [each["reference"] for each in document["jobs"]] == ["a", "c", "b", "c", "d"]
    assert [each["state"] for each in document["jobs"]] == ["accepted", "accepted", None, "accepted", None]
    problems = [each["problem"] and each["problem"]["status"] for each in document["jobs"]]
    assert problems == [None, None, 409, None, 422]
    assert accepted(mps) == ["a", "b", "c"]


def test_no_more_jobs_are_accepted_than_may_wait(mps: Api) -> None:
    names = [f"job-{number}" for number in range(MAX_WAITING)]
    assert mps.post("/v1/jobs/batch", json=covers(*names)).status_code == 202
    reply = mps.post("/v1/jobs", json=COVER, headers=ASYNC)

    assert (reply.status_code, reply.json()["type"].rpartition("#")[2]) == (503, "too-many-waiting")
    assert int(reply.headers["retry-after"]) > 0
    assert accepted(mps) == names


@pytest.mark.parametrize("jobs", [[], [{}] * (MAX_JOBS + 1), "many"], ids=["none", "too many", "text"])
def test_a_batch_has_a_size(mps: Api, jobs: Any) -> None:
    reply = mps.post("/v1/jobs/batch", json={"jobs": jobs})
    assert (reply.status_code, reply.json()["field"]) == (422, "jobs")
