"""``POST /v1/explain``: messages and jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from listener.api import explain
from listener.api.access import READING
from listener.api.application import PREFIX
from listener.core.documents import to_plain
from listener.core.model import JobState
from listener.explanations import PAGE, ExplainedDelivery, ExplainedJob, ExplainedResult
from listener.formats.read_members import Member
from listener.rules.explanation import DeliveryPlan, Explanation, Reading
from listener.rules.retry import RetryPlan
from listener.rules.route_reasons import RouteReason
from listener.settings.loader import load
from listener.store.sql_store import SqlStore
from tests.support.api import Api, serving_api
from tests.support.builders import (
    NOON,
    TOKEN,
    a_callback,
    a_decoded_message,
    a_job,
    a_result,
    events_of_medium,
    routes_all,
    wrapped,
)
from tests.support.cases import each_case

SETTINGS = """
[[queues]]
url = "mns://1.mns.cn-shanghai.aliyuncs.com/queues/mps-callbacks"
[[routes]]
name = "covers"
match = { function = "Cover", queue = "mps-callbacks" }
handlers = [{ use = "log" }]
"""


@pytest.fixture
def api(store: SqlStore) -> Iterator[Api]:
    with serving_api(store, load(SETTINGS, {})) as api:
        yield api


def explained(api: Api, **question: Any) -> Any:
    reply = api.post("/v1/explain", json=question)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_a_message_is_explained(api: Api) -> None:
    found = explained(api, message=wrapped(a_callback(FunctionName="Cover")))

    assert found["job"] is None
    message = found["message"]
    assert message["reading"]["wrappings"] == ["base64"]
    assert message["routes"] == [
        {
            "route": "covers",
            "matches": True,
            "condition": "",
            "wanted": None,
            "found": None,
            "met": 0,
            "text": "all conditions are met",
        }
    ]
    assert message["outcome"] == "routed"
    (plan,) = message["deliveries"]
    assert plan["retries"]["waits"][:3] == [1.0, 2.0, 4.0]


def test_the_queue_that_brings_it_can_be_given(api: Api) -> None:
    found = explained(api, message=a_callback(FunctionName="Cover"), queue="other")

    assert found["message"]["outcome"] == "parked"
    assert found["message"]["routes"][0]["text"] == 'queue is "other", wanted "mps-callbacks"'


def test_what_is_no_callback_is_explained(api: Api) -> None:
    found = explained(api, message="{\0")["message"]

    assert (found["outcome"], found["result"]) == ("quarantined", None)
    assert found["reading"]["error"]


def test_a_job_is_explained_with_its_results(api: Api, store: SqlStore) -> None:
    store.add_job(a_job(reference="talk-7"))
    store.record([a_decoded_message(result=a_result())], routes_all(), at=NOON)

    job = explained(api, job="talk-7")["job"]

    (result,) = job["results"]
    assert (job["job"]["state"], job["if_it_succeeds"]) == ("Success", None)
    assert [each["state"] for each in result["deliveries"]] == ["pending"]
    assert result["explanation"]["routes"][0]["condition"] == "function"


def test_a_job_with_many_results_is_explained_in_pages(api: Api, store: SqlStore) -> None:
    store.record(events_of_medium(PAGE + 1, media_id="v"), routes_all(), at=NOON)

    newest = explained(api, job="v")["job"]
    oldest = explained(api, job="v", before=newest["next"])["job"]

    assert [len(page["results"]) for page in (newest, oldest)] == [PAGE, 1]
    assert oldest["results"][0]["id"] < newest["results"][0]["id"]
    assert oldest["next"] is None


def test_tokens_stay_in_the_store(api: Api, store: SqlStore) -> None:
    store.add_job(a_job(token=TOKEN, job_id="", reference="talk-7", state=JobState.INTENT))
    with_token = a_callback(JobId="new", UserData=f"covers:7#mnsl={TOKEN}")

    texts = [
        api.post("/v1/explain", json={"job": "talk-7"}).text,
        api.post("/v1/explain", json={"message": with_token}).text.replace(
            with_token.replace('"', '\\"'), ""
        ),
    ]

    assert '"user_data":"covers:7"' in texts[1]
    assert [text for text in texts if TOKEN in text] == []


def test_a_job_is_found_by_the_beginning_of_its_name(api: Api, store: SqlStore) -> None:
    for reference in ("talk-7a", "talk-8a", "talk-8b"):
        store.add_job(a_job(token=reference, job_id=reference, reference=reference))
    found, ambiguous = (api.post("/v1/explain", json={"job": name}) for name in ("talk-7", "talk-8"))

    assert found.json()["job"]["name"] == "talk-7a"
    assert (ambiguous.status_code, "talk-8a, talk-8b" in ambiguous.json()["detail"]) == (422, True)


def test_an_unknown_job_is_not_found(api: Api) -> None:
    reply = api.post("/v1/explain", json={"job": "talk-99"})

    assert reply.status_code == 404
    assert reply.json()["detail"] == "no job 'talk-99' in this store"


@each_case(
    "question",
    [
        *({}, {"message": "x", "job": "y"}, {"job": "y", "queue": "q"}, {"massage": "x"}, {"job": "\0"}),
        *({"message": "x", "before": 7}, {"job": "y", "before": 0}),
        {"message": "x" * (explain.MAX_MESSAGE + 1)},
    ],
    ids=lambda question: ",".join(question) or "empty",
)
def test_a_question_that_cannot_work_is_refused(api: Api, question: dict[str, Any]) -> None:
    assert api.post("/v1/explain", json=question).status_code == 422


def test_a_token_that_may_only_read_is_enough(store: SqlStore, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("read 0123456789abcdef\n")
    with serving_api(store, token_file=tmp_path / "tokens") as api:
        api.headers = {"Authorization": "Bearer 0123456789abcdef"}

        assert api.post("/v1/explain", json={"message": "x"}).status_code == 200
        assert api.post("/v1/jobs", json={}).status_code == 403
    assert f"{PREFIX}/explain" in READING


@each_case(
    ("model", "value"),
    [
        (explain.ExplanationDocument, Explanation(queue="q")),
        (explain.ReadingDocument, Reading(wrappings=())),
        (explain.MemberDocument, Member("State", ("state",))),
        (explain.RouteReasonDocument, RouteReason(route="covers", matches=True)),
        (
            explain.DeliveryPlanDocument,
            DeliveryPlan(
                route="r",
                handler="h",
                retries=RetryPlan(attempts=1, waits=(), until_dead=NOON - NOON, limit="max_attempts"),
                outputs="",
                pulled=False,
            ),
        ),
        (
            explain.ExplainedJobDocument,
            ExplainedJob(name="talk-7", job=None, awaited="", if_it_succeeds=None, results=()),
        ),
    ],
)
def test_a_document_has_the_fields_that_the_cli_prints(model: type[BaseModel], value: Any) -> None:
    assert set(model.model_fields) == set(to_plain(value))


@each_case(
    ("model", "value"),
    [
        (explain.ExplainedDeliveryDocument, ExplainedDelivery),
        (explain.ExplainedResultDocument, ExplainedResult),
        (explain.RetryPlanDocument, RetryPlan),
    ],
)
def test_a_document_has_the_fields_of_its_value(model: type[BaseModel], value: Any) -> None:
    assert set(model.model_fields) == set(value.__dataclass_fields__)
