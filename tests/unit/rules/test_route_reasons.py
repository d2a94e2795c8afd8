"""Why a result goes to a route or not, in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from listener.core.documents import to_plain
from listener.formats.callback import decode
from listener.rules.route_reasons import RouteReason, nearest_first, nearest_text, route_reasons
from listener.rules.routing import Match, Rule
from tests.support.builders import a_callback, a_job, a_result
from tests.support.cases import each_case


def a_rule(name: str = "videos", **match: Any) -> Rule:
    return Rule(name=name, match=Match(**match), handlers=("log",))


def reasons(*rules: Rule, **fields: Any) -> list[RouteReason]:
    return list(route_reasons(rules, a_result(**fields), job=None, queue="q"))


@each_case(
    ("match", "text"),
    [
        pytest.param({"state": "Fail"}, 'state is "Success", wanted "Fail"', id="state"),
        pytest.param({"type": "Snapshot"}, 'type is "IProduction", wanted "Snapshot"', id="type"),
        pytest.param(
            {"function": ("Cover", "ASR", "VideoSplit")},
            'function is "VideoH2V", wanted "Cover", "ASR" or "VideoSplit"',
            id="one-of-several",
        ),
        pytest.param({"queue": "other"}, 'queue is "q", wanted "other"', id="queue"),
        pytest.param({"pipeline": "p"}, 'pipeline is empty, wanted "p"', id="empty"),
        pytest.param({"route": "covers"}, 'route is "clips", wanted "covers"', id="route"),
        pytest.param({"user_data": "x-*"}, 'user_data is "{\\"route', id="pattern"),
        pytest.param({"data": {"tenant.id": 8}}, "data.tenant.id is 7, wanted 8", id="member-of-the-data"),
        pytest.param({"data": {"article": 7}}, "data.article is missing, wanted 7", id="missing"),
        pytest.param({"data": {"article": []}}, "data.article is missing", id="missing-with-any-value"),
        pytest.param({"data": {"none": "x"}}, 'data.none is null, wanted "x"', id="null-is-not-missing"),
        pytest.param(
            {"activity_state": "Fail"}, 'activity_state is empty, wanted "Fail"', id="no-activities"
        ),
        pytest.param({"callback": {"Count": True}}, "callback.Count is missing, wanted true", id="callback"),
    ],
)
def test_the_condition_that_is_not_met_is_named_with_what_it_wanted_and_what_was_found(
    match: dict[str, Any], text: str
) -> None:
    data = '{"route":"clips","tenant":{"id":7},"none":null}'

    (reason,) = reasons(a_rule(**match), user_data=data)

    assert not reason.matches
    assert reason.text.startswith(text)


def test_a_route_without_a_state_says_which_states_it_gets() -> None:
    (reason,) = reasons(a_rule(), state="Analysing")

    assert reason.text == 'state is "Analysing", wanted "Cancelled", "Fail" or "Success"'


def test_the_states_of_the_activities_are_listed() -> None:
    raw = a_callback(
        JobId="",
        MediaWorkflowExecution={"RunId": "r", "ActivityList": [{"State": "Success"}, {"State": "Fail"}]},
    )

    (reason,) = route_reasons([a_rule(activity_state="Skipped")], decode(raw), job=None, queue="q")

    assert reason.text == 'activity_state is "Success", "Fail", wanted "Skipped"'


def test_what_the_store_knows_of_the_job_is_what_counts() -> None:
    job = a_job(function="Cover", pipeline="p")

    (reason,) = route_reasons([a_rule(function="ASR", pipeline="p")], a_result(), job=job, queue="q")

    assert reason.text == 'function is "Cover", wanted "ASR"'


def test_the_route_that_failed_latest_comes_first() -> None:
    rules = [
        a_rule("state", state="Fail"),
        a_rule("queue", type="IProduction", function="VideoH2V", queue="other"),
        a_rule("function", type="IProduction", function="Cover"),
        a_rule("the-same", type="IProduction", function="ASR"),
    ]

    found = nearest_first(reasons(*rules))

    assert [reason.route for reason in found] == ["queue", "function", "the-same", "state"]
    assert nearest_text(found) == 'queue: queue is "q", wanted "other"'


def test_a_route_that_matches_by_now_is_what_a_parked_result_lacks() -> None:
    found = reasons(a_rule("failures", state="Fail"), a_rule("rest"))

    assert nearest_text(found) == "the route 'rest' matches by now: `mns-listener results reroute`"
    assert nearest_text([]) == "the settings have no routes"


def test_values_of_any_size_and_kind_are_shown_in_short_and_are_json() -> None:
    given = json.dumps({"text": "x" * 100_000, "list": [1, {"a": None}]})
    rules = [a_rule(data={"text": "y"}), a_rule(data={"list": [[2]]})]

    found = reasons(*rules, user_data=given)

    assert all(len(reason.text) < 200 for reason in found)
    assert found[1].text == 'data.list is 1, {"a": null}, wanted [2]'
    assert json.loads(json.dumps(to_plain(tuple(found))))[1]["found"] == [1, {"a": None}]
