"""``mns-listener explain``: messages, files, jobs and rows of the store."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from listener.cli import main
from listener.core import clock
from listener.core.model import Dead, JobState, ResultStatus, RetryAfter, RoutingDecision, Settlement
from listener.rules.routing import decider
from listener.settings.loader import settings_from
from tests.support.builders import a_callback, a_claim, a_decoded_message, a_job, a_message, a_result, wrapped
from tests.support.cases import each_case
from tests.support.command_line import Invoke
from tests.support.program import Place

ROUTES = """\
[[routes]]
name = "failures"
match = {{ state = "Fail" }}
handlers = [{{ use = "log" }}]

[[routes]]
name = "covers"
match = {{ function = "Cover" }}
handlers = [{{ use = "log" }}]
"""
CALLBACK = a_callback(JobId="39f8e0bc", FunctionName="Cover", UserData="covers:7")


@pytest.fixture
def routed(place: Place) -> Place:
    place.settings(ROUTES)
    return place


def record(place: Place, *results: Any) -> None:
    """As the daemon would, by the settings of the place."""
    settings = settings_from(place.folder / "listener.toml")
    correlation = replace(settings.correlation_rules().for_verified(), wait=timedelta(0))
    decide = decider(settings.rules(), correlation, now=clock.now(), wait_over=True)
    with place.store() as store:
        for number, result in enumerate(results):
            message = a_message(message_id=str(number), body=wrapped(CALLBACK) if result else "{")
            store.record([a_decoded_message(message=message, result=result)], decide, at=clock.now())


def test_long_pauses_are_written_as_in_settings(routed: Place, invoke: Invoke) -> None:
    text = " ".join(invoke("explain", wrapped(CALLBACK)).stdout.split())

    assert "16 s, 32 s, 1m4s, 2m8s, …; then it is a dead letter, after at most 8m31s" in text


def test_a_message_is_explained_from_its_wrapping_to_its_handlers(
    routed: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    body = wrapped(CALLBACK, "topic-xml-of-base64")

    found = printed("explain", body)
    text = invoke("explain", body).stdout

    assert found["reading"]["wrappings"] == ["topic-xml", "base64"]
    assert {"name": "State", "fields": ["state"]} in found["reading"]["members"]
    assert [(reason["route"], reason["matches"], reason["condition"]) for reason in found["routes"]] == [
        ("failures", False, "state"),
        ("covers", True, ""),
    ]
    assert [(plan["route"], plan["handler"]) for plan in found["deliveries"]] == [("covers", "log")]
    assert found["queue"] == "mps-callbacks"
    assert 'failures  state is "Success", wanted "Fail"' in text
    assert "-> covers    all conditions are met" in text
    assert "wrapped in  topic-xml, then base64" in text
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_the_same_message_comes_from_a_file_or_standard_input(routed: Place, invoke: Invoke) -> None:
    body = wrapped(CALLBACK)
    (routed.folder / "message.txt").write_text(body)

    from_stdin = CliRunner().invoke(main, ["explain", "-"], input=body)

    assert invoke("explain", "message.txt").stdout == invoke("explain", body).stdout == from_stdin.stdout


@each_case(
    "text",
    ["{", "<a>", "two words", wrapped("{"), "[1]", "", "\ufeff", "x" * 100_000, wrapped(wrapped("x"))],
    ids=repr,
)
def test_what_is_no_callback_is_explained_with_what_quarantine_does(
    routed: Place, invoke: Invoke, text: str
) -> None:
    (routed.folder / "message.txt").write_text(text)

    result = invoke("explain", "message.txt")

    assert result.exit_code == 0
    assert "cannot be decoded" in result.stdout
    assert "recorded as  quarantined" in result.stdout
    assert "quarantine retry" in result.stdout


def test_bytes_that_are_no_text_are_explained(routed: Place, invoke: Invoke) -> None:
    (routed.folder / "message.bin").write_bytes(b"\xff\x00\x1b[2J{")

    result = invoke("explain", "message.bin")

    assert result.exit_code == 0
    assert "\x1b" not in result.stdout


def test_a_job_is_explained_with_its_results_and_where_each_went(
    routed: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    with routed.store() as store:
        store.add_job(a_job(job_id="39f8e0bc-1", reference="talk-7", function="Cover"))
    record(routed, a_result(job_id="39f8e0bc-1", function="Cover"))
    with routed.store() as store:
        (delivery,) = store.claim(a_claim(until=clock.now() + timedelta(minutes=1)), at=clock.now())
        outcome = RetryAfter(wait=timedelta(seconds=5), reason="ValueError: no")
        store.settle([Settlement(delivery=delivery, outcome=outcome)], at=clock.now())

    found = printed("explain", "talk-7")
    text = invoke("explain", "39f8e0").stdout

    (result,) = found["results"]
    assert found["job"]["function"] == "Cover"
    assert found["awaited"] == "it ended with the state Success; nothing else is awaited"
    assert (result["status"], result["explanation"]["routes"][1]["matches"]) == ("routed", True)
    assert [(each["state"], each["last_error"]) for each in result["deliveries"]] == [
        ("pending", "ValueError: no")
    ]
    assert "delivery 1 to covers/log" in text
    assert "last error    ValueError: no" in text
    assert [line for line in text.splitlines() if len(line) > 80] == []


def _decide(decision: RoutingDecision, *_about: object) -> RoutingDecision:
    return decision


def test_a_job_with_many_results_is_explained_in_pages(
    routed: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    """What it waits for may be on another page."""
    now = clock.now()
    waits = RoutingDecision(status=ResultStatus.WAITING, wait_until=now + timedelta(hours=1))
    parked = RoutingDecision(status=ResultStatus.PARKED)
    with routed.store() as store:
        store.add_job(a_job(job_id="39f8e0bc-1", reference="talk-7", function="Cover"))
        for state, decision in (("Progress", waits), ("Running", parked)):
            result = a_result(job_id="39f8e0bc-1", state=state)
            message = a_message(message_id=state)
            decide = partial(_decide, decision)
            store.record([a_decoded_message(message=message, result=result)], decide, at=now)

    newest = printed("explain", "talk-7", "--limit", "1")
    shown = invoke("explain", "talk", "--limit", "1")
    oldest = printed("explain", "talk-7", "--limit", "1", "--before", str(newest["next"]))

    states = [
        [each["explanation"]["result"]["state"] for each in page["results"]] for page in (newest, oldest)
    ]
    assert states == [["Running"], ["Progress"]]
    assert (newest["awaited"], oldest["next"]) == ("a callback has arrived, and waits for its decision", None)
    assert shown.stderr == f"next page: --before {newest['next']}\n"


@pytest.mark.parametrize(
    ("job", "said"),
    [
        pytest.param({}, "it has no deadline, so it is awaited without a limit", id="no-deadline"),
        pytest.param({"deadline_at": "soon"}, "MPS is asked with QueryIProductionJob", id="deadline"),
        pytest.param(
            {"deadline_at": "soon", "function": ""},
            "MPS cannot be asked about it, so it is Lost",
            id="unknown-kind",
        ),
        pytest.param(
            {"job_id": "", "state": JobState.INTENT, "deadline_at": "soon"},
            "MPS has not answered its submission yet",
            id="intent",
        ),
        pytest.param(
            {"job_id": "", "state": JobState.ACCEPTED},
            "it is accepted, and waits for a daemon to submit it to MPS",
            id="accepted",
        ),
        pytest.param(
            {"job_id": "", "state": JobState.ACCEPTED, "tenant": "shop"},
            "waits for a daemon with [tenants.shop.mps], which is not in these settings,",
            id="not-served",
        ),
        pytest.param(
            {"job_id": "", "state": JobState.REFUSED, "error": "no such function"},
            "its submission was refused: no such function",
            id="refused",
        ),
    ],
)
def test_a_job_without_a_result_says_what_is_awaited(
    routed: Place, printed: Callable[..., Any], job: dict[str, Any], said: str
) -> None:
    now = clock.now()
    times = {"deadline_at": now + timedelta(hours=1)} if job.get("deadline_at") else {}
    refused = {"finished_at": now} if job.get("state") == JobState.REFUSED else {}
    with routed.store() as store:
        store.add_job(
            a_job(**{"function": "Cover", "reference": "talk-7", "created_at": now} | job | times | refused)
        )

    found = printed("explain", "talk-7")

    assert said in found["awaited"]
    assert found["results"] == []
    succeeds = found["if_it_succeeds"]
    assert (succeeds is None) is bool(refused)
    if succeeds and job.get("function") is None:
        assert [reason["route"] for reason in succeeds["routes"] if reason["matches"]] == ["covers"]


def test_a_workflow_that_is_awaited_is_explained_as_its_report(
    routed: Place, printed: Callable[..., Any]
) -> None:
    routed.settings(
        '[[routes]]\nname = "runs"\nmatch = {{ type = "Report" }}\nhandlers = [{{ use = "log" }}]\n'
    )
    with routed.store() as store:
        store.add_job(a_job(job_id="run-1", kind="Workflow", function="", params="", created_at=clock.now()))

    found = printed("explain", "run-1")

    assert found["if_it_succeeds"]["outcome"] == "routed"


def test_a_parked_result_a_dead_letter_and_a_quarantined_message_are_explained(
    routed: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    record(
        routed,
        a_result(job_id="parked", function="ASR"),
        a_result(job_id="dead", function="Cover"),
        None,
    )
    with routed.store() as store:
        (delivery,) = store.claim(a_claim(until=clock.now() + timedelta(minutes=1)), at=clock.now())
        store.settle([Settlement(delivery=delivery, outcome=Dead(reason="no use"))], at=clock.now())

    (parked,) = printed("results", "list", "--status", "parked")
    (dead,) = printed("dead-letters", "list")
    (quarantined,) = printed("quarantine", "list")
    explained = {
        "parked": printed("explain", "--parked", str(parked["id"])),
        "dead": printed("explain", "--dead-letter", str(dead["id"])),
        "quarantined": printed("explain", "--quarantine", str(quarantined["id"])),
    }

    assert explained["parked"]["status"] == ResultStatus.PARKED
    assert explained["parked"]["explanation"]["routes"][1]["text"] == 'function is "ASR", wanted "Cover"'
    assert [(each["state"], each["last_error"]) for each in explained["dead"]["deliveries"]] == [
        ("dead", "no use")
    ]
    assert explained["quarantined"]["explanation"]["outcome"] == "quarantined"
    assert explained["quarantined"]["reason"] == "it is no callback"
    for option, row in (("--parked", parked), ("--dead-letter", dead), ("--quarantine", quarantined)):
        text = invoke("explain", option, str(row["id"])).stdout
        assert "recorded as" in text
        assert [line for line in text.splitlines() if len(line) > 80] == []


def test_a_result_of_an_event_is_explained_with_its_deliveries(
    routed: Place, printed: Callable[..., Any]
) -> None:
    record(routed, a_result(job_id="", run_id="run-1", type="Report", function="Cover"))
    (result,) = printed("results", "list")

    found = printed("explain", "--parked", str(result["id"]))

    assert [each["route"] for each in found["deliveries"]] == ["covers"]


def test_without_the_store_no_job_is_known(place: Place, printed: Callable[..., Any], invoke: Invoke) -> None:
    (place.folder / "listener.db").unlink()

    assert invoke("explain", CALLBACK).exit_code == 78
    assert "no job with this id" in printed("explain", "--offline", CALLBACK)["correlation"]
    assert invoke("explain", "--offline", "--parked", "1").exit_code == 66
    assert not Path(place.folder / "listener.db").exists()


def test_only_a_job_is_explained_in_pages(routed: Place, invoke: Invoke) -> None:
    refused = invoke("explain", CALLBACK, "--before", "7")

    assert refused.exit_code == 2
    assert "--before 7 requires a job" in refused.stderr
    assert refused.stdout == ""


def test_nothing_is_changed(routed: Place, invoke: Invoke) -> None:
    with routed.store() as store:
        store.add_job(a_job(job_id="", state=JobState.INTENT))
    before = routed.queries(lambda queries: queries.jobs())

    assert invoke("explain", CALLBACK).exit_code == 0

    assert routed.queries(lambda queries: (queries.jobs(), queries.results())) == (before, [])


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        pytest.param((), 2, "specify one of", id="nothing"),
        pytest.param(("x", "--parked", "1"), 2, "specify one of", id="two"),
        pytest.param(("--parked", "1", "--quarantine", "1"), 2, "specify one of", id="two-rows"),
        pytest.param(("talk-99",), 66, "no job in this store and no file is named 'talk-99'", id="name"),
        pytest.param(("--parked", "7"), 66, "mns-listener results list", id="no-result"),
        pytest.param(("--dead-letter", "7"), 66, "mns-listener dead-letters list", id="no-dead-letter"),
        pytest.param(("--quarantine", "7"), 66, "mns-listener quarantine list", id="no-message"),
    ],
)
def test_a_mistake_is_said_with_the_way_out(
    place: Place, invoke: Invoke, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    result = invoke("explain", *arguments)

    assert result.exit_code == exit_code
    assert said in result.stderr


def test_a_handler_that_applications_pull_from_is_said_to_be_one(
    routed: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    routed.settings('[[routes]]\nname = "covers"\nhandlers = [{{ use = "pull" }}, {{ use = "log" }}]\n')

    plans = printed("explain", CALLBACK)["deliveries"]

    assert [(plan["handler"], plan["pulled"]) for plan in plans] == [("pull", True), ("log", False)]
    assert invoke("explain", CALLBACK).stdout.count("POST /v1/routes/covers/claim") == 1


def test_the_queue_of_a_message_can_be_given(routed: Place, printed: Callable[..., Any]) -> None:
    routed.settings(
        '[[routes]]\nname = "other"\nmatch = {{ queue = "other" }}\nhandlers = [{{ use = "log" }}]\n'
    )

    outcomes = [printed("explain", CALLBACK, *more)["outcome"] for more in ((), ("--queue", "other"))]

    assert outcomes == ["parked", "routed"]
    assert json.loads(CALLBACK)["State"] == "Success"


def test_the_name_of_a_file_that_is_not_there_is_no_message(routed: Place, invoke: Invoke) -> None:
    """Although its characters are those of base64."""
    for name in ("/nonexistent", "callback.json"):
        result = invoke("explain", name)

        assert (result.exit_code, result.stdout) == (66, "")
        assert f"there is no file '{name}', and no job in this store with this name" in result.stderr
