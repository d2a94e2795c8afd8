"""A second daemon on one SQLite file says so and ends, unless the settings allow it."""

from __future__ import annotations

import pytest

from tests.support.program import Place
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

UNAVAILABLE = 69


def test_a_second_daemon_on_a_sqlite_file_names_the_first_and_ends(place: Place) -> None:
    place.settings()
    first = place.run().ready()
    second = place.run()

    assert second.wait() == UNAVAILABLE
    assert f"another daemon is running on it (process {first.process.pid} on " in second.stderr
    place.send("job-1")
    wait_until(lambda: place.delivery_states() == {"done": 1})

    first.kill()
    third = place.run().ready()
    assert third.stop() == 0
    assert not (place.folder / "listener.db.lock").exists()


def test_other_commands_work_beside_a_daemon(place: Place) -> None:
    place.settings()
    place.run().ready()

    for arguments in (["jobs", "register", "job-1"], ["dead-letters", "replay", "--all"]):
        assert place.start(*arguments, "-c", "listener.toml").wait() == 0


def test_several_daemons_share_a_sqlite_file_if_the_settings_allow_it(place: Place) -> None:
    place.settings()
    daemons = [place.run(store__shared="true").ready() for _ in range(2)]

    assert [daemon.stop() for daemon in daemons] == [0, 0]
