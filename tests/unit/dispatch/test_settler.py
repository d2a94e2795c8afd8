"""The settler reports that it makes progress, also while it has nothing to do and while the store is unavailable."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from listener.core.errors import StoreFailureKind, StoreUnavailable
from listener.core.model import Settlement
from listener.dispatch import settler
from listener.store.sql_store import SqlStore
from tests.support.dispatching import delivery_states, dispatching, record_results
from tests.support.heartbeats import CountingHeartbeat
from tests.support.sqlite import new_sqlite
from tests.support.waiting import wait_until

MOMENT = timedelta(milliseconds=1)
Heartbeats = defaultdict[str, CountingHeartbeat]


class AwayStore(SqlStore):
    """The same store, but it settles nothing while ``away`` is set."""

    away = True

    def settle(self, settlements: Sequence[Settlement], *, at: datetime) -> Sequence[Settlement]:
        if self.away:
            raise StoreUnavailable("away on purpose", kind=StoreFailureKind.CONNECTION)
        return super().settle(settlements, at=at)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AwayStore]:
    new_sqlite(tmp_path / "listener.db")
    with closing(AwayStore.open(f"sqlite:///{tmp_path}/listener.db")) as store:
        yield store


@pytest.fixture
def heartbeats() -> Heartbeats:
    return defaultdict(CountingHeartbeat)


def test_an_idle_settler_reports_again_and_again(
    store: AwayStore, heartbeats: Heartbeats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settler, "IDLE_BEAT", MOMENT)
    with dispatching(store, lambda _result: None, make_heartbeat=heartbeats.__getitem__):
        wait_until(lambda: heartbeats["settle"].beats > 5)

    assert heartbeats["settle"].paused


def test_a_settler_reports_while_the_store_is_unavailable(
    store: AwayStore, heartbeats: Heartbeats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settler, "STORE_RETRY_INTERVAL", MOMENT)
    record_results(store)
    with dispatching(store, lambda _result: None, make_heartbeat=heartbeats.__getitem__):
        wait_until(lambda: heartbeats["settle"].beats > 5)
        assert delivery_states(store) == {"running": 1}
        store.away = False
        wait_until(lambda: delivery_states(store) == {"done": 1})
