"""A daemon reports that it runs, every few seconds and no oftener."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from listener.core import clock
from listener.core.errors import StoreUnavailable
from listener.core.model import Target
from listener.daemon.maintenance import Presence
from listener.store.daemons import REPORT_INTERVAL, Daemons
from listener.store.database import Database
from tests.support.builders import NOON, a_daemon
from tests.support.sqlite import new_sqlite

ME = a_daemon(owner="me")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(new_sqlite(tmp_path / "store.db"))) as database:
        yield database


def test_it_is_reported_at_once_and_then_once_per_interval(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = NOON
    monkeypatch.setattr(clock, "now", lambda: now)
    monkeypatch.setattr(clock, "monotonic", lambda: (now - NOON).total_seconds() + 1)
    daemons = Daemons(database)
    presence = Presence(daemons, ME, targets=tuple)
    seen = []
    for _ in range(21):
        presence.report_if_due()
        seen += [daemon.seen_at for daemon in daemons.running(now)]
        now += timedelta(seconds=1)

    assert sorted(set(seen)) == [NOON, NOON + REPORT_INTERVAL, NOON + 2 * REPORT_INTERVAL]


def test_signing_off_removes_it_and_no_other(database: Database) -> None:
    daemons = Daemons(database)
    now = clock.now()
    daemons.report(replace(ME, owner="other", seen_at=now))
    presence = Presence(daemons, ME, targets=tuple)
    presence.report_if_due()
    presence.sign_off()

    assert [daemon.owner for daemon in daemons.running(now)] == ["other"]


def test_an_unavailable_store_stops_neither_a_start_nor_a_stop(tmp_path: Path) -> None:
    with closing(Database(f"sqlite:///{tmp_path}/empty.db")) as database:
        daemons = Daemons(database)
        with pytest.raises(StoreUnavailable):
            daemons.sign_off(ME.owner, at=NOON)

        presence = Presence(daemons, ME, targets=tuple)
        presence.announce()
        presence.sign_off()


def test_what_it_has_handlers_for_is_reported_as_it_is_at_the_moment(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGHUP may change it."""
    clocks = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: clocks[0])
    targets = [Target("videos", "log")]
    daemons = Daemons(database)
    presence = Presence(daemons, ME, targets=lambda: targets)
    presence.report_if_due()
    assert [daemon.targets for daemon in daemons.running(clock.now())] == [(Target("videos", "log"),)]

    targets.append(Target("covers", "log"))
    clocks[0] += REPORT_INTERVAL.total_seconds()
    presence.report_if_due()
    assert [daemon.targets for daemon in daemons.running(clock.now())] == [tuple(targets)]
