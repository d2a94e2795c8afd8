"""Quarantined messages: what an operator can do about them, there and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from structlog.testing import capture_logs

from listener.cli import main
from listener.core import clock
from listener.store import row_actions
from tests.support.builders import NOON, a_callback, a_decoded_message, a_message, routes_all, wrapped
from tests.support.command_line import Invoke
from tests.support.program import ALL_TO_FILE, Place
from tests.support.terminal import run_at_terminal

GARBAGE = '{"JobId": "job-1", "UserData": "Zoe'
#: Bodies that an older release could not decode, and one that none can.
BODIES = (wrapped(a_callback(JobId="job-1")), wrapped(a_callback(JobId="job-2")), GARBAGE)


@pytest.fixture
def quarantined(place: Place) -> list[int]:
    """The ids of three messages, oldest first; the last one stays undecodable."""
    place.settings(ALL_TO_FILE)
    batch = [
        a_decoded_message(
            message=a_message(message_id=f"m{number}", body=body, dequeue_count=2), result=None, reason="old"
        )
        for number, body in enumerate(BODIES)
    ]
    with place.store() as store:
        store.record(batch, routes_all(), at=clock.now())  # the daemon prunes what is old
    return [entry.id for entry in reversed(place.quarantined())]


def test_a_message_is_shown_with_its_whole_body(
    place: Place, quarantined: list[int], printed: Callable[..., Any], invoke: Invoke
) -> None:
    assert printed("quarantine", "show", str(quarantined[0])) == {
        "id": quarantined[0],
        "queue": "mps-callbacks",
        "message_id": "m0",
        "reason": "old",
        "enqueued_at": NOON.isoformat(),
        "received_at": place.quarantined()[-1].received_at.isoformat(),
        "dequeue_count": 2,
        "copies": 1,
        "body": BODIES[0],
    }
    assert BODIES[0] in invoke("quarantine", "show", str(quarantined[0])).stdout
    missing = invoke("quarantine", "show", "777")
    assert (missing.exit_code, "no quarantined message has the id 777" in missing.stderr) == (66, True)


def test_what_can_be_decoded_now_is_recorded_and_reaches_its_handler_once(
    place: Place, quarantined: list[int], printed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_actions, "PAGE", 2)  # more than one page of them
    first, second, bad = quarantined

    for option in (["--dry-run"], []):
        output = printed("quarantine", "retry", "--all", *option, exit_code=1)
        assert sorted(output["retried"]) == [first, second]
        assert [refused["id"] for refused in output["refused"]] == [bad]
        assert "not valid JSON" in output["refused"][0]["reason"]
        assert (output["counts"], output["dry_run"]) == ({"routed": 2}, bool(option))
    again = printed("quarantine", "retry", str(first), exit_code=66)
    assert (again["retried"], again["missing"]) == ([], [first])

    assert place.delivery_states() == {"pending": 2}
    assert place.lines() == []  # the command calls no handler
    assert place.run("--drain").wait() == 0
    assert sorted(line["job_id"] for line in place.lines()) == ["job-1", "job-2"]
    assert [entry.id for entry in place.quarantined()] == [bad]


def test_a_retry_says_what_it_led_to_and_why_others_stay(quarantined: list[int], invoke: Invoke) -> None:
    result = invoke("quarantine", "retry", "--all")

    assert result.stdout == "retried 2 quarantined messages (2 routed)\n"
    assert result.stderr.splitlines()[0].startswith(
        f"cannot retry {quarantined[2]}: the body is not valid JSON"
    )
    assert result.stderr.splitlines()[1] == "Error: 1 quarantined message cannot be retried"


def test_a_dry_run_of_a_retry_that_is_refused_does_not_say_that_there_are_no_messages(
    quarantined: list[int], invoke: Invoke
) -> None:
    result = invoke("quarantine", "retry", str(quarantined[2]), "--dry-run")

    assert result.stdout == "would retry 0 quarantined messages; nothing was changed\n"
    assert f"cannot retry {quarantined[2]}: the body is not valid JSON" in result.stderr


def test_messages_are_dropped(
    place: Place, quarantined: list[int], printed: Callable[..., Any], invoke: Invoke
) -> None:
    first, *others = quarantined
    assert printed("quarantine", "drop", str(first), "777", exit_code=66) == {
        "dropped": [first],
        "missing": [777],
        "dry_run": False,
    }
    trial = invoke("quarantine", "drop", "--all", "--dry-run").stdout.splitlines()
    assert trial[-1] == "would drop 2 quarantined messages; nothing was changed"
    refused = invoke("quarantine", "drop", "--all")
    assert (refused.exit_code, "--all requires --yes" in refused.stderr) == (2, True)
    assert printed("quarantine", "drop", "--all", "--until", "1h", "--yes")["dropped"] == []
    assert len(place.quarantined()) == len(others)

    status, displayed = run_at_terminal("quarantine", "drop", "--all", folder=place.folder, typed="y\n")
    assert (status, "Drop 2 quarantined messages? [y/N]" in displayed) == (0, True)
    assert place.quarantined() == []


def test_an_export_is_complete_or_masked(place: Place, quarantined: list[int], invoke: Invoke) -> None:
    def exported(*arguments: str) -> list[dict[str, Any]]:
        result: Result = invoke("quarantine", "export", *arguments)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    assert [line["body"] for line in exported()] == list(reversed(BODIES))
    assert [line["id"] for line in exported(*map(str, quarantined[:2]))] == quarantined[:2]
    assert exported("--until", "1h") == []
    assert [line["body"] for line in exported(str(quarantined[2]), "--redact")] == [
        '{"JobId": "xxx-9", "UserData": "Xxx'
    ]
    assert invoke("quarantine", "export", "777").exit_code == 66
    assert invoke("quarantine", "export", "--output", "report.jsonl").stdout == ""
    assert invoke("quarantine", "export", "777", "--output", "none.jsonl").exit_code == 66
    assert len((place.folder / "report.jsonl").read_text().splitlines()) == 3


def test_a_retry_logs_what_it_recorded(
    place: Place, quarantined: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder)
    place.settings(ALL_TO_FILE.replace('name = "all"', 'name = "all"\nmatch = {{ function = "Cover" }}'))

    with capture_logs() as logs:
        main(["quarantine", "retry", str(quarantined[0])], standalone_mode=False)

    assert [(line["event"], line["job_id"]) for line in logs] == [("result.parked", "job-1")]
