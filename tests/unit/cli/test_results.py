"""``results list`` and ``results show``: why a parked result went to no route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from listener.core import clock
from listener.core.model import Source
from listener.rules.routing import Correlation, decider
from listener.settings.loader import settings_from
from tests.support.builders import a_decoded_message, a_job, a_message, a_result
from tests.support.command_line import Invoke
from tests.support.program import Place

ROUTES = """\
[[routes]]
name = "failures"
match = {{ state = "Fail" }}
handlers = [{{ use = "log" }}]

[[routes]]
name = "covers"
match = {{ type = "IProduction", function = "Cover", data = {{ article = 7 }} }}
handlers = [{{ use = "log" }}]
"""
REASON = "data.article is 8, wanted 7"


@pytest.fixture
def parked(place: Place) -> Place:
    """A place with a parked result, whose function only its job says, and one that was routed."""
    path = place.settings(ROUTES)
    decide = decider(settings_from(path).rules(), Correlation(), now=clock.now(), wait_over=True)
    with place.store() as store:
        store.add_job(a_job(function="Cover", user_data='{"article":8}'))
        results = (a_result(function=""), a_result(job_id="other", state="Fail"))
        messages = [
            a_decoded_message(message=a_message(message_id=str(number)), result=result)
            for number, result in enumerate(results)
        ]
        store.record(messages, decide, at=clock.now())
    return place


def let_the_rest_match(parked: Place) -> None:
    parked.settings(ROUTES + '\n[[routes]]\nname = "rest"\nhandlers = [{{ use = "log" }}]\n')


def test_a_parked_result_is_listed_with_the_condition_of_the_route_that_came_nearest(
    parked: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    reasons = {listed["status"]: listed["reason"] for listed in printed("results", "list")}
    head, *rows = (
        line.split("\t") for line in invoke("results", "list", "--status", "parked").stdout.splitlines()
    )

    assert reasons == {"parked": f"covers: {REASON}", "routed": ""}
    assert [dict(zip(head, row, strict=True))["reason"] for row in rows] == [f"covers: {REASON}"]


def test_a_result_is_shown_with_the_reason_of_each_route_the_nearest_first(
    parked: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    (listed,) = printed("results", "list", "--status", "parked")

    shown = printed("results", "show", str(listed["id"]))
    text = invoke("results", "show", str(listed["id"])).stdout

    assert [(reason["route"], reason["condition"], reason["found"]) for reason in shown["routes"]] == [
        ("covers", "data.article", 8),
        ("failures", "state", "Success"),
    ]
    assert (shown["source"], shown["status"]) == (Source.CALLBACK, "parked")
    assert f"covers: {REASON}\n" in text
    assert 'failures: state is "Success", wanted "Fail"\n' in text


def test_a_route_that_was_added_since_is_named_with_the_way_out(
    parked: Place, printed: Callable[..., Any]
) -> None:
    let_the_rest_match(parked)

    (listed,) = printed("results", "list", "--status", "parked")

    assert listed["reason"] == "the route 'rest' matches by now: `mns-listener results reroute`"


def test_a_result_that_does_not_exist_is_an_error_with_the_way_to_find_it(
    place: Place, invoke: Invoke
) -> None:
    result = invoke("results", "show", "7")

    assert result.exit_code == 66
    assert "no result has the id 7; list them with `mns-listener results list`" in result.stderr


def test_a_dry_run_of_a_reroute_says_where_results_would_go_and_changes_nothing(
    parked: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    let_the_rest_match(parked)

    text = invoke("results", "reroute", "--all", "--dry-run").stdout
    (listed,) = printed("results", "list", "--status", "parked")

    assert "goes to rest/log" in text
    assert text.endswith("would reroute 1 parked result; nothing was changed\n")
    assert printed("results", "reroute", str(listed["id"]))["rerouted"] == [listed["id"]]
    assert printed("results", "list", "--status", "parked") == []


def test_of_named_results_those_that_stay_parked_are_an_error(
    parked: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    (listed,) = printed("results", "list", "--status", "parked")

    result = invoke("results", "reroute", str(listed["id"]))

    assert (result.exit_code, f"cannot reroute {listed['id']}: " in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("given", "left"),
    [
        pytest.param(("--kind", "IProduction"), 0, id="matching"),
        pytest.param(("--state", "Success"), 0, id="state"),
        pytest.param(("--state", "Fail"), 1, id="other-state"),
        pytest.param(("--since", "2035-01-01"), 1, id="later"),
        pytest.param(("--dry-run",), 1, id="dry-run"),
    ],
)
def test_parked_results_are_dropped_by_filters(
    parked: Place, printed: Callable[..., Any], given: tuple[str, ...], left: int
) -> None:
    dropped = printed("results", "drop", "--all", "--yes", *given)["dropped"]

    assert len(printed("results", "list", "--status", "parked")) == left
    assert len(printed("results", "list", "--status", "dropped")) == 1 - left
    assert len(dropped) == (1 if given == ("--dry-run",) else 1 - left)


def test_a_dry_run_of_a_drop_shows_why_results_are_parked(parked: Place, invoke: Invoke) -> None:
    assert f"covers: {REASON}" in invoke("results", "drop", "--all", "--dry-run").stdout


def test_all_parked_results_are_not_dropped_without_an_answer(parked: Place, invoke: Invoke) -> None:
    result = invoke("results", "drop", "--all")

    assert (result.exit_code, "--all requires --yes" in result.stderr) == (2, True)


def test_filters_of_a_reroute_say_that_they_need_all(parked: Place, invoke: Invoke) -> None:
    result = invoke("results", "reroute", "--state", "Fail")

    assert (result.exit_code, "or --all" in result.stderr) == (2, True)
