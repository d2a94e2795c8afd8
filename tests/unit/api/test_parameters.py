"""What parameters and members of bodies are taken: what the document of the API says, and no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel

from listener.api.parameters import DurationText, FilterFields, PointInTime
from listener.core import clock
from tests.support.api import Api
from tests.support.cases import each_case

ACTIONS = [
    "dead-letters/replay",
    "dead-letters/drop",
    "deliveries/retry",
    "deliveries/cancel",
    "results/reroute",
    "results/drop",
    "quarantine/retry",
    "quarantine/drop",
]


class Times(BaseModel):
    at: PointInTime | None = None
    wait: DurationText | None = None


@pytest.mark.parametrize("action", ACTIONS)
def test_a_time_in_a_filter_is_text(api: Api, action: str) -> None:
    for name in ("since", "until"):
        for given in (5, 1.5, True, [], {}):
            reply = api.post(f"/v1/{action}", json={"all": True, "filters": {name: given}})
            assert (reply.status_code, reply.json()["field"]) == (422, f"filters.{name}"), given
            assert 'in quotes, as in "2h"' in reply.json()["detail"]


@each_case(
    ("text", "at"),
    [
        ("2026-05-01T08:30:00Z", datetime(2026, 5, 1, 8, 30, tzinfo=UTC)),
        ("2026-05-01t08:30:00z", datetime(2026, 5, 1, 8, 30, tzinfo=UTC)),
        ("2026-05-01T08:30:00.25+08:00", datetime(2026, 5, 1, 0, 30, 0, 250_000, tzinfo=UTC)),
        ("2026-05-01T08:30:00.123456789-00:30", datetime(2026, 5, 1, 9, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_a_time_has_its_zone(text: str, at: datetime) -> None:
    assert Times.model_validate({"at": text}).at == at


@pytest.mark.parametrize("text", ["2h", "1.5h30m", "90", "0.5", "999d9999h99999m9999999s999999999ms"])
def test_a_duration_is_a_time_ago(text: str) -> None:
    before = clock.now()
    found = Times.model_validate({"at": text, "wait": text})
    assert found.at is not None
    assert found.wait is not None
    assert before <= found.at + found.wait <= clock.now()


@each_case(
    "text",
    [
        "2026-05-01",
        "2026-05-01T08:30",
        "2026-05-01T08:30:00",
        "2026-05-01 08:30:00Z",
        "2026-02-30T08:30:00Z",
        "20260501T083000Z",
        "2026-W18-5",
        "1h 30m",
        "30m1h",
        " 2h ",
        "2h\n",
        "1e3",
        "1_000",
        "2000d",
        "٣h",
        "",
    ],
)
def test_other_times_are_refused_with_the_form_that_is_taken(api: Api, text: str) -> None:
    reply = api.get("/v1/jobs", params={"since": text})
    assert (reply.status_code, reply.json()["field"]) == (422, "since")
    assert "2026-05-01T08:30:00Z" in reply.json()["detail"]


@each_case("given", ["1h 30m", "30m1h", " 2h ", "2h\n", "1e3", "2000d", "9999d", "", True, -1, 1e300, [], {}])
def test_other_durations_are_refused_with_the_form_that_is_taken(api: Api, given: object) -> None:
    reply = api.call("PUT", "/v1/jobs/job-7", json={"kind": "Transcode", "deadline": given})
    assert (reply.status_code, reply.json()["field"]) == (422, "deadline")
    assert "; use " in reply.json()["detail"]


@pytest.mark.parametrize("given", [0, 0.5, 315_360_000, "1h30m", "1.5h", "90"])
def test_a_duration_is_text_or_a_number(given: object) -> None:
    assert isinstance(Times.model_validate({"wait": given}).wait, timedelta)


def test_the_state_of_a_result_is_one_of_those_in_the_document(api: Api) -> None:
    states = FilterFields.model_json_schema()["properties"]["result_state"]["enum"]
    assert [
        state for state in states if api.get("/v1/results", params={"result_state": state}).status_code != 200
    ] == []
    for given in ("success", " Success", "completed", "canceled"):
        reply = api.get("/v1/results", params={"result_state": given}).json()
        assert reply["field"] == "result_state"
        assert "use one of Success, Fail" in reply["detail"]


@each_case(
    ("path", "name", "refused"),
    [
        ("GET /v1/jobs", "limit", ["1_0", " 5", "+5", "٣", "", "five"]),
        ("GET /v1/jobs", "before", ["1_0", " 5", "+5", "٣"]),
        ("GET /v1/jobs/talk-7", "wait", ["1_0", " 5", "+5", ".5", "5.", "nan"]),
        ("POST /v1/routes/captions/claim", "wait", ["1_0", " 0 "]),
        ("POST /v1/routes/captions/claim", "lease", ["1_0", " 5 "]),
        ("POST /v1/routes/captions/claim", "limit", ["1_0", "+5"]),
        ("GET /v1/events", "follow", ["no", "0", "off", "f", "False", ""]),
    ],
)
def test_numbers_and_booleans_in_a_query_are_written_as_in_json(
    api: Api, path: str, name: str, refused: list[str]
) -> None:
    method, _, place = path.partition(" ")
    for given in refused:
        reply = api.call(method, place, params={name: given})
        assert (reply.status_code, reply.json()["field"]) == (422, name), given


def test_numbers_and_booleans_as_json_has_them_are_taken(api: Api) -> None:
    assert api.get("/v1/jobs", params={"limit": "7", "before": "12"}).status_code == 200
    assert api.get("/v1/jobs/talk-7", params={"wait": "2.5e-1"}).status_code == 404
    assert api.get("/v1/events", params={"follow": "false"}).status_code == 200


def test_a_parameter_that_is_no_list_is_given_once(api: Api) -> None:
    reply = api.get("/v1/jobs", params={"route": ["covers", "captions"]})

    assert (reply.status_code, reply.json()["field"]) == (422, "route")
    assert reply.json()["detail"] == "'route' is given more than once"
    assert api.get("/v1/deliveries", params={"state": ["done", "dead"]}).status_code == 200


def test_a_whole_number_is_an_attempt_however_it_is_written(api: Api) -> None:
    whole = api.post("/v1/deliveries/17", json={"attempt": 1.0, "action": "done"})
    assert (whole.status_code, whole.json()["title"]) == (404, "Not found")
    for given in (1.5, "1", True):
        assert api.post("/v1/deliveries/17", json={"attempt": given, "action": "done"}).status_code == 422


@pytest.mark.parametrize("name", ["data", "params"])
def test_a_number_that_json_does_not_have_is_refused_by_name(api: Api, name: str) -> None:
    body = f'{{"function": "Cover", "{name}": {{"a": NaN}}}}'
    reply = api.post("/v1/jobs", content=body.encode(), headers={"content-type": "application/json"})

    assert (reply.status_code, reply.json()["field"]) == (422, name)


def test_another_idempotency_key_than_the_reference_is_refused_by_name(api: Api) -> None:
    reply = api.post("/v1/jobs", json={"reference": "talk-7"}, headers={"Idempotency-Key": "talk-8"})

    assert (reply.status_code, reply.json()["field"]) == (422, "idempotency-key")


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_events_can_be_followed_from_the_earliest_time(api: Api, at: str) -> None:
    assert api.get("/v1/events", params={"since": at, "follow": "false"}).status_code == 200
    assert api.get("/v1/jobs", params={"since": at}).status_code == 200


def test_lists_can_end_at_the_latest_time(api: Api) -> None:
    for at in ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00"):
        assert api.get("/v1/jobs", params={"until": at}).status_code == 200
        assert api.post("/v1/results/drop", json={"all": True, "filters": {"until": at}}).status_code == 200


@each_case(
    ("call", "field"),
    [
        (("PUT", "/v1/jobs/job-7", {"kind": "Photo"}), "kind"),
        (("PUT", "/v1/jobs/job-7", {"kind": "Transcode", "function": "Cover"}), "function"),
        (("POST", "/v1/jobs", {"function": "Cover", "kind": "Photo"}), "kind"),
        (("POST", "/v1/jobs", {"function": "Cover", "route": "a:b"}), "route"),
        (("POST", "/v1/jobs", {"function": "Cover", "route": "a", "data": {"route": "b"}}), "data"),
    ],
)
def test_what_a_job_cannot_be_is_refused_by_name(
    api: Api, call: tuple[str, str, dict[str, object]], field: str
) -> None:
    method, path, body = call
    reply = api.call(method, path, json=body)

    assert (reply.status_code, reply.json()["field"]) == (422, field)


@pytest.mark.parametrize("name", ["data", "params"])
def test_what_is_neither_an_object_nor_text_is_refused_by_name(api: Api, name: str) -> None:
    for given in (5, [1], None, True):
        reply = api.post("/v1/jobs", json={"function": "Cover", name: given})
        assert (reply.status_code, reply.json()["field"]) == (422, name)
        assert reply.json()["detail"] == "is neither an object nor text"
    nul = api.post("/v1/jobs", json={"function": "Cover", name: "\0"}).json()
    assert (nul["field"], "errors" in nul) == (name, False)
    batch = api.post("/v1/jobs/batch", json={"jobs": [{"function": "Cover", name: 5}]}).json()
    assert batch["field"] == f"jobs.0.{name}"
