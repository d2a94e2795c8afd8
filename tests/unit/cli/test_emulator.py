"""The options of ``mns-listener emulator``."""

from __future__ import annotations

from dataclasses import fields

import pytest

from listener.cli.emulator import emulator
from listener.emulator.options import Options

#: Limits of the services, which only tests change.
FIXED = {"concurrency", "queue_limit"}


def test_every_option_of_the_emulator_can_be_set_on_the_command_line() -> None:
    options = {option.name for option in emulator.params}

    assert {each.name for each in fields(Options)} - options == FIXED


@pytest.mark.parametrize(
    ("arguments", "sent"), [([], True), (["--no-text-to-speech-callback"], False)], ids=["default", "off"]
)
def test_the_callback_of_text_to_speech_can_be_switched_off(arguments: list[str], sent: bool) -> None:
    given = emulator.make_context("emulator", arguments).params

    names = {each.name for each in fields(Options)}
    options = Options(**{name: value for name, value in given.items() if name in names})
    assert options.text_to_speech_callback is sent
