"""The settler reports that it makes progress, also while it has nothing to do and while the store is unavailable."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from listener.core import clock
from listener.core.errors import StoreFailureKind, StoreUnavailable
from listener.core.model import Claim, Done, Settlement
from listener.dispatch import settler as settler_module
from listener.dispatch.inflight import InFlight
from listener.dispatch.settler import Settler
from listener.dispatch.store_guard import StoreGuard
from listener.runtime.metrics import Metrics
from listener.store.sql_store import SqlStore
from tests.support.builders import decoded_messages, routes_all
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


class Collecting(threading.Event):
    """Outcomes arrive while the settler collects them."""

    def __init__(self) -> None:
        super().__init__()
        self.arrive: Callable[[], None] = lambda: None
        self.count = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.count += 1
        self.arrive()
        return False


def settling(store: SqlStore, *, owned: int) -> tuple[Settler, list[Settlement], list[int], Collecting]:
    """A settler that owns so many deliveries, of two that slow handlers would get; their outcomes; the sizes of the
    batches that are settled; and its pauses."""
    store.record(decoded_messages(owned), routes_all(), at=clock.now())
    claimed = store.claim(Claim(owner="one", until=clock.now() + MOMENT, limit=owned), at=clock.now())
    in_flight, sizes, collecting = InFlight(2), list[int](), Collecting()
    in_flight.take(claimed, reserved=0, leased=clock.uptime())
    settler = Settler(
        store=store,
        in_flight=in_flight,
        meter=Metrics(),
        guard=StoreGuard(),
        on_settled=lambda settlements: sizes.append(len(settlements)),
        cut_short=collecting,
        heartbeat=CountingHeartbeat(),
    )
    outcomes = [Settlement(delivery=each, outcome=Done()) for each in claimed]
    return settler, outcomes, sizes, collecting


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
    monkeypatch.setattr(settler_module, "IDLE_BEAT", MOMENT)
    with dispatching(store, lambda _result: None, make_heartbeat=heartbeats.__getitem__):
        wait_until(lambda: heartbeats["settle"].beats > 5)

    assert heartbeats["settle"].paused


def test_a_settler_reports_while_the_store_is_unavailable(
    store: AwayStore, heartbeats: Heartbeats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settler_module, "STORE_RETRY_INTERVAL", MOMENT)
    record_results(store)
    with dispatching(store, lambda _result: None, make_heartbeat=heartbeats.__getitem__):
        wait_until(lambda: heartbeats["settle"].beats > 5)
        assert delivery_states(store) == {"running": 1}
        store.away = False
        wait_until(lambda: delivery_states(store) == {"done": 1})


def test_an_outcome_is_written_at_once(store: AwayStore) -> None:
    store.away = False
    settler, outcomes, sizes, collecting = settling(store, owned=2)
    settler.start()
    for outcome in outcomes:
        settler.put(outcome)
    settler.end()

    assert (sum(sizes), collecting.count) == (2, 0)
    assert delivery_states(store) == {"done": 2}


def test_outcomes_of_a_deep_queue_are_written_together(store: AwayStore) -> None:
    store.away = False
    settler, outcomes, sizes, collecting = settling(store, owned=20)

    def arrive() -> None:
        for outcome in outcomes[1:]:
            settler.put(outcome)

    collecting.arrive = arrive
    settler.start()
    settler.put(outcomes[0])
    wait_until(lambda: sizes == [20])
    settler.end()

    assert collecting.count == 1
    assert delivery_states(store) == {"done": 20}
