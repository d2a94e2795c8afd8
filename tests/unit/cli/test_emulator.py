"""The options of ``mns-listener emulator``."""

from __future__ import annotations

import signal
from dataclasses import fields
from importlib import metadata
from pathlib import Path

import click
import pytest

from listener.cli.emulator import emulator, main
from listener.emulator.options import Options
from tests.support.cases import each_case

#: Limits of the services, which only tests change.
FIXED = {"concurrency", "queue_limit"}


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Run the program, and return its exit status. It ends also if it accepts what it should refuse."""
    unwritable = "--port-file=/dev/null/port"
    monkeypatch.setattr("sys.argv", ["mns-emulator", "--port=0", unwritable, *arguments])
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())  # the program blocks signals
    try:
        with pytest.raises(SystemExit) as exit:
            main()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return exit.value.code


def test_every_option_of_the_emulator_can_be_set_on_the_command_line() -> None:
    options = {option.name for option in emulator.params}

    assert {each.name for each in fields(Options)} - options == FIXED


@each_case(
    ("arguments", "sent"), [([], True), (["--no-text-to-speech-callback"], False)], ids=["default", "off"]
)
def test_the_callback_of_text_to_speech_can_be_switched_off(arguments: list[str], sent: bool) -> None:
    given = emulator.make_context("emulator", arguments).params

    names = {each.name for each in fields(Options)}
    options = Options(**{name: value for name, value in given.items() if name in names})
    assert options.text_to_speech_callback is sent


@each_case(
    ("given", "option"),
    [
        ("--fail-rate=nan", "--fail-rate"),
        ("--duration=Cover=nan", "--duration"),
        ("--duration=Cover=long", "--duration"),
        ("--duration=Covr=5", "--duration"),
        ("--queue=a_b", "--queue"),
        ("--access-key-secret=", "--access-key-secret"),
        ("--faults=faults.toml", "--faults"),
        ("--host=0.0.0.0", "--host"),
    ],
)
def test_what_cannot_work_is_refused_by_the_option_as_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    given: str,
    option: str,
) -> None:
    (tmp_path / "faults.toml").write_text('[[fault]]\nkind = "stall"\noperation = "SendMesage"\n', "utf-8")
    monkeypatch.chdir(tmp_path)

    assert ended(monkeypatch, given) == 2
    assert f"Error: Invalid value for '{option}': " in capsys.readouterr().err


def test_the_program_has_a_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"mns-emulator, version {metadata.version('mns-listener')}\n"


@pytest.mark.parametrize("called", ["mns-emulator", "mns-listener emulator"])
def test_the_examples_name_the_command_as_it_was_called(called: str) -> None:
    text = emulator.get_help(click.Context(emulator, info_name=called))

    examples = text[text.index("Examples:") : text.index("A faults file")].splitlines()[1:]
    assert {example.strip().split(" --")[0] for example in examples if example.strip()} == {called}


def test_a_port_file_that_cannot_be_written_is_said_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = tmp_path / "none" / "port"

    assert (ended(monkeypatch, f"--port-file={missing}"), capsys.readouterr().err) == (
        2,
        f"Error: cannot write to {str(missing)!r}: No such file or directory\n",
    )
