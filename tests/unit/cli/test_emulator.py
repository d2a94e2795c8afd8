"""The options of ``mns-listener emulator``."""

from __future__ import annotations

import signal
from dataclasses import fields
from pathlib import Path

import click
import pytest

from listener.cli.emulator import emulator, main
from listener.emulator.options import Options
from tests.support.cases import each_case

#: Limits of the services, which only tests change.
FIXED = {"concurrency", "queue_limit"}


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
    "given",
    [
        "--job-seconds=inf",
        "--fail-rate=nan",
        "--time-scale=nan",
        "--duration=Cover=-1",
        "--duration=Cover=nan",
    ],
)
def test_a_number_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(click.BadParameter):
        emulator.make_context("emulator", [given])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "Covr",
            "'Covr' is neither a function nor a kind of jobs (did you mean 'Cover'?); known: VideoH2V, ",
        ),
        ("IProduction", "known: VideoH2V, "),
    ],
)
def test_a_duration_of_what_no_job_is_called_names_what_there_is(name: str, said: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        emulator.make_context("emulator", [f"--duration={name}=5"])

    assert said in refused.value.message
    assert refused.value.message.endswith("MediaCensor, Workflow")


@pytest.mark.parametrize("option", ["--access-key-id", "--access-key-secret"])
def test_an_access_key_is_not_empty(option: str) -> None:
    with pytest.raises(click.BadParameter):
        emulator.make_context("emulator", [option, ""])


@pytest.mark.parametrize("called", ["mns-emulator", "mns-listener emulator"])
def test_the_examples_name_the_command_as_it_was_called(called: str) -> None:
    text = emulator.get_help(click.Context(emulator, info_name=called))

    examples = text[text.index("Examples:") : text.index("A faults file")].splitlines()[1:]
    assert {example.strip().split(" --")[0] for example in examples if example.strip()} == {called}


def test_a_port_file_that_cannot_be_written_is_said_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = tmp_path / "none" / "port"
    monkeypatch.setattr("sys.argv", ["mns-emulator", "--port=0", f"--port-file={missing}"])

    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())  # the program blocks signals
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    assert (ended.value.code, capsys.readouterr().err) == (
        2,
        f"Error: cannot write to {str(missing)!r}: No such file or directory\n",
    )
