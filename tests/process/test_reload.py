"""What SIGHUP changes in a running daemon."""

from __future__ import annotations

import signal

import pytest

from tests.support.program import Place
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

TO_OTHER_FILE = """\
[[routes]]
name = "other"
handlers = [{{ use = "jsonl", path = "other.jsonl" }}]
"""
NO_MATCH = """\
[[routes]]
name = "other"
handlers = [{{ use = "no-such-handler" }}]
"""


def test_a_hang_up_makes_new_routes_count_for_what_comes(place: Place) -> None:
    place.settings()
    program = place.run().ready()
    place.send("1" * 32)
    wait_until(lambda: len(place.lines()) == 1)

    place.settings(TO_OTHER_FILE)
    program.send(signal.SIGHUP)
    wait_until(lambda: bool(program.logs("settings.reloaded")))
    place.send("2" * 32)

    wait_until(lambda: len(place.lines("other.jsonl")) == 1)
    assert [line["job_id"] for line in place.lines("other.jsonl")] == ["2" * 32]
    assert program.stop() == 0


def test_bad_settings_at_a_hang_up_keep_the_old_ones_and_say_why(place: Place) -> None:
    place.settings()
    program = place.run().ready()

    place.settings(NO_MATCH)
    program.send(signal.SIGHUP)
    wait_until(lambda: bool(program.logs("config.reload_failed")))
    place.send("3" * 32)

    wait_until(lambda: len(place.lines()) == 1)
    assert "no-such-handler" in program.logs("config.reload_failed")[0]["error"]
    assert program.stop() == 0
