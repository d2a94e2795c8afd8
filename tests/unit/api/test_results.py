"""``/v1/results``: why a parked result went to no route."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from listener.core.model import ResultStatus, RoutingDecision
from listener.settings.loader import load
from listener.store.sql_store import SqlStore
from tests.support.api import Api, serving_api
from tests.support.builders import NOON, a_decoded_message, a_job, a_result

ROUTES = """
[[routes]]
name = "failures"
match = { state = "Fail" }
handlers = [{ use = "log" }]
[[routes]]
name = "covers"
match = { function = "Cover" }
handlers = [{ use = "log" }]
"""
REASON = 'function is "ASR", wanted "Cover"'


@pytest.fixture
def api(store: SqlStore) -> Iterator[Api]:
    """With a parked result, whose function only its job says."""
    store.add_job(a_job(function="ASR"))
    parked = RoutingDecision(status=ResultStatus.PARKED)
    store.record([a_decoded_message(result=a_result(function=""))], lambda *_: parked, at=NOON)
    with serving_api(store, load(ROUTES, {})) as api:
        yield api


def test_a_parked_result_is_listed_with_the_route_that_came_nearest(api: Api) -> None:
    (listed,) = api.get("/v1/results").json()["results"]

    assert (listed["status"], listed["reason"]) == ("parked", f"covers: {REASON}")


def test_a_result_is_shown_with_the_reason_of_each_route(api: Api) -> None:
    (listed,) = api.get("/v1/results").json()["results"]

    shown = api.get(f"/v1/results/{listed['id']}").json()

    assert [(each["route"], each["condition"], each["text"]) for each in shown["routes"]] == [
        ("covers", "function", REASON),
        ("failures", "state", 'state is "Success", wanted "Fail"'),
    ]


def test_a_result_that_does_not_exist_is_not_found(api: Api) -> None:
    assert api.get("/v1/results/99").status_code == 404
