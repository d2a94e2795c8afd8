"""Waiting says when no daemon runs, refuses unknown names first, and has one time limit for all jobs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from listener.cli.waiting import wait_for
from listener.client import Client
from listener.core import clock
from listener.core.model import Job
from listener.settings.loader import load
from listener.store.daemons import Daemons, RunningDaemon
from tests.support.builders import NOON, a_daemon, a_job
from tests.support.command_line import Invoke
from tests.support.program import Place
from tests.support.sqlite import new_sqlite
from tests.support.waiting import wait_until

NO_DAEMON = "Warning: no daemon is running on the store"
MEDIA = "oss://media.oss-cn-shanghai.aliyuncs.com/talk.mp4"


@pytest.fixture
def unfinished(place: Place) -> Place:
    with place.store() as store:
        for number in (1, 2):
            store.add_job(a_job(token=f"{number:022}", job_id=f"job-{number}", reference=f"talk-{number}"))
    return place


def report_daemon(place: Place) -> None:
    with place.store() as store:
        Daemons(store.database).report(a_daemon(seen_at=clock.now()))


def test_a_wait_without_a_daemon_says_so_once(unfinished: Place, invoke: Invoke) -> None:
    result = invoke("jobs", "wait", "talk-1", "talk-2", "--timeout", "1ms")

    assert result.exit_code == 124
    assert result.stderr.count(NO_DAEMON) == 1
    assert "timed out waiting for talk-1, talk-2: no outcome within 0.001 s" in result.stderr
    assert result.stdout == "talk-1  submitted\ntalk-2  submitted\n"


def test_a_wait_with_a_daemon_says_nothing_of_it(unfinished: Place, invoke: Invoke) -> None:
    report_daemon(unfinished)
    result = invoke("jobs", "wait", "talk-1", "--timeout", "1ms")

    assert (result.exit_code, NO_DAEMON in result.stderr) == (124, False)


def test_a_job_that_has_ended_needs_no_daemon(place: Place, invoke: Invoke) -> None:
    with place.store() as store:
        store.add_job(a_job(reference="talk-7", state="Success", finished_at=NOON))
    result = invoke("jobs", "wait", "talk-7")

    assert (result.exit_code, result.stderr) == (0, "")


def test_a_submission_that_waits_says_so_too(place: Place, invoke: Invoke) -> None:
    output = MEDIA.replace("talk.mp4", "{sequenceId}.jpg")
    arguments = ("Cover", "--input", MEDIA, "--output", output, "--wait", "--timeout", "1ms")
    result = invoke("submit", *arguments)

    assert (result.exit_code, NO_DAEMON in result.stderr) == (124, True)


def test_unknown_names_are_found_before_anything_is_waited_for(unfinished: Place, invoke: Invoke) -> None:
    result = invoke("jobs", "wait", "talk-1", "nonsense", "--timeout", "1ms")

    assert (result.exit_code, "no job 'nonsense'" in result.stderr, "timed out" in result.stderr) == (
        66,
        True,
        False,
    )


def test_the_beginnings_of_names_can_be_waited_for(place: Place, printed: Callable[..., Any]) -> None:
    with place.store() as store:
        store.add_job(a_job(reference="talk-7", state="Success", finished_at=NOON))

    assert [job["reference"] for job in printed("jobs", "wait", "talk", "39f8")] == ["talk-7"] * 2


class _NeverEnding(Client):
    """Waiting takes all of the time that it is given, by a clock of its own."""

    seconds = 0.0

    def wait(self, job: Job | str, *, timeout: timedelta | float | None = None) -> Job:
        assert isinstance(timeout, timedelta)
        self.seconds += timeout.total_seconds()
        raise TimeoutError


def test_the_time_limit_is_for_all_jobs_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_sqlite(tmp_path / "store.db")
    with closing(_NeverEnding(load(f'store.url = "{url}"', {}))) as client:
        monkeypatch.setattr(clock, "monotonic", lambda: client.seconds)
        for number in range(3):
            client.store.add_job(a_job(token=f"{number:022}", job_id=f"job-{number}", reference=""))

        jobs, status = wait_for(client, ["job-0", "job-1", "job-2"], timedelta(minutes=1))

        assert (client.seconds, status, len(jobs)) == (60, 124, 3)


def test_a_daemon_is_known_while_it_runs(place: Place, printed: Callable[..., Any]) -> None:
    """Also to ``check``; one that is killed is known until its reports are too old."""

    def running() -> list[RunningDaemon]:
        with place.store() as store:
            return list(Daemons(store.database).running(clock.now()))

    stopped = place.run().ready()
    wait_until(lambda: len(running()) == 1)
    (daemon,) = running()
    assert daemon.queues == ("mps-callbacks",)
    (found,) = (each for each in printed("check")["checks"] if each["name"] == "store")
    assert daemon.owner in found["detail"]
    assert stopped.stop() == 0
    assert running() == []
    assert "daemons seen within 45s: none" in str(printed("check"))

    killed = place.run().ready()
    wait_until(lambda: len(running()) == 1)
    killed.kill()
    assert len(running()) == 1
    found = {each["name"]: each["detail"] for each in printed("check")["checks"]}
    (ended,) = running()
    seen = f"{ended.owner} (version {ended.version}, last seen "
    assert f"daemons seen within 45s: {seen}" in found["store"]
    assert found["single daemon"].startswith(f"no other daemon uses this SQLite file; {seen}")
    assert found["single daemon"].endswith("ago) ended without signing off")
