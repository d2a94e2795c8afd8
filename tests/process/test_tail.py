"""``tail`` follows what other processes commit, and ends with its reader or with Ctrl-C."""

from __future__ import annotations

import json
import os
import signal

import pytest

from listener.core import clock
from tests.support.builders import decoded_messages, routes_all
from tests.support.program import Place, Program
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process


def followed(program: Program) -> list[str]:
    """The jobs of the events that were printed so far, in whole lines."""
    return [json.loads(line)["job_id"] for line in program.stdout.splitlines(True) if line.endswith("\n")]


def record(place: Place, prefix: str) -> None:
    with place.store() as store:
        store.record(decoded_messages(1, prefix=prefix), routes_all(), at=clock.now())


def test_it_shows_what_others_commit_until_ctrl_c(place: Place) -> None:
    place.settings()
    record(place, "before")
    program = place.start("tail", "--json")
    wait_until(lambda: followed(program) == ["mps-callbacks-before-0"])

    for prefix in ("one", "two"):
        record(place, prefix)
    wait_until(lambda: followed(program)[1:] == ["mps-callbacks-one-0", "mps-callbacks-two-0"])

    program.send(signal.SIGINT)
    assert program.wait() == 130
    assert program.stderr == ""


def test_it_shows_what_a_daemon_does(place: Place) -> None:
    place.settings()
    daemon = place.run().ready()
    program = place.start("tail", "--json", "--event", "settled")
    place.send("job-1", "job-2")

    wait_until(lambda: sorted(followed(program)) == ["job-1", "job-2"])
    program.send(signal.SIGINT)
    assert program.wait() == 130
    assert daemon.stop() == 0


@pytest.mark.fresh_interpreter
def test_it_ends_with_its_reader_though_nothing_happens(place: Place) -> None:
    reading, writing = os.pipe()
    place.settings()
    record(place, "before")
    program = place.start("tail", output=writing)
    os.close(writing)
    assert b"recorded" in os.read(reading, 4096)

    os.close(reading)

    assert program.wait() == 141
