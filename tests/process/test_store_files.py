"""The files of the store are deleted, replaced or moved while the daemon runs: nothing is acknowledged meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from listener.emulator.mns.queue import StoredMessage
from tests.support.daemon_http import tcp_client
from tests.support.program import QUEUE, Place, Program, unused_endpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process


class Running:
    """A daemon that has handled one callback, and its health endpoint."""

    def __init__(self, place: Place) -> None:
        place.server.call(lambda emulator: emulator.mns.queues.clear())
        place.create_queue(visibility_timeout=1)
        place.settings()
        self.place = place
        self.file = place.folder / "listener.db"
        self._url = unused_endpoint()
        self.program = self.start()
        place.send("before")
        # What isn't settled when the files are gone would be tried for as long as a stop may take.
        wait_until(lambda: self.handled({"before"}) and place.delivery_states() == {"done": 1})

    def start(self) -> Program:
        return self.place.run(http__listen=self._url.removeprefix("http://")).ready()

    def handled(self, jobs: set[str]) -> bool:
        return {line["job_id"] for line in self.place.lines()} == jobs and not self.place.messages_left()

    def refuses(self, *jobs: str) -> None:
        """Send these; verify that they are not acknowledged, and that the reason is shown."""
        self.place.send(*jobs)
        wait_until(lambda: all(message.count for message in self.messages()))
        wait_until(lambda: len(self.program.logs("store.unavailable")) > 0)
        assert self.place.messages_left() == len(jobs)
        assert self.readiness() == (503, True)

    def messages(self) -> list[StoredMessage]:
        """Those that are left; ``count`` says how often each was received, also once it is visible again."""
        return self.place.server.call(lambda emulator: emulator.mns.queues[QUEUE].messages())

    def readiness(self) -> tuple[int, bool]:
        """The status of /readyz, and whether it says that a file is gone."""
        with tcp_client(self._url) as client:
            answer: Any = client.get("/readyz")
        return answer.status_code, "deleted or replaced while it was open" in answer.json()["store"]


def delete(file: Path) -> None:
    file.unlink()


def replace_by_a_copy(file: Path) -> None:
    shutil.copy(file, file.with_name("copy"))
    file.with_name("copy").rename(file)


def delete_the_log(file: Path) -> None:
    file.with_name("listener.db-wal").unlink()


@pytest.mark.parametrize("harm", [delete, replace_by_a_copy, delete_the_log])
def test_what_comes_after_the_files_are_gone_is_handled_after_a_restart(
    place: Place, harm: Callable[[Path], None]
) -> None:
    running = Running(place)
    harm(running.file)
    running.refuses("job-1", "job-2")

    assert running.program.stop() == 0
    running.start()
    wait_until(lambda: running.handled({"before", "job-1", "job-2"}))


def test_a_file_that_is_moved_away_and_back_is_used_again_without_a_restart(place: Place) -> None:
    running = Running(place)
    away = running.file.with_name("away")
    running.file.rename(away)
    running.refuses("job-1", "job-2")
    assert not running.file.exists()

    away.rename(running.file)
    wait_until(lambda: running.handled({"before", "job-1", "job-2"}))
    # The next write tells, which may come after the calls.
    wait_until(lambda: running.readiness() == (200, False))
    assert running.program.stop() == 0
    assert place.delivery_states() == {"done": 3}
