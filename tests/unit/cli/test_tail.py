"""What ``tail`` shows of the event feed. That it follows is tested with the program."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from listener.core import clock
from listener.core.model import Dead, Done, Outcome, RetryAfter, Settlement, Target
from tests.support.builders import a_claim, a_decoded_message, a_job, a_result, routes_all
from tests.support.command_line import Invoke
from tests.support.program import Place
from tests.support.terminal import run_at_terminal

MINUTE = timedelta(minutes=1)
ERROR = "ConnectError: [Errno 111] Connection refused"


@pytest.fixture
def happened(place: Place) -> Place:
    """A job whose delivery was done at its second attempt, and a result of an unknown job, which is dead."""
    now = clock.now()
    with place.store() as store:
        store.add_job(a_job(reference="talk-7", function="Cover"))
        store.record(
            [a_decoded_message(result=a_result(function="Cover"))],
            routes_all(Target("covers", "webhook")),
            at=now,
        )
        unknown = a_decoded_message(result=a_result(job_id="f" * 32, function="ASR", state="Fail"))
        store.record([unknown], routes_all(Target("texts", "log")), at=now)
        outcomes: list[list[Outcome]] = [
            [RetryAfter(wait=timedelta(0), reason=ERROR), Dead(reason="no use")],
            [Done()],
        ]
        for each in outcomes:
            claimed = store.claim(a_claim(until=now + MINUTE), at=now)
            ended = [Settlement(delivery=one, outcome=end) for one, end in zip(claimed, each, strict=True)]
            store.settle(ended, at=now)
    return place


@pytest.fixture
def tail(invoke: Invoke) -> Callable[..., list[dict[str, Any]]]:
    """The events that ``tail`` prints with these options."""

    def call(*options: str) -> list[dict[str, Any]]:
        result = invoke("tail", "--no-follow", "--json", *options)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    return call


def test_each_event_is_a_line(happened: Place, invoke: Invoke) -> None:
    lines = [line.split("\t") for line in invoke("tail", "--no-follow").stdout.splitlines()]

    assert [line[1:] for line in lines] == [
        ["recorded", "Success", "talk-7", "Cover  routed"],
        ["finished", "Success", "talk-7", "Cover"],
        ["recorded", "Fail", "f" * 32, "ASR  routed"],
        ["settled", "pending", "talk-7", f"covers/webhook  #1  {ERROR}"],
        ["settled", "dead", "f" * 32, "texts/log  #1  no use"],
        ["settled", "done", "talk-7", "covers/webhook  #2"],
    ]


def test_lines_without_an_error_fit_a_terminal(happened: Place) -> None:
    status, displayed = run_at_terminal("tail", "--no-follow", folder=happened.folder)
    shown = displayed.splitlines()

    assert status == 0
    assert len(shown) == 6
    assert [line for line in shown if len(line) > 80 and "#1" not in line] == []
    assert shown[-1].endswith(" settled  done      talk-7                            covers/webhook  #2")


def test_json_has_every_field_and_the_cursor(happened: Place, tail: Callable[..., Any]) -> None:
    *_, failed, _, done = tail()

    assert (failed["event"], failed["state"], failed["error"]) == ("delivery.settled", "pending", ERROR)
    assert done | {"at": "", "id": 0, "cursor": ""} == {
        "event": "delivery.settled",
        "at": "",
        "id": 0,
        "job_id": "39f8e0bc005e4f309379701645f4a1b2",
        "reference": "talk-7",
        "function": "Cover",
        "state": "done",
        "status": "",
        "routes": ["covers"],
        "handler": "webhook",
        "attempt": 2,
        "seconds": None,
        "error": "",
        "cursor": "",
    }
    assert done["cursor"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(["-n", "2"], ["dead", "done"], id="lines"),
        pytest.param(["-n", "0"], [], id="none"),
        pytest.param(["--state", "DEAD"], ["dead"], id="state"),
        pytest.param(["--function", "asr"], ["Fail", "dead"], id="function"),
        pytest.param(["--route", "covers", "--event", "settled"], ["pending", "done"], id="route-and-event"),
        pytest.param(["--event", "finished"], ["Success"], id="event"),
        pytest.param(["--event", "job.finished"], ["Success"], id="event-by-its-name-in-json"),
        pytest.param(["--since", "1h", "--route", "texts"], ["Fail", "dead"], id="since"),
        pytest.param(["--since", "1h", "-n", "1"], ["done"], id="since-and-lines"),
        pytest.param(["--since", "2999-01-01"], [], id="since-future"),
    ],
)
def test_events_can_be_narrowed(
    happened: Place, tail: Callable[..., Any], options: list[str], expected: list[str]
) -> None:
    assert [event["state"] for event in tail(*options)] == expected


def test_twenty_lines_are_shown_unless_more_are_wanted(place: Place, tail: Callable[..., Any]) -> None:
    with place.store() as store:
        for number in range(25):
            result = a_result(job_id=f"job-{number}")
            store.record([a_decoded_message(result=result)], routes_all(), at=clock.now())

    assert [event["job_id"] for event in tail()] == [f"job-{number}" for number in range(5, 25)]
    assert len(tail("--lines", "23")) == 23
    assert len(tail("--since", "1h")) == 25


def test_an_empty_store_has_no_events(place: Place, invoke: Invoke) -> None:
    result = invoke("tail", "--no-follow")
    assert (result.exit_code, result.stdout) == (0, "")
