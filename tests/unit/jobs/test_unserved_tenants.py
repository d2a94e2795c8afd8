"""Accepted jobs of tenants that no running daemon serves, with a real store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from listener.core import clock
from listener.core.model import JobState
from listener.jobs.unserved_tenants import REFUSED_AFTER, REPORTED_AFTER, WATCHED_FOR, UnservedTenants
from listener.store.daemons import Daemons
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_daemon, an_accepted_job
from tests.support.sqlite import new_sqlite_store
from tests.support.stores import the_job

SECOND = timedelta(seconds=1)


class Watch:
    """A daemon that serves the top level only, and a clock that shows NOON at its start."""

    confirmed = True
    wrong = False

    def __init__(self, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.others = set[str]()  #: the tenants that other daemons serve
        self.passed = timedelta()
        monkeypatch.setattr(clock, "now", lambda: NOON + self.passed)
        monkeypatch.setattr(clock, "monotonic", lambda: 1000 + self.passed.total_seconds())
        self.unserved = UnservedTenants(store=store, served=[""], clock_check=self)

    def accept(self, name: str, *, tenant: str, age: timedelta = REFUSED_AFTER + SECOND) -> None:
        self.store.accept_jobs([an_accepted_job(name, tenant=tenant, created_at=NOON - age)])

    def turn_after(self, time: timedelta) -> list[str]:
        """The events that are logged."""
        self.passed += time
        if self.others:
            other = a_daemon(tenants=tuple(self.others), seen_at=clock.now())
            Daemons(self.store.database).report(other)
        with capture_logs() as logs:
            self.unserved.turn()
        return [f"{line['event']} {line['tenant']}" for line in logs]

    def state(self, name: str) -> JobState:
        return the_job(self.store, name).state


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    with new_sqlite_store(tmp_path) as store:
        yield Watch(store, monkeypatch)


def test_what_no_daemon_serves_is_reported_once_and_refused_in_the_end(watch: Watch) -> None:
    watch.accept("old", tenant="shop")
    watch.accept("new", tenant="shop", age=SECOND)
    watch.accept("own", tenant="")
    assert watch.turn_after(SECOND) == []
    assert watch.turn_after(REPORTED_AFTER) == ["tenant.not_served shop"]
    assert watch.turn_after(SECOND) == []
    assert watch.state("old") is JobState.ACCEPTED
    assert watch.turn_after(WATCHED_FOR) == ["tenant.jobs_refused shop"]
    assert watch.turn_after(WATCHED_FOR) == []

    assert [watch.state(name) for name in ("old", "new", "own")] == [
        JobState.REFUSED,
        JobState.ACCEPTED,
        JobState.ACCEPTED,
    ]
    assert "[tenants.shop.mps]" in the_job(watch.store, "old").error
    assert watch.turn_after(REFUSED_AFTER) == ["tenant.jobs_refused shop"]


def test_what_another_daemon_serves_is_left_to_it_however_long_it_waits(watch: Watch) -> None:
    watch.accept("old", tenant="shop")
    watch.others = {"shop"}
    for _ in range(3):
        assert watch.turn_after(10 * REFUSED_AFTER) == []
    assert watch.state("old") is JobState.ACCEPTED


def test_a_daemon_that_starts_meanwhile_finds_its_jobs(watch: Watch) -> None:
    """All daemons were down for days, and the one that does not serve the tenant is the first to start."""
    watch.accept("old", tenant="shop", age=9 * REFUSED_AFTER)
    watch.turn_after(SECOND)
    watch.others = {"shop"}
    watch.turn_after(WATCHED_FOR)
    watch.others = set()
    assert watch.turn_after(WATCHED_FOR) == []
    assert watch.state("old") is JobState.ACCEPTED


def test_nothing_is_refused_by_a_clock_that_is_not_confirmed(watch: Watch) -> None:
    watch.accept("new", tenant="shop", age=SECOND)
    watch.confirmed = False
    watch.turn_after(REFUSED_AFTER)
    watch.turn_after(REFUSED_AFTER)
    assert watch.state("new") is JobState.ACCEPTED


def test_jobs_of_a_kind_that_no_running_release_submits_are_reported_and_wait(watch: Watch) -> None:
    watch.store.accept_jobs([an_accepted_job("newer", kind="NewerKind", created_at=NOON - 2 * REFUSED_AFTER)])
    with capture_logs() as logs:
        for _ in range(2):
            watch.unserved.turn()

    (line,) = logs
    assert (line["event"], line["kind"], line["reference"], line["jobs"]) == (
        "job.kind_not_submitted",
        "NewerKind",
        "newer",
        1,
    )
    assert "the release that accepted them" in line["hint"]
    assert watch.state("newer") is JobState.ACCEPTED
