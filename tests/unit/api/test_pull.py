"""Pulling over HTTP; what it does is tested in tests/unit/dispatch/test_pull.py."""

from __future__ import annotations

from typing import Any

import pytest

from listener.core.model import JobResult
from listener.store.sql_store import SqlStore
from tests.support.api import Api
from tests.support.cases import each_case
from tests.support.dispatching import TARGET, delivery_rows, delivery_states
from tests.support.pulling import offer_results

CLAIM = f"/v1/routes/{TARGET.route}/claim"


def claim(api: Api, **parameters: Any) -> list[dict[str, Any]]:
    answer = api.post(CLAIM, params=parameters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["deliveries"]
    return found


def settle(api: Api, pulled: dict[str, Any], action: str, **more: Any) -> Any:
    body = {"action": action, "attempt": pulled["attempt"], **more}
    return api.post(f"/v1/deliveries/{pulled['delivery']}", json=body)


def test_what_is_pulled_is_the_document_of_all_handlers(api: Api, store: SqlStore) -> None:
    offer_results(store, 3)

    first, second = claim(api, limit=2, client="encoder")

    assert JobResult.from_document(first).key == first["key"]
    assert (first["delivery"], second["delivery"], first["attempt"]) == (1, 2, 1)
    assert delivery_rows(store)[0].owner.startswith("pull:encoder@")


@pytest.mark.parametrize(
    ("action", "state"),
    [("done", "done"), ("retry", "pending"), ("reject", "dead"), ("extend", "running")],
)
def test_each_action_is_answered_with_the_state_of_the_delivery(
    api: Api, store: SqlStore, action: str, state: str
) -> None:
    offer_results(store)
    (pulled,) = claim(api)

    answer = settle(api, pulled, action)

    assert (answer.status_code, answer.json()["state"]) == (200, state)
    assert (answer.json()["next_at"] is None, answer.json()["lease_until"] is None) == (
        state != "pending",
        state != "running",
    )
    assert delivery_states(store) == {state: 1}


def test_a_retry_has_a_delay_and_a_reason(api: Api, store: SqlStore) -> None:
    offer_results(store)
    (pulled,) = claim(api)

    settle(api, pulled, "retry", delay="1h", reason="busy")

    (listed,) = api.get("/v1/deliveries").json()["deliveries"]
    assert (listed["last_error"], listed["state"]) == ("Retry: busy", "pending")
    assert listed["next_at"] > listed["settled_at"]
    assert claim(api) == []


def test_an_attempt_that_is_over_is_refused_with_409(api: Api, store: SqlStore) -> None:
    offer_results(store)
    (lost,) = claim(api)
    settle(api, lost, "retry", delay=0)
    claim(api)

    answer = settle(api, lost, "done")

    assert (answer.status_code, answer.json()["type"].rpartition("#")[2]) == (409, "lease-lost")
    assert delivery_states(store) == {"running": 1}


def test_several_are_settled_each_by_itself(api: Api, store: SqlStore) -> None:
    offer_results(store, 2)
    first, second = claim(api, limit=2)
    named = [
        {"delivery": first["delivery"], "attempt": 1, "action": "done"},
        {"delivery": 99, "attempt": 1, "action": "done"},
        {"delivery": second["delivery"], "attempt": 7, "action": "done"},
        {"delivery": second["delivery"], "attempt": 1, "action": "reject", "reason": "no"},
    ]

    settled = api.post("/v1/deliveries", json={"settlements": named}).json()["settled"]

    assert [each["state"] for each in settled] == ["done", None, None, "dead"]
    assert [each["problem"] and each["problem"]["status"] for each in settled] == [None, 404, 409, None]
    assert settled[2]["problem"]["title"] == "The attempt is over"


@each_case(
    ("path", "status"),
    [
        ("/v1/routes/other/claim", 404),
        (f"{CLAIM}?handler=other", 404),
        (f"{CLAIM}?limit=0", 422),
        (f"{CLAIM}?limit=257", 422),
        (f"{CLAIM}?wait=61", 422),
        (f"{CLAIM}?lease=0.5", 422),
        (f"{CLAIM}?client=%00", 422),
        (f"{CLAIM}?client={'x' * 101}", 422),
    ],
)
def test_what_cannot_be_claimed_is_a_problem(api: Api, store: SqlStore, path: str, status: int) -> None:
    offer_results(store)

    answer = api.post(path)

    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert delivery_states(store) == {"pending": 1}


@each_case(
    "body",
    [
        {},
        {"action": "done"},
        {"action": "finish", "attempt": 1},
        {"action": "done", "attempt": 0},
        {"action": "done", "attempt": 2**31},
        {"action": "retry", "attempt": 1, "delay": "soon"},
        {"action": "extend", "attempt": 1, "lease": "2h"},
        {"action": "done", "attempt": 1, "more": 1},
    ],
)
def test_what_is_no_settlement_is_a_problem_and_changes_nothing(
    api: Api, store: SqlStore, body: dict[str, Any]
) -> None:
    offer_results(store)
    claim(api)

    assert api.post("/v1/deliveries/1", json=body).status_code == 422
    assert delivery_states(store) == {"running": 1}


def test_what_is_wrong_about_a_claim_is_named(api: Api, store: SqlStore) -> None:
    offer_results(store)
    unprintable = api.post(CLAIM, params={"client": "a\tb"}).json()
    pulled = claim(api)[0]

    assert unprintable["field"] == "client"
    assert settle(api, pulled, "extend", lease="2h").json()["field"] == "lease"
