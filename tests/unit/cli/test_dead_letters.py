"""Dead letters and parked results: what an operator can do about them, there and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from listener.store import row_actions
from tests.support.builders import NOON
from tests.support.command_line import Invoke
from tests.support.program import ALL_TO_FILE, Place, configured_place
from tests.support.sqlite import copy_sqlite
from tests.support.terminal import run_at_terminal

#: Rejects everything as long as the file ``broken`` is there.
REJECTING = """\
[[routes]]
name = "all"
handlers = [{{ use = "command", argv = ["sh", "-c", "test ! -e {folder}/broken || {{ echo no use >&2; exit 65; }}"] }}]
"""
PICKY = """\
[[routes]]
name = "all"
match = {{ function = "Cover" }}
handlers = [{{ use = "jsonl", path = "{folder}/results.jsonl" }}]
"""
TWO_HANDLERS = """\
[[routes]]
name = "new"
handlers = [{{ use = "log", name = "one" }}, {{ use = "log", name = "two" }}]
"""


def reject_all(place: Place) -> None:
    place.settings(REJECTING)
    (place.folder / "broken").touch()


@pytest.fixture(scope="module")
def rejected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three dead letters, made by the daemon."""
    with configured_place(tmp_path_factory.mktemp("rejected")) as place:
        reject_all(place)
        place.send("job-1", "job-2", "job-3")
        assert place.run("--drain").wait() == 0
        return place.folder / "listener.db"


@pytest.fixture
def letters(place: Place, rejected: Path, printed: Callable[..., Any]) -> list[dict[str, Any]]:
    """Three dead letters; newest first."""
    reject_all(place)
    copy_sqlite(rejected, place.folder / "listener.db")
    found: list[dict[str, Any]] = printed("dead-letters", "list")
    assert len(found) == 3
    return found


def test_dead_letters_are_shown_replayed_and_dropped(
    place: Place, letters: list[dict[str, Any]], printed: Callable[..., Any], invoke: Invoke
) -> None:
    first, second, third = (letter["id"] for letter in reversed(letters))
    output = printed("dead-letters", "show", str(first))
    assert ("no use" in output["last_error"], '"JobId"' in output["raw"]) == (True, True)

    (place.folder / "broken").unlink()
    assert printed("dead-letters", "replay", str(first), str(second), str(first)) == {
        "replayed": [first, second],
        "refused": [],
        "missing": [],
        "dry_run": False,
    }
    assert place.delivery_states() == {"pending": 2, "dead": 1}
    assert place.run("--drain").wait() == 0
    assert place.delivery_states() == {"done": 2, "dead": 1}

    dropped = {"dropped": [third], "missing": [], "dry_run": False}
    assert printed("dead-letters", "drop", str(third)) == dropped
    assert place.delivery_states() == {"done": 2, "dropped": 1}
    assert invoke("dead-letters", "list").stdout == "no dead letters\n"
    assert len(printed("results", "list")) == 3  # nothing that came is ever thrown away


def test_ids_that_are_no_dead_letters_are_named(
    letters: list[dict[str, Any]], printed: Callable[..., Any], invoke: Invoke
) -> None:
    known = letters[0]["id"]

    assert printed("dead-letters", "drop", str(known), "777", exit_code=66) == {
        "dropped": [known],
        "missing": [777],
        "dry_run": False,
    }
    result = invoke("dead-letters", "replay", str(known))
    assert (result.exit_code, f"no dead letters with these ids: {known}" in result.stderr) == (66, True)


def test_all_of_a_route_and_no_other_are_replayed(
    place: Place,
    letters: list[dict[str, Any]],
    printed: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_actions, "PAGE", 2)  # more than one page of them

    assert printed("dead-letters", "replay", "--all", "--route", "other")["replayed"] == []
    replayed = printed("dead-letters", "replay", "--all", "--route", "all")["replayed"]
    assert sorted(replayed) == sorted(letter["id"] for letter in letters)
    assert place.delivery_states() == {"pending": 3}


def test_a_replay_after_the_route_was_renamed_goes_to_its_new_name(
    place: Place, letters: list[dict[str, Any]], printed: Callable[..., Any]
) -> None:
    place.settings(ALL_TO_FILE.replace('"all"', '"renamed"'))

    assert len(printed("dead-letters", "replay", "--all")["replayed"]) == 3
    assert place.run("--drain").wait() == 0
    assert place.delivery_states() == {"done": 3}
    assert {line["route"] for line in place.lines()} == {"renamed"}
    assert {line["key"] for line in place.lines()} == {letter["key"] for letter in letters}


