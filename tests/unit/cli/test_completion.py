"""``mns-listener completion``: the scripts of the shells, and what is offered."""

from __future__ import annotations

import sys

import pytest
from click.shell_completion import ShellComplete

from listener.cli import COMMANDS, main
from listener.cli.completion import PROGRAM, SHELLS, VARIABLE
from tests.support.builders import a_job
from tests.support.command_line import Invoke
from tests.support.program import QUEUE, Place


def offered(*words: str) -> list[str]:
    """For the last word, in any shell."""
    *before, incomplete = words
    found = ShellComplete(main, {}, PROGRAM, VARIABLE).get_completions(before, incomplete)
    return [item.value for item in found]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script_that_asks_the_program(invoke: Invoke, shell: str) -> None:
    result = invoke("completion", shell)

    assert result.exit_code == 0
    assert f"{VARIABLE}={shell}_complete" in result.stdout
    assert "%(" not in result.stdout


def test_an_unknown_shell_is_refused_with_the_known_ones(invoke: Invoke) -> None:
    result = invoke("completion", "tcsh")

    assert result.exit_code == 2
    assert all(f"'{shell}'" in result.stderr for shell in SHELLS)


def test_all_commands_are_offered_without_importing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, _ in COMMANDS.values():
        monkeypatch.setitem(sys.modules, module.partition(":")[0], None)

    assert offered("") == list(COMMANDS)
    assert "--verbose" in offered("--verb")


def test_the_newest_jobs_are_offered_before_anything_was_typed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder)
    with place.store() as store:
        store.add_job(a_job(reference="talk-7"))

    assert offered("jobs", "show", "") == ["talk-7"]
    assert offered("explain", "talk") == ["talk-7", "talk"]  # the second stands for files of this name
    assert offered("results", "list", "--reference", "t") == ["talk-7"]
    assert offered("jobs", "register", "x", "--kind", "T") == ["Transcode"]
    assert offered("trigger", "transcode.") == ["transcode.fail", "transcode.success"]
    assert offered("trigger", "ims.event", "--job", "t") == ["talk-7"]
    assert offered("replay", "calls.jsonl", "--queue", "m") == [QUEUE]


def test_a_store_that_does_not_exist_is_not_created(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.folder)
    (place.folder / "listener.db").unlink()

    assert offered("jobs", "show", "t") == []
    assert not (place.folder / "listener.db").exists()
