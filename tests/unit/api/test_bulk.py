"""Actions on dead letters, pending deliveries, parked results and quarantined messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from listener.api import bulk
from listener.api.dead_letters import DeadLetterPage
from listener.core.model import Dead, ResultStatus, RoutingDecision, Settlement, Target
from listener.settings.loader import settings_from
from listener.settings.sections import Settings
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore
from tests.support.api import Api, serving_api
from tests.support.builders import NOON, a_claim, a_decoded_message, a_message, decoded_messages, routes_all
from tests.support.stores import states

ROUTES = """
[[routes]]
name = "all"
handlers = [{ use = "log" }]
"""
TO_LOG = {"route": "all", "handler": "log"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "listener.toml"
    path.write_text(ROUTES)
    return settings_from(path)


@pytest.fixture
def api(store: SqlStore, settings: Settings) -> Iterator[Api]:
    with serving_api(store, settings) as api:
        yield api


def dead_letters(store: SqlStore, number: int) -> None:
    pending(store, number)
    claimed = store.claim(a_claim(limit=number), at=NOON)
    store.settle([Settlement(delivery=each, outcome=Dead(reason="no use")) for each in claimed], at=NOON)


def pending(store: SqlStore, number: int) -> None:
    store.record(decoded_messages(number), routes_all(Target("all", "log")), at=NOON)


def parked(store: SqlStore, number: int) -> None:
    decision = RoutingDecision(status=ResultStatus.PARKED)
    store.record(decoded_messages(number), lambda *_: decision, at=NOON)


def quarantined(store: SqlStore, number: int) -> None:
    messages = [a_message(message_id=str(each), body="no callback") for each in range(number)]
    entries = [a_decoded_message(message=each, result=None, reason="garbled") for each in messages]
    store.record(entries, routes_all(), at=NOON)


AREAS = {
    "dead-letters": ("dead_letters", dead_letters, "drop", "dropped"),
    "deliveries": ("deliveries", pending, "cancel", "cancelled"),
    "results": ("results", parked, "reroute", "rerouted"),
    "quarantine": ("messages", quarantined, "drop", "dropped"),
}
DONE = {"drop": "dropped", "cancel": "cancelled", "retry": "retried"}
every_area = pytest.mark.parametrize("area", AREAS)


def ids_of(api: Api, area: str) -> list[int]:
    params = {"status": "parked"} if area == "results" else {}
    return [row["id"] for row in api.get(f"/v1/{area}", params=params).json()[AREAS[area][0]]]


@every_area
def test_rows_are_listed_and_shown(api: Api, area: str) -> None:
    name, fill, _, _ = AREAS[area]
    fill(api.store, 3)
    first = api.get(f"/v1/{area}", params={"limit": 2}).json()
    second = api.get(f"/v1/{area}", params={"limit": 2, "before": first["next"]}).json()

    assert [row["id"] for row in first[name] + second[name]] == [3, 2, 1]
    assert api.get(f"/v1/{area}/2").json()["id"] == 2
    assert api.get(f"/v1/{area}/4").status_code == 404
    assert api.get(f"/v1/{area}/0").status_code == 422


@every_area
def test_an_action_on_ids_changes_only_these(api: Api, area: str) -> None:
    _, fill, verb, done = AREAS[area]
    fill(api.store, 3)
    answer = api.post(f"/v1/{area}/{verb}", json={"ids": [1, 3, 3, 99]}).json()

    assert sorted(answer[done]) == [1, 3]
    assert (answer["missing"], answer["refused"], answer["next"]) == ([99], [], None)
    assert ids_of(api, area) == [2]


@every_area
def test_a_dry_run_answers_the_same_and_changes_nothing(api: Api, area: str) -> None:
    _, fill, verb, done = AREAS[area]
    fill(api.store, 2)
    answer = api.post(f"/v1/{area}/{verb}", json={"all": True, "dry_run": True}).json()

    assert (sorted(answer[done]), answer["dry_run"]) == ([1, 2], True)
    assert ids_of(api, area) == [2, 1]
    assert api.woken == 0


@pytest.mark.parametrize(
    ("area", "verb"),
    [
        ("dead-letters", "drop"),
        ("deliveries", "retry"),
        ("deliveries", "cancel"),
        ("results", "drop"),
        ("quarantine", "drop"),
    ],
)
def test_a_dry_run_asks_no_more_often_for_more_rows(api: Api, area: str, verb: str) -> None:
    AREAS[area][1](api.store, 20)

    def statements(count: int) -> int:
        seen: list[str] = []

        def heard(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            seen.append(statement)

        event.listen(api.store.database.engine, "before_cursor_execute", heard)
        body = {"ids": list(range(count, 0, -1)), "dry_run": True}
        answer = api.post(f"/v1/{area}/{verb}", json=body).json()
        event.remove(api.store.database.engine, "before_cursor_execute", heard)
        assert answer[DONE[verb]] == body["ids"]
        return len(seen)

    assert statements(20) == statements(2)


@every_area
def test_an_action_on_all_is_narrowed_by_filters(api: Api, area: str) -> None:
    _, fill, verb, done = AREAS[area]
    fill(api.store, 2)
    none = api.post(f"/v1/{area}/{verb}", json={"all": True, "filters": {"since": "1h"}}).json()
    both = api.post(f"/v1/{area}/{verb}", json={"all": True, "filters": {"until": "1h"}}).json()

    assert (none[done], sorted(both[done])) == ([], [1, 2])


@every_area
def test_many_rows_take_several_requests(api: Api, area: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, fill, verb, done = AREAS[area]
    fill(api.store, 5)
    monkeypatch.setattr(bulk, "MAX_ROWS", 2)
    changed: list[int] = []
    body: dict[str, Any] = {"all": True}
    while True:
        answer = api.post(f"/v1/{area}/{verb}", json=body).json()
        changed += answer[done]
        if answer["next"] is None:
            break
        body["before"] = answer["next"]

    assert sorted(changed) == [1, 2, 3, 4, 5]


#: Bodies that do not say clearly which rows they are about.
UNCLEAR: list[dict[str, Any]] = [
    {},
    {"ids": [1], "all": True},
    {"ids": [1], "filters": {"since": "1h"}},
    {"ids": [1], "before": 7},
    {"ids": [0]},
    {"ids": ["one"]},
    {"ids": ["1"]},
    {"ids": [1], "dry_run": "no"},
    {"all": 1},
    {"all": True, "filters": {"colour": "red"}},
    {"ids": list(range(1, bulk.MAX_ROWS + 2))},
]


@every_area
def test_an_unclear_selection_is_refused(api: Api, area: str) -> None:
    _, fill, verb, _ = AREAS[area]
    fill(api.store, 1)

    assert [body for body in UNCLEAR if api.post(f"/v1/{area}/{verb}", json=body).status_code != 422] == []
    assert len(ids_of(api, area)) == 1


def test_a_replay_says_where_each_dead_letter_goes(api: Api) -> None:
    dead_letters(api.store, 1)
    answer = api.post("/v1/dead-letters/replay", json={"ids": [1]}).json()

    assert (answer["replayed"], answer["targets"]) == ([1], [{"id": 1} | TO_LOG])
    assert states(api.store) == ["pending"]
    assert api.woken == 1


def test_a_replay_that_no_route_matches_is_refused(store: SqlStore) -> None:
    dead_letters(store, 1)
    with serving_api(store) as api:
        answer = api.post("/v1/dead-letters/replay", json={"ids": [1]}).json()

    assert (answer["replayed"], answer["refused"][0]["id"]) == ([], 1)
    assert states(store) == ["dead"]


def test_a_retry_makes_pending_deliveries_due(api: Api) -> None:
    pending(api.store, 1)

    assert api.post("/v1/deliveries/retry", json={"ids": [1]}).json()["retried"] == [1]
    assert api.woken == 1


def test_a_parked_result_may_be_dropped(api: Api) -> None:
    parked(api.store, 1)

    assert api.post("/v1/results/drop", json={"ids": [1]}).json()["dropped"] == [1]
    assert Queries(api.store.database).counts()["results"] == {"dropped": 1}


def test_a_quarantined_message_that_still_cannot_be_decoded_stays(api: Api) -> None:
    quarantined(api.store, 1)
    answer = api.post("/v1/quarantine/retry", json={"ids": [1]}).json()

    assert (answer["retried"], [each["id"] for each in answer["refused"]]) == ([], [1])
    assert ids_of(api, "quarantine") == [1]


def test_every_filter_of_the_lists_can_be_given(api: Api) -> None:
    dead_letters(api.store, 1)
    wanted = {"route": "all", "result_state": "Success", "queue": "mps-callbacks", "kind": "IProduction"}
    found = DeadLetterPage.model_validate(api.get("/v1/dead-letters", params=wanted).json())

    assert [letter.id for letter in found.dead_letters] == [1]
    assert api.get("/v1/dead-letters", params={"result_state": "nothing"}).json()["field"] == "result_state"


def test_a_whole_number_is_an_id_however_it_is_written_and_a_text_is_none(api: Api) -> None:
    answer = api.post("/v1/dead-letters/drop", json={"ids": [99.0], "dry_run": True})
    assert (answer.status_code, answer.json()["missing"]) == (200, [99])
    for given in (1.5, "1", True):
        assert api.post("/v1/dead-letters/drop", json={"ids": [given]}).status_code == 422