def test_a_dry_run_of_a_replay_shows_where_each_one_would_go(
    place: Place, letters: list[dict[str, Any]], invoke: Invoke
) -> None:
    place.settings(TWO_HANDLERS)

    lines = invoke("dead-letters", "replay", str(letters[0]["id"]), "--dry-run").stdout.splitlines()

    shown = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:-1]]
    assert [(row["id"], row["route"], row["handler"]) for row in shown] == [
        (str(letters[0]["id"]), "new", "one"),
        (str(letters[0]["id"]), "new", "two"),
    ]
    assert lines[-1] == "would replay 1 dead letter; nothing was changed"
    assert place.delivery_states() == {"dead": 3}


def test_a_replay_that_no_route_matches_is_refused_with_the_reason(
    place: Place, letters: list[dict[str, Any]], printed: Callable[..., Any], invoke: Invoke
) -> None:
    place.settings(PICKY)
    ids = [letter["id"] for letter in letters]

    for option in ((), ("--dry-run",)):
        output = printed("dead-letters", "replay", "--all", *option, exit_code=1)
        assert output["refused"] == [{"id": row, "reason": "no route matches its result"} for row in ids]
        assert (output["replayed"], output["missing"]) == ([], [])
    result = invoke("dead-letters", "replay", *map(str, ids))
    assert result.stderr.splitlines() == [
        f"cannot replay {', '.join(map(str, ids))}: no route matches its result",
        "Error: 3 dead letters cannot be replayed",
    ]
    assert place.delivery_states() == {"dead": 3}


def test_all_are_dropped_only_with_a_confirmation(
    place: Place, letters: list[dict[str, Any]], printed: Callable[..., Any], invoke: Invoke
) -> None:
    refused = invoke("dead-letters", "drop", "--all")
    assert (refused.exit_code, "--all requires --yes" in refused.stderr) == (2, True)
    for typed in ("n\n", "\n"):
        status, displayed = run_at_terminal("dead-letters", "drop", "--all", folder=place.folder, typed=typed)
        assert (status, "Drop 3 dead letters? [y/N]" in displayed) == (1, True)
    assert place.delivery_states() == {"dead": 3}

    assert run_at_terminal("dead-letters", "drop", "--all", folder=place.folder, typed="y\n")[0] == 0
    assert place.delivery_states() == {"dropped": 3}
    assert printed("dead-letters", "drop", "--all", "--yes")["dropped"] == []


@pytest.mark.parametrize(("command", "done"), [("drop", "dropped"), ("replay", "replayed")])
def test_a_dry_run_shows_what_would_be_done_and_changes_nothing(
    place: Place,
    letters: list[dict[str, Any]],
    printed: Callable[..., Any],
    invoke: Invoke,
    command: str,
    done: str,
) -> None:
    ids = [letter["id"] for letter in letters]
    everything = {done: ids, "missing": [], "dry_run": True}

    trial = printed("dead-letters", command, "--all", "--dry-run")
    assert trial | everything == trial
    assert printed("dead-letters", command, "--all", "--route", "other", "--dry-run")[done] == []
    named = printed("dead-letters", command, str(ids[0]), "777", "--dry-run", exit_code=66)
    assert (named[done], named["missing"]) == (ids[:1], [777])
    lines = invoke("dead-letters", command, "--all", "--dry-run").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines[1:-1]] == list(map(str, ids))
    assert lines[-1] == f"would {command} 3 dead letters; nothing was changed"
    assert place.delivery_states() == {"dead": 3}


def test_table_of_dead_letters_has_no_trailing_blanks(letters: list[dict[str, Any]], invoke: Invoke) -> None:
    lines = invoke("dead-letters", "list").stdout.splitlines()

    assert len(lines) == 4
    assert [line for line in lines if line != line.rstrip()] == []
    assert all("no use" in line for line in lines[1:])


def test_parked_results_are_routed_once_the_settings_want_them(
    place: Place, printed: Callable[..., Any]
) -> None:
    place.settings(PICKY)
    place.send("job-1", "job-2")
    assert place.run("--drain").wait() == 0
    assert len(printed("results", "list", "--status", "parked")) == 2
    assert printed("results", "reroute") == {"examined": 2, "deliveries": 0}

    place.settings(ALL_TO_FILE)
    assert printed("results", "reroute") == {"examined": 2, "deliveries": 2}
    assert printed("results", "reroute") == {"examined": 0, "deliveries": 0}
    assert place.run("--drain").wait() == 0
    assert {line["job_id"] for line in place.lines()} == {"job-1", "job-2"}


def test_results_that_stay_parked_do_not_hide_those_behind_them(place: Place) -> None:
    """Also where there are more than one transaction takes."""
    from listener.core.model import ResultStatus, RoutingDecision
    from listener.store.parked import reroute_parked
    from tests.support.builders import decoded_messages, routes_all

    def park(*_anything: object) -> RoutingDecision:
        return RoutingDecision(status=ResultStatus.PARKED)

    with place.store() as store:
        store.record(decoded_messages(5), park, at=NOON)
        assert reroute_parked(store.database, park, at=NOON, batch=2) == (5, 0)
        assert reroute_parked(store.database, routes_all(), at=NOON, batch=2) == (5, 5)
