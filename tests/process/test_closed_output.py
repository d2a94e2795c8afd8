"""``mns-listener jobs list | head -1``: the reader of the output ends first."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.builders import NOON, decoded_messages, routes_all
from tests.support.program import Place

pytestmark = [pytest.mark.process, pytest.mark.fresh_interpreter]


@pytest.fixture
def unread() -> Iterator[int]:
    """The end of a pipe that nothing reads from."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["results", "list"], id="written-at-once"),
        pytest.param(["store", "export"], id="written-at-the-end"),
        pytest.param(["--help"], id="help"),
    ],
)
def test_a_command_whose_output_has_no_reader_ends_like_others_do(
    place: Place, unread: int, arguments: list[str]
) -> None:
    with place.store() as store:
        store.record(decoded_messages(5), routes_all(), at=NOON)

    assert place.start(*arguments, output=unread).wait() == 141


def test_an_error_keeps_its_status_if_it_has_no_reader(place: Place, unread: int) -> None:
    place.settings()

    assert place.start("dead-letters", "show", "7", output=unread).wait() == 66


@pytest.mark.parametrize("arguments", ["results list", "results list --json", "--help"])
def test_a_command_without_standard_output_does_its_work(place: Place, arguments: str) -> None:
    place.settings()
    command = f"exec {sys.executable} -m listener {arguments} >&-"

    ended = subprocess.run(
        ["sh", "-c", command],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": place.path},
        stderr=subprocess.PIPE,
    )

    assert (ended.returncode, ended.stderr) == (0, b"")
