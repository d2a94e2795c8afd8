"""Which daemons run on a store, on each supported database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from listener.core.model import Target
from listener.store.daemons import COUNTS_AS_RUNNING, FORGOTTEN_AFTER, Daemons
from listener.store.sql_store import SqlStore
from listener.store.tables import daemons
from tests.support.builders import NOON, a_daemon
from tests.support.stores import OpenStore, count

ONE = a_daemon(
    queues=("a", "b"), targets=(Target("videos", "log"), Target("videos", "hook")), tenants=("", "shop")
)
TWO = a_daemon(owner="host:2:two", started_at=NOON + timedelta(seconds=1))
SECOND = timedelta(seconds=1)


def test_every_daemon_is_known_to_every_process(open_store: OpenStore) -> None:
    for daemon in (TWO, ONE):
        Daemons(open_store().database).report(daemon)

    assert Daemons(open_store().database).running(NOON) == [ONE, TWO]


def test_a_daemon_counts_as_running_until_its_reports_stop(store: SqlStore) -> None:
    found = Daemons(store.database)
    found.report(ONE)
    later = replace(ONE, seen_at=NOON + COUNTS_AS_RUNNING)
    assert found.running(NOON + COUNTS_AS_RUNNING) == []

    found.report(later)

    assert found.running(NOON + COUNTS_AS_RUNNING) == [later]
    assert count(store, daemons) == 1


def test_a_daemon_that_signs_off_is_gone_with_those_that_ended_long_ago(store: SqlStore) -> None:
    found = Daemons(store.database)
    for daemon in (ONE, TWO, replace(ONE, owner="killed", seen_at=NOON - FORGOTTEN_AFTER)):
        found.report(daemon)
    found.sign_off(ONE.owner, at=NOON + SECOND)

    assert found.running(NOON) == [TWO]
    assert count(store, daemons) == 1


def test_a_daemon_of_a_release_that_does_not_report_its_handlers_may_have_any(store: SqlStore) -> None:
    found = Daemons(store.database)
    for daemon in (ONE, TWO, a_daemon(owner="idle", targets=())):
        found.report(daemon)

    missing = Target("other", "log")
    assert {daemon.owner: daemon.may_have(missing) for daemon in found.running(NOON)} == {
        ONE.owner: False,
        TWO.owner: True,
        "idle": False,
    }
