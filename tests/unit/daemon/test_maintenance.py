"""Housekeeping, one turn at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from listener.core.errors import StoreFailureKind, StoreUnavailable
from listener.core.model import ClockLag, Delivery
from listener.daemon.maintenance import Housekeeping, Presence
from listener.dispatch.dispatcher import Dispatcher
from listener.dispatch.unused_offers import UnusedOffers
from listener.intake.record_log import BURST
from listener.intake.recorder import WAITING_BATCH, NullDeliverySink, Recorder
from listener.jobs.unserved_tenants import UnservedTenants
from listener.rules.retry import RetryPolicy
from listener.rules.routing import Correlation, Rule, decider
from listener.runtime.clock_guard import FIRST_DATE_TIMEOUT, SETTLING_TIME, ClockGuard
from listener.runtime.log_throttle import INTERVAL
from listener.runtime.metrics import Metrics
from listener.runtime.store_health import StoreHealth
from listener.store.daemons import Daemons
from listener.store.sql_store import SqlStore
from tests.support.builders import (
    NOON,
    a_claim,
    a_daemon,
    a_message,
    decoded_messages,
    routes_all,
)
from tests.support.clocks import Clocks, freeze_time
from tests.support.dispatching import LONG, a_dispatcher
from tests.support.logs import above_debug, events
from tests.support.sqlite import new_sqlite
from tests.support.stores import count, deliveries, next_due

HOURS, HOUR, DAY = timedelta(hours=3), timedelta(hours=1), timedelta(days=1)


class FlakyStore(SqlStore):
    """The same store, unavailable for the next ``away_for`` changes to times."""

    away_for = 0

    def reschedule_future(self, *, at: datetime, longest_query_wait: timedelta) -> int:
        self._fail_if_away()
        return super().reschedule_future(at=at, longest_query_wait=longest_query_wait)

    def correct_past(self, lag: ClockLag) -> int:
        self._fail_if_away()
        return super().correct_past(lag)

    def _fail_if_away(self) -> None:
        if self.away_for:
            self.away_for -= 1
            raise StoreUnavailable("away", kind=StoreFailureKind.CONNECTION)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def a_recorder(store: SqlStore, *, rules: Sequence[Rule] = ()) -> Recorder:
    return Recorder(store=store, rules=rules, correlation=Correlation(), sink=NullDeliverySink())


def unused_offers(store: SqlStore) -> UnusedOffers:
    return UnusedOffers(
        store=store,
        is_pulled=lambda _target: False,
        has_handler=lambda _target: True,
        may_run_elsewhere=lambda _target: False,
    )


def housekeeping(
    store: SqlStore, *, recorder: Recorder | None = None, clock_guard: ClockGuard | None = None
) -> Housekeeping:
    """Of a process that has recorded nothing itself, unless ``recorder`` has."""
    dispatcher = a_dispatcher(store, lambda _result: None)
    return Housekeeping(
        dispatcher=dispatcher,
        recorder=recorder or a_recorder(store),
        store=store,
        store_health=StoreHealth(Metrics(), call_limit=LONG),
        presence=Presence(Daemons(store.database), a_daemon(), targets=tuple),
        unused_offers=unused_offers(store),
        unserved_tenants=UnservedTenants(store=store, served=(), clock_check=ClockGuard()),
        lease=LONG,
        longest_query_wait=HOUR,
        clock_guard=clock_guard or ClockGuard(),
        stop=threading.Event(),
    )


def is_due(store: SqlStore, clocks: Clocks) -> bool:
    due = next_due(store)
    assert due is not None
    return due <= clocks.now


def test_after_a_step_back_what_was_due_is_due(tmp_path: Path, clocks: Clocks) -> None:
    with closing(FlakyStore.open(new_sqlite(tmp_path / "store.db"))) as opened:
        store = FlakyStore(opened.database)
        loop = housekeeping(store)
        loop.turn()
        store.record(decoded_messages(1), routes_all(), at=clocks.now)
        clocks.jump(-HOURS)
        store.away_for = 1
        loop.turn()
        assert not is_due(store, clocks)
        loop.turn()

        assert is_due(store, clocks)


def test_a_step_back_while_no_process_ran_is_made_up_for_at_the_start(tmp_path: Path, clocks: Clocks) -> None:
    with closing(SqlStore.open(new_sqlite(tmp_path / "store.db"))) as store:
        store.record(decoded_messages(1), routes_all(), at=clocks.now)
        clocks.jump(-HOURS)
        housekeeping(store).turn()

        assert is_due(store, clocks)


def corrected_after_all_turns(
    store: FlakyStore, clocks: Clocks, *, loop: Housekeeping, dispatcher: Dispatcher, claimed: Delivery
) -> Delivery:
    """The delivery once its times are corrected. Until then it has no limit of age, though the store is away once."""
    limits = [dispatcher.policy(claimed).max_elapsed]
    store.away_for = 1
    for passed in (timedelta(0), timedelta(0), SETTLING_TIME):
        clocks.tick(passed)
        loop.turn()
        limits.append(dispatcher.policy(claimed).max_elapsed)
    assert limits == [timedelta.max] * 4
    corrected = store.find_delivery(claimed.id)
    assert corrected is not None
    return corrected


def test_what_was_written_while_the_clock_was_behind_is_never_too_old(tmp_path: Path, clocks: Clocks) -> None:
    with closing(FlakyStore.open(new_sqlite(tmp_path / "store.db"))) as opened:
        store, guard = FlakyStore(opened.database), ClockGuard()
        loop = housekeeping(store, clock_guard=guard)
        dispatcher = a_dispatcher(store, lambda _result: None, policy=RetryPolicy(), clock_check=guard)
        loop.turn()
        clocks.jump(-2 * DAY)
        guard.confirm(clocks.true_time)
        store.record(decoded_messages(1), routes_all(), at=clocks.now)
        (claimed,) = store.claim(a_claim(until=clocks.now + DAY), at=clocks.now)
        clocks.jump(2 * DAY)
        corrected = corrected_after_all_turns(
            store, clocks, loop=loop, dispatcher=dispatcher, claimed=claimed
        )

        assert corrected.attempts_since == NOON
        assert dispatcher.policy(corrected).max_elapsed == DAY


def test_a_process_that_starts_after_the_correction_takes_nothing_for_too_old(
    tmp_path: Path, clocks: Clocks
) -> None:
    with closing(FlakyStore.open(new_sqlite(tmp_path / "store.db"))) as opened:
        store = FlakyStore(opened.database)
        store.record(decoded_messages(1, prefix="before"), routes_all(), at=clocks.now, claim=a_claim())
        clocks.jump(-2 * DAY)
        store.record(decoded_messages(1, prefix="meanwhile"), routes_all(), at=clocks.now)
        (claimed,) = store.claim(a_claim(until=clocks.now + DAY), at=clocks.now)
        clocks.jump(2 * DAY)
        clocks.tick(timedelta(seconds=1))
        guard = ClockGuard()
        loop = housekeeping(store, clock_guard=guard)
        dispatcher = a_dispatcher(store, lambda _result: None, policy=RetryPolicy(), clock_check=guard)
        guard.confirm(clocks.true_time)
        corrected = corrected_after_all_turns(
            store, clocks, loop=loop, dispatcher=dispatcher, claimed=claimed
        )

        assert NOON <= corrected.attempts_since <= clocks.now
        assert dispatcher.policy(corrected).max_elapsed == DAY


def test_waiting_results_are_decided_about_without_a_pause_as_long_as_more_are_due(
    tmp_path: Path, clocks: Clocks
) -> None:
    number = 2 * WAITING_BATCH + 1
    rules = (Rule(name="all", handlers=("log",)),)
    with closing(SqlStore.open(new_sqlite(tmp_path / "store.db"))) as store:
        waits = decider(rules, Correlation(wait=HOUR), now=clocks.now - HOURS, wait_over=False)
        store.record(decoded_messages(number), waits, at=clocks.now - HOURS)
        guard = ClockGuard()
        guard.confirm(clocks.true_time)
        loop = housekeeping(store, recorder=a_recorder(store, rules=rules), clock_guard=guard)

        assert [loop.turn() for _ in range(3)] == [True, True, False]
        assert count(store, deliveries) == number


def test_a_clock_that_is_ahead_for_a_while_ends_no_wait_for_a_job(tmp_path: Path, clocks: Clocks) -> None:
    rules = (Rule(name="all", handlers=("log",)),)
    with closing(SqlStore.open(new_sqlite(tmp_path / "store.db"))) as store:
        guard, recorder = (
            ClockGuard(),
            Recorder(store=store, rules=rules, correlation=Correlation(wait=HOUR), sink=NullDeliverySink()),
        )
        loop = housekeeping(store, recorder=recorder, clock_guard=guard)
        guard.confirm(clocks.true_time)
        recorder.record("results", [a_message()])
        delivered = []
        for move, by in ((clocks.jump, DAY), (clocks.jump, -DAY), (clocks.tick, HOUR)):
            move(by)
            loop.turn()
            delivered.append(count(store, deliveries))

    assert delivered == [0, 0, 1]


def test_where_no_service_tells_the_time_a_wait_for_a_job_ends_all_the_same(
    tmp_path: Path, clocks: Clocks
) -> None:
    rules, wait = (Rule(name="all", handlers=("log",)),), FIRST_DATE_TIMEOUT / 2
    with closing(SqlStore.open(new_sqlite(tmp_path / "store.db"))) as store:
        recorder = Recorder(
            store=store, rules=rules, correlation=Correlation(wait=wait), sink=NullDeliverySink()
        )
        loop = housekeeping(store, recorder=recorder)
        recorder.record("results", [a_message()])
        delivered = []
        for passed in (wait, FIRST_DATE_TIMEOUT):
            clocks.tick(passed)
            loop.turn()
            delivered.append(count(store, deliveries))

    assert delivered == [0, 1]


def test_the_size_of_a_flood_is_logged_once_its_minute_is_over(tmp_path: Path) -> None:
    with closing(SqlStore.open(new_sqlite(tmp_path / "store.db"))) as store, freeze_time() as time:
        recorder = a_recorder(store)
        loop = housekeeping(store, recorder=recorder)
        garbage = [a_message(message_id=f"m{number}", body="garbage") for number in range(BURST + 5)]
        with capture_logs() as logs:
            recorder.record("q", garbage)
            loop.turn()
            before = events(above_debug(logs)).count("message.quarantined")
            time.tick(INTERVAL)
            loop.turn()

        flood = [line for line in above_debug(logs) if line["event"] == "message.quarantined"]
        assert (before, len(flood)) == (BURST, BURST + 1)
        assert (flood[-1]["queue"], flood[-1]["repeated"]) == ("q", 5)
