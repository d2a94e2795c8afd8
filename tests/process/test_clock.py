"""The wall clock of the machine is wrong for a while."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from listener.client import Client
from listener.core import clock
from listener.settings.loader import settings_from
from tests.support.program import Place, Program
from tests.support.shifted_clock import install, set_clock
from tests.support.stores import count, results
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

#: Longer than retention, and than any job's deadline with ``reconcile.timeout``.
MONTH = timedelta(days=31)
JOBS = [f"job-{number}" for number in range(5)]


@pytest.mark.parametrize("when", ["at-the-start", "later"])
def test_a_clock_that_is_a_month_ahead_loses_no_job_and_forgets_no_result(place: Place, when: str) -> None:
    place.settings()
    install(place.folder)
    daemon = start(place)
    place.send("before")
    wait_until(lambda: handled(place) == {"before": 1})
    with Client(settings_from(place.folder / "listener.toml")) as client:
        for job in JOBS:
            client.register(job, function="Cover")
    if when == "later":
        set_clock(place.folder, MONTH)
    else:
        assert daemon.stop() == 0
        set_clock(place.folder, MONTH)
        daemon = start(place)

    wait_until(lambda: bool(daemon.logs("clock.wrong")))
    assert bool(daemon.logs("clock.jumped")) is (when == "later")
    place.send("before")  # the copy is handled again if its result was deleted
    for _ in range(3):
        polls = place.asked("BatchReceiveMessage")
        wait_until(lambda polls=polls: place.asked("BatchReceiveMessage") > polls)  # type: ignore[misc]  # bound now
    set_clock(place.folder, timedelta(0))
    place.send(*JOBS)
    wait_until(lambda: place.messages_left() == 0 and len(handled(place)) == 1 + len(JOBS))

    assert daemon.stop() == 0
    assert handled(place) == Counter(["before", *JOBS])
    assert {line["state"] for line in place.lines()} == {"Success"}


def test_what_was_recorded_while_the_clock_was_behind_gets_its_true_time(place: Place) -> None:
    place.settings()
    install(place.folder)
    daemon = start(place)
    place.send("before")
    wait_until(lambda: handled(place) == {"before": 1})
    set_clock(place.folder, -MONTH)
    wait_until(lambda: bool(daemon.logs("clock.wrong")))
    place.send("meanwhile")
    wait_until(lambda: handled(place) == {"before": 1, "meanwhile": 1})
    set_clock(place.folder, timedelta(0))
    wait_until(lambda: bool(daemon.logs("clock.rows_corrected")))

    assert daemon.stop() == 0
    with Client(settings_from(place.folder / "listener.toml")) as client:
        recent = clock.now() - timedelta(days=1)
        assert count(client.store, results, results.c.received_at > recent) == 2


def start(place: Place) -> Program:
    # MPS knows none of these jobs, and so would not confirm their callbacks.
    return place.run(correlation__verify="never", reconcile__interval="100ms", queues__0__wait="1s").ready()


def handled(place: Place) -> Counter[str]:
    return Counter(line["job_id"] for line in place.lines())
