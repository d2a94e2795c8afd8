"""Deliveries that wait: when and after which error, retried now, or cancelled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from listener.core import clock
from listener.core.model import Offered, RetryAfter, Settlement, Target
from tests.support.builders import a_claim, decoded_messages, routes_all
from tests.support.command_line import Invoke
from tests.support.program import Place
from tests.support.terminal import run_at_terminal


@pytest.fixture
def waiting(place: Place, printed: Callable[..., Any]) -> list[dict[str, Any]]:
    """Three deliveries of the route ``all``, newest first: the oldest failed and is due in an hour."""
    now = clock.now()
    with place.store() as store:
        store.record(decoded_messages(3), routes_all(Target("all", "jsonl")), at=now)
        (first,) = store.claim(a_claim(limit=1, until=now + timedelta(minutes=1)), at=now)
        retry = RetryAfter(wait=timedelta(hours=1), reason="OSError: busy")
        store.settle([Settlement(delivery=first, outcome=retry)], at=now)
    found: list[dict[str, Any]] = printed("deliveries", "list")
    assert len(found) == 3
    return found


def test_the_list_shows_when_and_why_deliveries_wait(
    waiting: list[dict[str, Any]], printed: Callable[..., Any], invoke: Invoke
) -> None:
    first = waiting[-1]
    assert (first["state"], first["attempt"], first["last_error"]) == ("pending", 1, "OSError: busy")
    assert first["next_at"] > waiting[0]["next_at"]
    shown = printed("deliveries", "show", str(first["id"]))
    assert (shown["job_id"], '"JobId"' in shown["raw"]) == (first["job_id"], True)

    head, *_, line = (each.split("\t") for each in invoke("deliveries", "list").stdout.splitlines())
    assert head[-2:] == ["due", "reason"]
    assert line[-1] == "OSError: busy"


def test_a_running_delivery_shows_whose_it_is(
    place: Place, waiting: list[dict[str, Any]], invoke: Invoke
) -> None:
    now = clock.now()
    with place.store() as store:
        store.claim(a_claim(limit=9, owner="host:7:x", until=now + timedelta(minutes=1)), at=now)
    result = invoke("deliveries", "list", "--state", "running")

    assert result.stdout.count("lease of host:7:x until") == 2


def test_what_waits_for_applications_says_so_and_since_when(
    place: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    now = clock.now()
    with place.store() as store:
        claimed = store.record(
            decoded_messages(1), routes_all(Target("all", "pull")), at=now, claim=a_claim()
        ).claimed
        store.settle([Settlement(delivery=each, outcome=Offered()) for each in claimed], at=now)

    (listed,) = printed("deliveries", "list")
    assert (listed["state"], listed["next_at"] is None) == ("pending", False)
    assert invoke("deliveries", "list").stdout.splitlines()[1].endswith("\tapplications may pull it")


def test_a_retry_is_due_at_once(
    place: Place, waiting: list[dict[str, Any]], printed: Callable[..., Any]
) -> None:
    first = waiting[-1]["id"]
    assert printed("deliveries", "retry", str(first), "--dry-run")["retried"] == [first]
    assert printed("deliveries", "show", str(first))["next_at"] == waiting[-1]["next_at"]

    assert printed("deliveries", "retry", str(first), "777", exit_code=66) == {
        "retried": [first],
        "missing": [777],
        "dry_run": False,
    }
    assert place.run("--drain").wait() == 0  # which would otherwise wait for an hour
    assert len(place.lines()) == 3


def test_cancelled_deliveries_are_dead_letters(
    place: Place, waiting: list[dict[str, Any]], printed: Callable[..., Any], invoke: Invoke
) -> None:
    newest = waiting[0]["id"]
    assert printed("deliveries", "cancel", str(newest))["cancelled"] == [newest]
    shown = [invoke(group, "show", str(newest)).stdout for group in ("dead-letters", "deliveries")]
    assert shown[0] == shown[1]
    assert printed("dead-letters", "show", str(newest))["last_error"] == "cancelled by an operator"

    refused = invoke("deliveries", "cancel", "--all")
    assert (refused.exit_code, "--all requires --yes" in refused.stderr) == (2, True)
    status, displayed = run_at_terminal("deliveries", "cancel", "--all", folder=place.folder, typed="n\n")
    assert (status, "Cancel 2 pending deliveries? [y/N]" in displayed) == (1, True)
    assert printed("deliveries", "cancel", "--all", "--route", "other", "--yes")["cancelled"] == []
    assert place.delivery_states() == {"pending": 2, "dead": 1}

    assert len(printed("deliveries", "cancel", "--all", "--route", "all", "--yes")["cancelled"]) == 2
    assert place.delivery_states() == {"dead": 3}
    assert invoke("deliveries", "list").stdout == "no deliveries\n"


def test_a_delivery_that_does_not_exist_is_named(waiting: list[dict[str, Any]], invoke: Invoke) -> None:
    result = invoke("deliveries", "show", "777")

    assert (result.exit_code, "no delivery has the id 777" in result.stderr) == (66, True)
