"""What lists show, what they can be narrowed to, and names that are not typed in full."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from listener.core import clock
from listener.core.model import Dead, Done, JobState, ResultStatus, RoutingDecision, Settlement, Target
from listener.core.ports import Decide
from listener.store import filters
from listener.store.sql_store import SqlStore
from tests.support.builders import a_claim, a_decoded_message, a_job, a_message, a_result, routes_all
from tests.support.cases import each_case
from tests.support.command_line import Invoke
from tests.support.program import Place
from tests.support.terminal import run_at_terminal

LISTS = ("jobs", "results", "deliveries", "dead-letters")
PARK: Decide = lambda *_: RoutingDecision(status=ResultStatus.PARKED)  # noqa: E731  # shorter than a function


@pytest.fixture
def jobs(place: Place) -> Place:
    """Jobs whose deliveries are dead, done and dead, pending, and parked; one without a result. All of this hour."""
    now = clock.now()
    with place.store() as store:
        for number, function in enumerate(("Cover", "Cover", "ASR", "ASR", "ASR"), start=1):
            token, job_id = f"{number:022}", f"{number}0000000-job"
            store.add_job(
                a_job(
                    token=token, job_id=job_id, reference=f"talk-{number}", function=function, created_at=now
                )
            )
        record(store, 1, "Cover", routes_all(Target("covers", "log")))
        settle(store, Dead(reason="no use"))
        record(store, 2, "Cover", routes_all(Target("covers", "log"), Target("covers", "file")))
        settle(store, Done(), Dead(reason="no use"))
        record(store, 3, "ASR", routes_all(Target("texts", "log")))
        record(store, 4, "ASR", PARK)
    return place


def record(store: SqlStore, number: int, function: str, decide: Decide) -> None:
    result = a_result(job_id=f"{number}0000000-job", function=function)
    message = a_message(message_id=str(number))
    store.record([a_decoded_message(message=message, result=result)], decide, at=clock.now())


def settle(store: SqlStore, *outcomes: Any) -> None:
    now = clock.now()
    claimed = store.claim(a_claim(until=now + timedelta(minutes=1)), at=now)
    ended = [
        Settlement(delivery=each, outcome=outcome) for each, outcome in zip(claimed, outcomes, strict=True)
    ]
    store.settle(ended, at=now)


def test_jobs_show_how_their_deliveries_stand(
    jobs: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    listed = printed("jobs", "list")
    lines = [line.split("\t") for line in invoke("jobs", "list").stdout.splitlines()]
    column = lines[0].index("deliveries")

    assert [job["deliveries"] for job in listed] == [
        {},
        {"parked": 1},
        {"pending": 1},
        {"done": 1, "dead": 1},
        {"dead": 1},
    ]
    assert [line[column] for line in lines[1:]] == ["-", "parked", "pending", "1 dead, 1 done", "dead"]


def test_a_job_is_shown_with_its_failed_attempts(
    jobs: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    (attempt,) = printed("jobs", "show", "talk-1")["attempts"]
    assert (attempt["attempt"], attempt["outcome"], attempt["error"]) == (1, "dead", "no use")

    lines = invoke("jobs", "show", "talk-1").stdout.splitlines()
    (line,) = (each for each in lines if each.startswith("attempts "))
    assert line.split()[1] == "1"
    assert line.endswith("  dead  no use")


def test_a_job_with_many_results_is_shown_in_pages(
    place: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    with place.store() as store:
        store.add_job(a_job(job_id="long", reference="talk-7"))
        for state in ("Progress", "Running", "Success"):
            result = a_result(job_id="long", state=state)
            message = a_message(message_id=state)
            store.record([a_decoded_message(message=message, result=result)], routes_all(), at=clock.now())

    newest = printed("jobs", "show", "talk-7", "--limit", "2")
    shown = invoke("jobs", "show", "talk", "--limit", "2")
    oldest = printed("jobs", "show", "talk-7", "--limit", "2", "--before", str(newest["next"]))

    states = [[result["state"] for result in page["results"]] for page in (newest, oldest)]
    assert states == [["Running", "Success"], ["Progress"]]
    assert [len(page["deliveries"]) for page in (newest, oldest)] == [2, 1]
    assert oldest["next"] is None
    assert shown.stderr == f"next page: --before {newest['next']}\n"
    assert (shown.stdout.count("\nresult\n"), "Progress" in shown.stdout) == (2, False)


def ids_of(listed: list[dict[str, Any]]) -> set[str]:
    return {row["job_id"][0] for row in listed}


@each_case(
    ("options", "expected"),
    [
        pytest.param(["--function", "cover"], "12 12 - 12", id="function"),
        pytest.param(["--route", "texts"], "3 3 3 -", id="route"),
        pytest.param(["--route", "covers"], "12 12 - 12", id="other-route"),
        pytest.param(["--reference", "talk-3"], "3 3 3 -", id="reference"),
        pytest.param(["--reference", "talk-*"], "12345 1234 3 12", id="references"),
        pytest.param(["--reference", "tal_-*"], "- - - -", id="no-wildcard-of-sql"),
        pytest.param(["--since", "1h"], "12345 1234 3 12", id="since"),
        pytest.param(["--since", "2999-01-01"], "- - - -", id="since-future"),
        pytest.param(["--until", "1h"], "- - - -", id="until"),
        pytest.param(["--until", "2999-01-01T00:00:00+08:00"], "12345 1234 3 12", id="until-future"),
        pytest.param(["--function", "ASR", "--route", "covers"], "- - - -", id="both"),
        pytest.param(["--kind", "iproduction"], "12345 1234 3 12", id="kind"),
        pytest.param(["--kind", "Snapshot"], "- - - -", id="other-kind"),
        pytest.param(["--queue", "mps-callbacks"], "1234 1234 3 12", id="queue"),
        pytest.param(["--queue", "mps"], "- - - -", id="other-queue"),
        pytest.param(["--result-state", "SUCCESS"], "1234 1234 3 12", id="state"),
        pytest.param(["--result-state", "failed"], "- - - -", id="other-state"),
    ],
)
def test_every_list_has_the_same_filters(
    jobs: Place, printed: Callable[..., Any], options: list[str], expected: str
) -> None:
    """``expected``: for each list, the jobs of which it shows something."""
    found = [ids_of(printed(name, "list", *options)) for name in LISTS]

    assert found == [set(jobs.replace("-", "")) for jobs in expected.split()]


@pytest.mark.parametrize("path", [*((name, "list") for name in LISTS), ("quarantine", "list")], ids=" ".join)
def test_every_list_ends_with_the_next_page_if_there_is_one(
    jobs: Place, printed: Callable[..., Any], invoke: Invoke, path: tuple[str, ...]
) -> None:
    with jobs.store() as store:
        for number in range(2):
            message = a_message(message_id=f"garbage-{number}")
            store.record([a_decoded_message(message=message, result=None)], PARK, at=clock.now())
    options = ("--state", "pending", "--state", "dead") if path[0] == "deliveries" else ()
    everything = printed(*path, *options)

    first = invoke(*path, *options, "--limit", "1")
    as_json = invoke(*path, *options, "--limit", "1", "--json")
    hint = f"next page: --before {everything[0]['id']}\n"
    assert (first.stderr, as_json.stderr, len(json.loads(as_json.stdout))) == (hint, hint, 1)

    second = printed(*path, *options, *hint.removeprefix("next page: ").split())
    assert [row["id"] for row in second] == [row["id"] for row in everything[1:]]
    assert invoke(*path, *options, "--limit", str(len(everything))).stderr == ""


def test_a_row_that_cannot_be_read_does_not_hide_the_next_page(jobs: Place, invoke: Invoke) -> None:
    with jobs.store() as store, store.database.write() as connection:
        connection.execute(text("UPDATE jobs SET created_at = 'x' WHERE id = 4"))

    first = invoke("jobs", "list", "--limit", "2", "--json")
    assert [job["id"] for job in json.loads(first.stdout)] == [5, 3]
    assert first.stderr.endswith("next page: --before 3\n")

    rest = invoke("jobs", "list", "--before", "3", "--json")
    assert [job["id"] for job in json.loads(rest.stdout)] == [2, 1]


def test_a_list_is_searched_until_its_page_is_full(
    jobs: Place, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "JOINED_ROWS", 1)
    for limit, found, hint in (("1", [2], "next page: --before 2\n"), ("2", [2, 1], "")):
        printed = invoke("jobs", "list", "--route", "covers", "--limit", limit, "--json")
        assert ([job["id"] for job in json.loads(printed.stdout)], printed.stderr) == (found, hint)


@pytest.mark.process
@pytest.mark.parametrize("path", [*((name, "list") for name in LISTS), ("quarantine", "list")], ids=" ".join)
def test_every_list_fits_into_80_columns(place: Place, path: tuple[str, ...]) -> None:
    words, name = "no such file " * 20, "n" * 100
    with place.store() as store:
        store.add_job(a_job(reference="talk-" + "7" * 40, user_data=words, function=name, error=words))
        result = a_result(function=name, type=name, user_data=words)
        decided = routes_all(Target(name, name))
        store.record(
            [a_decoded_message(message=a_message(), result=result, queue=name)], decided, at=clock.now()
        )
        settle(store, Dead(reason=words))
        garbled = a_decoded_message(message=a_message(message_id="g", body=words), result=None, queue=name)
        store.record([garbled], PARK, at=clock.now())
    options = ("--state", "dead") if path[0] == "deliveries" else ()

    status, displayed = run_at_terminal(*path, *options, folder=place.folder)

    lines = displayed.splitlines()
    assert (status, len(lines) > 5) == (0, True), displayed
    assert [line for line in lines if len(line) > 80] == []


def test_an_option_that_needs_all_is_named_as_it_is_written(jobs: Place, invoke: Invoke) -> None:
    result = invoke("dead-letters", "replay", "1", "--result-state", "Fail")

    assert (result.exit_code, "--result-state requires --all" in result.stderr) == (2, True)


@pytest.mark.parametrize("name", ["results", "dead-letters"])
def test_rows_that_have_the_state_of_their_result_only_are_filtered_by_it(
    jobs: Place, printed: Callable[..., Any], name: str
) -> None:
    assert ids_of(printed(name, "list", "--state", "failed")) == set()
    assert ids_of(printed(name, "list", "--state", "SUCCESS")) == ids_of(printed(name, "list")) != set()


def test_quarantine_is_filtered_by_its_queue(jobs: Place, printed: Callable[..., Any]) -> None:
    with jobs.store() as store:
        store.record([a_decoded_message(result=None)], PARK, at=clock.now())

    found = [len(printed("quarantine", "list", "--queue", queue)) for queue in ("mps-callbacks", "other")]
    assert found == [1, 0]


def test_quarantine_is_filtered_by_time(jobs: Place, printed: Callable[..., Any]) -> None:
    with jobs.store() as store:
        store.record([a_decoded_message(result=None)], PARK, at=clock.now())

    assert [len(printed("quarantine", "list", *time)) for time in (["--since", "1h"], ["--until", "1h"])] == [
        1,
        0,
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["jobs", "list", "--state", "Sucess"], [str(state) for state in JobState], id="job"),
        pytest.param(["deliveries", "list", "--state", "x"], ["pending", "dropped"], id="delivery"),
        pytest.param(["results", "list", "--status", "x"], ["parked", "waiting"], id="result"),
        pytest.param(["results", "list", "--result-state", "x"], ["Success", "Lost"], id="result-state"),
        pytest.param(["jobs", "list", "--since", "soon"], ["2h", "2026-05-01"], id="time"),
        pytest.param(["jobs", "list", "--until", "9" * 12 + "d"], ["neither a duration"], id="long-ago"),
    ],
)
def test_an_unknown_value_is_refused_with_the_known_ones(
    place: Place, invoke: Invoke, arguments: list[str], words: list[str]
) -> None:
    result = invoke(*arguments)

    assert result.exit_code == 2
    assert [word for word in words if word not in result.stderr] == []


def test_the_case_of_a_state_does_not_matter(jobs: Place, printed: Callable[..., Any]) -> None:
    assert ids_of(printed("jobs", "list", "--state", "success")) == set("1234")


def test_the_beginning_of_a_name_is_enough(jobs: Place, printed: Callable[..., Any]) -> None:
    with jobs.store() as store:
        result = a_result(job_id="unknown-job")
        store.record([a_decoded_message(result=result)], PARK, at=clock.now())

    assert printed("jobs", "show", "30000")["job"]["job_id"] == "30000000-job"
    assert printed("jobs", "show", "unkn")["results"][0]["job_id"] == "unknown-job"
    assert [line["result"] for line in printed("reconcile", "--job", "10000")] == ["completed"]


def test_an_ambiguous_beginning_is_refused_with_the_candidates(jobs: Place, invoke: Invoke) -> None:
    result = invoke("jobs", "show", "talk")

    assert result.exit_code == 2
    assert "several jobs begin with 'talk': talk-1, talk-2, talk-3, talk-4, talk-5" in result.stderr
    assert "no job 'tal' in this store" in invoke("jobs", "show", "tal").stderr
