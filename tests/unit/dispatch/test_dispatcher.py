"""claim → handle → settle, with a real store and handlers that run in this process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener.core import clock
from listener.core.errors import Reject, Retry, StoreFailureKind, StoreUnavailable, Unavailable
from listener.core.model import Claim, Delivery, JobResult, Message, RetryAfter, Settlement, Target
from listener.core.ports import AgeCheck
from listener.dispatch import claimer
from listener.dispatch.attempt import HandlerBinding
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.dispatch.dispatcher import Dispatcher
from listener.dispatch.handlers import Handlers
from listener.dispatch.lease_keeper import RENEWALS_PER_LEASE
from listener.intake.recorder import Recorder
from listener.rules import retry
from listener.rules.retry import RetryPolicy
from listener.rules.routing import Correlation, Rule
from listener.runtime.clock_guard import ClockGuard
from listener.settings.sections import HandlerSettings, RouteSettings
from listener.store.database import Database
from listener.store.deliveries import Deliveries
from listener.store.sql_store import SqlStore
from listener.store.tables import EPOCH
from tests.support.builders import (
    a_callback,
    a_message,
    decoded_messages,
    routes_all,
    wrapped,
)
from tests.support.clocks import RIGHT, UNKNOWN, WRONG, Clocks, let_pass, set_uptime
from tests.support.dispatching import (
    LONG,
    NO_BACKOFF,
    QUICK,
    TARGET,
    a_dispatcher,
    delivery_rows,
    delivery_states,
    dispatching,
    record_results,
)
from tests.support.noting import imported_noting, install_noting
from tests.support.sqlite import new_sqlite, new_sqlite_store
from tests.support.waiting import wait_until

NO_TIME = timedelta(0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


class Calls:
    """A handler that raises the errors it is given, one a call, and then returns."""

    def __init__(self, *errors: BaseException) -> None:
        self.results: list[JobResult] = []
        self._errors = list(errors)

    def __call__(self, result: JobResult) -> None:
        self.results.append(result)
        if self._errors:
            raise self._errors.pop(0)


class FlakyStore(SqlStore):
    """The same store, unavailable for the next ``away_for`` settlements or renewals."""

    away_for = 0

    def renew(self, running: Sequence[Delivery], *, until: datetime) -> None:
        if self.away_for:
            self.away_for -= 1
            raise StoreUnavailable("away", kind=StoreFailureKind.CONNECTION)
        super().renew(running, until=until)

    def settle(self, settlements: Sequence[Settlement], *, at: datetime) -> Sequence[Settlement]:
        if self.away_for:
            self.away_for -= 1
            raise StoreUnavailable("away", kind=StoreFailureKind.CONNECTION)
        return super().settle(settlements, at=at)


def test_every_delivery_is_handled_once(store: SqlStore) -> None:
    handle = Calls()
    record_results(store, 200)

    with dispatching(store, handle):
        wait_until(lambda: delivery_states(store) == {"done": 200})

    assert len({result.key for result in handle.results}) == len(handle.results) == 200


def test_a_failure_is_retried_with_the_same_key(store: SqlStore) -> None:
    handle = Calls(ValueError("boom"), Retry("not yet", after=0))
    record_results(store)

    with dispatching(store, handle):
        wait_until(lambda: delivery_states(store) == {"done": 1})

    assert [result.attempt for result in handle.results] == [1, 2, 3]
    assert len({result.key for result in handle.results}) == 1
    assert delivery_rows(store)[0].failures == 2


def test_attempts_end(store: SqlStore) -> None:
    record_results(store)
    policy = RetryPolicy(max_attempts=2, backoff=NO_BACKOFF)

    with dispatching(store, Calls(*[ValueError("boom")] * 9), policy=policy):
        wait_until(lambda: delivery_states(store) == {"dead": 1})

    row = delivery_rows(store)[0]
    assert (row.failures, row.last_error) == (
        2,
        "no attempts left (failures: 2, max_attempts: 2); last error: ValueError: boom",
    )


def test_reject_is_a_dead_letter_at_once(store: SqlStore) -> None:
    record_results(store)

    with dispatching(store, Calls(Reject("never"))):
        wait_until(lambda: delivery_states(store) == {"dead": 1})

    assert (delivery_rows(store)[0].attempt, delivery_rows(store)[0].last_error) == (1, "Reject: never")


def test_outage_never_spends_an_attempt(store: SqlStore) -> None:
    handle = Calls(*[Unavailable("database down", after=0)] * 30)
    record_results(store)

    with dispatching(store, handle, policy=RetryPolicy(max_attempts=1)):
        wait_until(lambda: delivery_states(store) == {"done": 1})

    assert (len(handle.results), delivery_rows(store)[0].attempt, delivery_rows(store)[0].failures) == (
        31,
        31,
        0,
    )


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_not_even_a_handlers_exit_ends_the_worker(store: SqlStore, error: BaseException) -> None:
    record_results(store, 5)

    with dispatching(store, Calls(error), concurrency=1):
        wait_until(lambda: delivery_states(store) == {"done": 5})

    assert sum(row.failures for row in delivery_rows(store)) == 1


def test_an_error_that_cannot_say_itself_is_a_failure(store: SqlStore) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    record_results(store)
    with dispatching(store, Calls(Mute(), ValueError("\0\ud800"))):
        wait_until(lambda: delivery_states(store) == {"done": 1})

    assert delivery_rows(store)[0].failures == 2


def test_a_delivery_without_a_handler_waits_for_a_process_that_has_one(store: SqlStore) -> None:
    record_results(store)

    with dispatching(store, Calls(), bindings={}):
        wait_until(lambda: delivery_rows(store)[0].last_error is not None)

    row = delivery_rows(store)[0]
    assert (row.state, row.failures) == ("pending", 0)
    assert "no route 'videos' with a handler 'log'" in row.last_error
    assert row.next_at > clock.now()


def test_a_delivery_that_no_process_has_a_handler_for_is_a_dead_letter_after_a_while(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(monkeypatch)
    record_results(store)
    with dispatching(store, Calls(), bindings={}):
        wait_until(lambda: store.without_handler() == {TARGET: 1})
    clocks.tick(LONG)

    with dispatching(store, Calls(), bindings={}):
        wait_until(lambda: delivery_states(store) == {"dead": 1})

    row = delivery_rows(store)[0]
    assert row.last_error.startswith("dispatch.no_handler_timeout exceeded")
    assert (row.failures, store.without_handler()) == (1, {})


@pytest.mark.parametrize("outage", [False, True])
def test_a_delivery_whose_handler_a_running_process_may_have_goes_on_waiting(
    store: SqlStore, outage: bool
) -> None:
    def may_run_elsewhere(_target: Target) -> bool:
        if outage:
            raise StoreUnavailable("away", kind=StoreFailureKind.CONNECTION)
        return True

    record_results(store)
    options: dict[str, Any] = {"bindings": {}, "no_handler_timeout": NO_TIME}
    with dispatching(store, Calls(), **options, may_run_elsewhere=may_run_elsewhere):
        wait_until(lambda: store.without_handler() == {TARGET: 1})

    found = Deliveries(store.database)
    found.retry([delivery.id for delivery in found.page()], at=clock.now())
    with dispatching(store, Calls(), **options):
        wait_until(lambda: delivery_states(store) == {"dead": 1})


def test_a_process_without_the_handler_leaves_the_delivery_to_others(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows best when the delivery is due again, and would always be the first to claim it."""
    monkeypatch.setattr(retry, "NO_HANDLER_WAIT", NO_TIME)
    monkeypatch.setattr(claimer, "IDLE_INTERVAL", LONG)
    record_results(store)

    with dispatching(store, Calls(), bindings={}):
        wait_until(lambda: store.without_handler() == {TARGET: 1})
        with dispatching(store, Calls()):
            wait_until(lambda: delivery_states(store) == {"done": 1})

    assert delivery_rows(store)[0].attempt == 2


def test_only_a_clock_that_is_right_ends_the_wait_for_a_handler(store: SqlStore) -> None:
    record_results(store)

    with dispatching(store, Calls(), bindings={}, no_handler_timeout=NO_TIME, clock_check=UNKNOWN):
        wait_until(lambda: delivery_rows(store)[0].last_error is not None)

    assert delivery_states(store) == {"pending": 1}


@pytest.mark.parametrize("has_handler", [False, True])
def test_a_stop_ends_the_wait_for_a_handler_only_where_there_is_one(
    store: SqlStore, has_handler: bool
) -> None:
    """Processes without the handler may restart as often as they like."""
    missing, found = Target("old", "log"), Deliveries(store.database)
    store.record(decoded_messages(1, prefix="old"), routes_all(missing), at=clock.now())
    with dispatching(store, Calls(), bindings={}):
        wait_until(lambda: store.without_handler() == {missing: 1})
    began, end = threading.Event(), threading.Event()

    def occupy_the_worker(_result: JobResult) -> None:
        began.set()
        assert end.wait(30)

    binding = HandlerBinding(run=occupy_the_worker, policy=QUICK)
    bindings = {TARGET: binding} | ({missing: binding} if has_handler else {})
    with dispatching(store, Calls(), bindings=bindings, concurrency=1) as dispatcher:
        record_results(store)
        assert began.wait(30)
        found.retry([delivery.id for delivery in found.page()], at=clock.now())
        wait_until(lambda: delivery_states(store) == {"running": 2})
        dispatcher.stop(NO_TIME)
        end.set()

    assert store.without_handler() == ({} if has_handler else {missing: 1})


def test_a_delivery_that_is_enriched_during_a_reload_goes_to_the_new_handler(
    store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_noting(monkeypatch, tmp_path)
    enriching, reloaded = threading.Event(), threading.Event()

    def enrich(delivery: Delivery) -> Delivery:
        enriching.set()
        assert reloaded.wait(30)
        return delivery

    def route(label: str) -> RouteSettings:
        handler = {"use": "noting", "name": TARGET.handler, "label": label}
        return RouteSettings(name=TARGET.route, handlers=(HandlerSettings.model_validate(handler),))

    handlers = Handlers([route("one")], runner=CoroutineRunner())
    binding = HandlerBinding(run=handlers.bind(TARGET), policy=QUICK, enrich=enrich)
    record_results(store)
    with dispatching(store, Calls(), bindings={TARGET: binding}):
        assert enriching.wait(30)
        handlers.use(handlers.load([route("successor")]))
        wait_until(lambda: "closed one" in imported_noting().events)
        reloaded.set()
        wait_until(lambda: delivery_states(store) == {"done": 1})

    assert imported_noting().events[-1] == "returned successor"
    assert delivery_rows(store)[0].attempt == 1


def test_a_handler_that_hangs_is_replaced_and_counted(store: SqlStore) -> None:
    hanging, go_on = threading.Event(), threading.Event()
    abandoned: list[threading.Thread] = []

    def handle(result: JobResult) -> None:
        if result.job_id.endswith("-0") and result.attempt == 1:
            abandoned.append(threading.current_thread())
            hanging.set()
            go_on.wait(60)
            raise ValueError("too late to matter")

    record_results(store, 3)
    timeout = timedelta(milliseconds=20)
    with dispatching(
        store,
        handle,
        concurrency=1,
        lease=timedelta(seconds=1),
        handler_timeout=timeout,
        overrun_timeout=timeout,
    ) as dispatcher:
        assert hanging.wait(30)
        wait_until(lambda: tended(dispatcher) and delivery_states(store) == {"done": 3})
        assert not go_on.is_set()
        go_on.set()
        abandoned[0].join(30)  # so that it logs nothing during a later test

    assert not abandoned[0].is_alive()
    first = delivery_rows(store)[0]
    assert (first.attempt, first.failures) == (2, 1)


def tended(dispatcher: Dispatcher) -> bool:
    dispatcher.maintain_leases()
    return True


class Rounds:
    """Rounds of the lease keeper, a quarter of a lease after one another."""

    def __init__(self, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
        self._dispatcher, self._monkeypatch = dispatcher, monkeypatch

    def until_ready(self) -> Rounds:
        """Those after which a process rescues as soon as a lease has expired."""
        for _ in range(3):
            self._next()
        return self

    def until_rescued(self, store: SqlStore) -> int:
        """How many pass while a neighbour's lease has expired, the one included that rescues its delivery."""
        store.claim(Claim(owner="a neighbour", until=EPOCH, limit=1), at=clock.now())
        for count in range(1, 20):
            self._next()
            if delivery_states(store) == {"pending": 1}:
                return count
        raise AssertionError(f"not rescued: {delivery_states(store)}")

    def _next(self) -> None:
        self._dispatcher.maintain_leases()
        let_pass(LONG / 4 + timedelta(milliseconds=1), self._monkeypatch)


def test_an_expired_lease_is_rescued_at_once(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher = a_dispatcher(store, Calls())
    record_results(store)

    assert Rounds(dispatcher, monkeypatch).until_ready().until_rescued(store) == 1


def test_a_new_process_lets_others_first_renew_their_leases(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = a_dispatcher(store, Calls())
    record_results(store)

    assert Rounds(dispatcher, monkeypatch).until_rescued(store) == 2


def test_after_a_stall_others_may_renew_their_leases_for_the_time_of_a_lease(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = a_dispatcher(store, Calls())
    record_results(store)
    rounds = Rounds(dispatcher, monkeypatch).until_ready()
    let_pass(LONG, monkeypatch)

    assert rounds.until_rescued(store) == 1 + RENEWALS_PER_LEASE


def test_after_an_outage_of_the_store_others_may_renew_their_leases_for_the_time_of_a_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(FlakyStore.open(new_sqlite(tmp_path / "store.db"))) as opened:
        store = FlakyStore(opened.database)
        dispatcher = a_dispatcher(store, Calls())
        record_results(store)
        rounds = Rounds(dispatcher, monkeypatch).until_ready()
        store.away_for = 4
        for quarter in range(1, 5):  # it refuses at once, so the rounds are as prompt as ever
            let_pass(LONG / 4, monkeypatch)
            tended(dispatcher)
            assert store.away_for == 4 - quarter

        assert rounds.until_rescued(store) == 1 + RENEWALS_PER_LEASE


def test_leases_end_even_where_every_round_takes_long(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = a_dispatcher(store, Calls())
    record_results(store)
    store.claim(Claim(owner="a neighbour", until=EPOCH, limit=1), at=clock.now())
    for _ in range(2):
        let_pass(LONG, monkeypatch)
        tended(dispatcher)

    assert delivery_states(store) == {"pending": 1}


@pytest.mark.parametrize(
    ("check", "size"),
    [
        pytest.param(RIGHT, timedelta(hours=-3), id="set-back"),
        pytest.param(WRONG, timedelta(hours=-3), id="behind"),
        pytest.param(WRONG, timedelta(days=4), id="ahead"),
    ],
)
def test_a_jump_of_the_clock_neither_holds_up_a_lease_nor_ends_it_early(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch, check: AgeCheck, size: timedelta
) -> None:
    clocks = Clocks(monkeypatch)
    dispatcher = a_dispatcher(store, Calls(), clock_check=check)
    record_results(store, 2)
    dead, live = (
        store.claim(Claim(owner=owner, until=clocks.now + LONG, limit=1), at=clocks.now)
        for owner in ("dead", "live")
    )
    clocks.jump(size)
    seen = []
    for _ in range(16):  # four lease lengths
        tended(dispatcher)
        seen.append([row.state for row in delivery_rows(store)])
        clocks.tick(LONG / 4)
        let_pass(LONG / 4, monkeypatch)
        store.renew(live, until=clocks.true_time + LONG)  # by a neighbour whose clock is right

    assert [delivery.id for delivery in dead] == [1]
    assert seen[:8] == [["running", "running"]] * 8
    assert seen[-1] == ["pending", "running"]


class Turns:
    """A dispatcher whose housekeeping runs as in the daemon, with a clock guard, and clocks that a test sets."""

    def __init__(self, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clocks, self._monkeypatch = Clocks(monkeypatch), monkeypatch
        self._store, self._guard = store, ClockGuard()
        self._dispatcher = a_dispatcher(store, Calls(), clock_check=self._guard)

    def turn(self, after: timedelta, *, renews: bool = True) -> Counter[str]:
        """One turn so much later, with or without a renewal; returns the states of deliveries."""
        self.clocks.tick(after)
        let_pass(after, self._monkeypatch)
        self._guard.watch()
        if renews:
            tended(self._dispatcher)
        return delivery_states(self._store)

    def until_rescued(self) -> int:
        """After how many further renewals in time a delivery is pending."""
        for count in range(1, 20):
            if self.turn(LONG / 4) == {"pending": 1}:
                return count
        raise AssertionError(f"not rescued: {delivery_states(self._store)}")


def test_a_jump_of_the_clock_gives_others_the_time_of_a_lease_anew(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stall before it is almost over, but their leases were given by the clock as it was."""
    turns = Turns(store, monkeypatch)
    record_results(store)
    now = turns.clocks.now
    theirs = store.claim(Claim(owner="a neighbour", until=now + LONG, limit=1), at=now)
    for quarters in (1, 1, 1, 5, 1, 1, 1):
        store.renew(theirs, until=turns.clocks.now + LONG)
        turns.turn(quarters * LONG / 4)
    turns.clocks.jump(timedelta(days=2))

    assert turns.until_rescued() == 1 + RENEWALS_PER_LEASE


def test_leases_that_others_gave_while_the_clock_was_behind_between_two_renewals_are_not_rescued_at_once(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns(store, monkeypatch)
    record_results(store)
    for _ in range(3):
        turns.turn(LONG / 4)
    turns.clocks.jump(timedelta(hours=-3))
    turns.turn(LONG / 16, renews=False)
    until = turns.clocks.now + LONG
    assert store.claim(Claim(owner="a neighbour", until=until, limit=1), at=turns.clocks.true_time)
    turns.clocks.jump(timedelta(hours=3))
    turns.turn(LONG / 16, renews=False)

    assert turns.until_rescued() == 1 + RENEWALS_PER_LEASE


class SetDuringRenewal(SqlStore):
    """While it renews leases, somebody sets the clock."""

    set_clock: Callable[[], None] | None = None

    def renew(self, deliveries: Sequence[Delivery], *, until: datetime) -> None:
        super().renew(deliveries, until=until)
        if self.set_clock:
            self.set_clock()


class NotesShifts(SqlStore):
    """A store that takes its time with a renewal, and notes by how much leases of applications are shifted."""

    take_time: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.shifts: list[timedelta] = []

    def renew(self, deliveries: Sequence[Delivery], *, until: datetime) -> None:
        super().renew(deliveries, until=until)
        self.take_time()

    def shift_pulled_leases(self, by: timedelta, *, daemon: str) -> int:
        self.shifts.append(by)
        return super().shift_pulled_leases(by, daemon=daemon)


def test_a_renewal_that_takes_long_is_no_jump_of_the_clock(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks, noting = Clocks(monkeypatch), NotesShifts(store.database)
    dispatcher = a_dispatcher(noting, Calls())

    def pass_time(time: timedelta) -> None:
        clocks.tick(time)
        let_pass(time, monkeypatch)

    noting.take_time = lambda: pass_time(timedelta(seconds=5))
    for _ in range(3):
        tended(dispatcher)
    clocks.jump(timedelta(hours=1))
    tended(dispatcher)

    assert noting.shifts == [timedelta(hours=1)]


def test_a_clock_that_is_set_right_during_a_renewal_ends_no_lease_of_this_process(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was 3 h behind since the round before, and only for so long: no round sees a jump."""
    clocks, setting = Clocks(monkeypatch), SetDuringRenewal(store.database)
    running, go_on = threading.Event(), threading.Event()

    def handle(_result: JobResult) -> None:
        running.set()
        go_on.wait(60)

    record_results(store)
    with dispatching(setting, handle) as dispatcher:
        assert running.wait(30)
        Rounds(dispatcher, monkeypatch).until_ready()
        clocks.jump(timedelta(hours=-3))
        setting.set_clock = lambda: clocks.jump(timedelta(hours=3))
        dispatcher.maintain_leases()

        assert [(row.state, row.failures) for row in delivery_rows(store)] == [("running", 0)]
        go_on.set()


@pytest.mark.parametrize(
    ("check", "state"),
    [(RIGHT, "dead"), (UNKNOWN, "pending"), (WRONG, "pending")],
    ids=["right", "unknown", "wrong"],
)
def test_a_delivery_is_only_too_old_if_the_clock_is_right(
    store: SqlStore, check: AgeCheck, state: str
) -> None:
    store.record(decoded_messages(1), routes_all(), at=clock.now() - timedelta(days=31))

    with dispatching(store, Calls(ValueError("boom")), policy=RetryPolicy(), clock_check=check):
        wait_until(lambda: delivery_rows(store)[0].last_error is not None)

    assert delivery_states(store) == {state: 1}


@dataclass(frozen=True)
class JumpsThen:
    """Confirms the clock, which is set a month ahead right after that."""

    clocks: Clocks
    confirmed = True
    wrong = False
    steps_forward = 0

    def confirms(self, _at: datetime) -> bool:
        self.clocks.jump(timedelta(days=31))
        return True


def test_a_clock_that_jumps_right_after_it_was_confirmed_makes_no_delivery_too_old(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(monkeypatch)
    store.record(decoded_messages(1), routes_all(), at=clocks.now)

    with dispatching(store, Calls(ValueError("boom")), policy=RetryPolicy(), clock_check=JumpsThen(clocks)):
        wait_until(lambda: delivery_rows(store)[0].last_error is not None)

    assert delivery_states(store) == {"pending": 1}


def test_leases_are_renewed_while_a_handler_runs(store: SqlStore) -> None:
    running, go_on = threading.Event(), threading.Event()

    def handle(_result: JobResult) -> None:
        running.set()
        go_on.wait(60)

    record_results(store)
    with dispatching(store, handle) as dispatcher:
        assert running.wait(30)
        before = delivery_rows(store)[0].lease_until
        dispatcher.maintain_leases()
        after = delivery_rows(store)[0].lease_until
        go_on.set()
        wait_until(lambda: delivery_states(store) == {"done": 1})

    assert after > before


class Occupied:
    """A handler whose first call, that of the first delivery, lasts until ``go_on`` is set."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        self.attempts: list[tuple[str, int]] = []  #: job IDs and numbers

    def __call__(self, result: JobResult) -> None:
        self.attempts.append((result.job_id, result.attempt))
        if not self.began.is_set():
            self.began.set()
            self.go_on.wait(60)


def test_no_handler_is_called_once_the_lease_has_expired(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a process that was stopped, whatever its wall clock shows afterwards."""
    handle, before = Occupied(), clock.uptime()
    record_results(store, 2)
    with dispatching(store, handle, concurrency=1) as dispatcher:
        assert handle.began.wait(30)
        wait_until(lambda: dispatcher.in_flight == 2)
        set_uptime(before + 2 * LONG, monkeypatch)
        dispatcher.maintain_leases()  # too late
        handle.go_on.set()
        wait_until(lambda: delivery_states(store) == {"done": 2})

    assert [attempt for _, attempt in handle.attempts] == [1, 2]
    assert [(row.attempt, row.failures) for row in delivery_rows(store)] == [(1, 0), (2, 0)]


def test_what_another_process_has_taken_over_is_left_to_it(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, before = Occupied(), clock.uptime()
    record_results(store, 2)
    dispatcher = a_dispatcher(store, handle, concurrency=1)
    dispatcher.start()
    dispatcher.claim_once()
    assert handle.began.wait(30)
    rescued = store.rescue_expired(retry_now, at=clock.now() + 2 * LONG, limit=10)
    theirs = store.claim(Claim(owner="a neighbour", until=EPOCH, limit=2), at=clock.now() + 3 * LONG)
    set_uptime(before + 2 * LONG, monkeypatch)
    handle.go_on.set()
    wait_until(lambda: dispatcher.in_flight == 0)
    dispatcher.stop(NO_TIME)
    dispatcher.end()

    assert (len(rescued), [each.attempt for each in theirs]) == (2, [2, 2])
    assert [attempt for _, attempt in handle.attempts] == [1]
    assert [(row.state, row.owner) for row in delivery_rows(store)] == [("running", "a neighbour")] * 2


def test_a_lease_that_is_renewed_in_time_lasts_as_long_again(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, before = Occupied(), clock.uptime()
    record_results(store, 2)
    with dispatching(store, handle, concurrency=1) as dispatcher:
        assert handle.began.wait(30)
        wait_until(lambda: dispatcher.in_flight == 2)
        for quarters in (3, 6):
            set_uptime(before + quarters * LONG / 4, monkeypatch)
            dispatcher.maintain_leases()
        handle.go_on.set()
        wait_until(lambda: delivery_states(store) == {"done": 2})

    assert [attempt for _, attempt in handle.attempts] == [1, 1]


def retry_now(_delivery: Delivery) -> RetryAfter:
    return RetryAfter(wait=NO_TIME, reason="the lease expired")


def test_stop_lets_a_handler_finish_within_the_shutdown_timeout(store: SqlStore) -> None:
    running, go_on = threading.Event(), threading.Event()

    def handle(_result: JobResult) -> None:
        running.set()
        go_on.wait(60)

    record_results(store, 30)
    dispatcher = a_dispatcher(store, handle, concurrency=1)
    dispatcher.start()
    assert dispatcher.claim_once() == 17
    assert running.wait(30)
    threading.Timer(0.05, go_on.set).start()

    unfinished = dispatcher.stop(timedelta(seconds=30))
    dispatcher.end()

    assert (unfinished, delivery_states(store)) == (0, {"done": 1, "pending": 29})
    assert {
        (row.attempt, row.failures, row.owner) for row in delivery_rows(store) if row.state == "pending"
    } == {
        (0, 0, None),
        (1, 0, None),
    }


def test_stop_releases_what_does_not_finish(store: SqlStore) -> None:
    running, go_on = threading.Event(), threading.Event()

    def handle(_result: JobResult) -> None:
        running.set()
        go_on.wait(60)

    record_results(store)
    dispatcher = a_dispatcher(store, handle)
    dispatcher.start()
    dispatcher.claim_once()
    assert running.wait(30)

    unfinished = dispatcher.stop(NO_TIME)
    dispatcher.end()
    go_on.set()

    row = delivery_rows(store)[0]
    assert (unfinished, row.state, row.failures, row.owner) == (1, "pending", 0, None)
    assert "stopped before the handler finished" in row.last_error


def test_a_stop_counts_running_handlers_however_slowly_the_store_takes_the_others_back(
    store: SqlStore,
) -> None:
    running, go_on = threading.Event(), threading.Event()

    def handle(_result: JobResult) -> None:
        running.set()
        go_on.wait(60)

    record_results(store, 3)
    dispatcher = a_dispatcher(store, handle, concurrency=1)
    dispatcher.start()
    assert dispatcher.claim_once() == 3
    assert running.wait(30)

    with store.database.write():
        unfinished = dispatcher.stop(NO_TIME)
    go_on.set()
    dispatcher.end()

    assert unfinished == 1


def test_nothing_is_claimed_after_stop(store: SqlStore) -> None:
    dispatcher = a_dispatcher(store, Calls())
    dispatcher.start()
    dispatcher.stop(NO_TIME)
    record_results(store)

    assert (dispatcher.claim(5), dispatcher.claim_once()) == (None, 0)
    dispatcher.end()
    assert delivery_states(store) == {"pending": 1}


def test_what_intake_claimed_before_a_stop_is_released(store: SqlStore) -> None:
    dispatcher = a_dispatcher(store, Calls())
    dispatcher.start()
    claim = dispatcher.claim(1)
    assert claim is not None
    summary = store.record(decoded_messages(1), routes_all(), at=clock.now(), claim=claim)

    dispatcher.stop(NO_TIME)
    dispatcher.take(claim, summary.claimed)
    dispatcher.end()

    assert delivery_states(store) == {"pending": 1}


def test_settling_is_repeated_until_the_store_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.dispatch.settler.STORE_RETRY_INTERVAL", timedelta(milliseconds=5))
    handle = Calls()
    with closing(FlakyStore.open(new_sqlite(tmp_path / "store.db"))) as store:
        assert isinstance(store, FlakyStore)
        store.away_for = 3
        record_results(store)
        with dispatching(store, handle):
            wait_until(lambda: delivery_states(store) == {"done": 1})

    assert (store.away_for, len(handle.results)) == (0, 1)


def test_a_stop_does_not_wait_for_a_store_that_is_away(tmp_path: Path) -> None:
    with closing(FlakyStore.open(new_sqlite(tmp_path / "store.db"))) as store:
        assert isinstance(store, FlakyStore)
        record_results(store)
        dispatcher = a_dispatcher(store, Calls())
        store.away_for = 1000
        dispatcher.start()
        dispatcher.claim_once()
        with capture_logs() as logs:
            dispatcher.stop(timedelta(milliseconds=10))
            dispatcher.end()

    assert "settlements.lost" in {entry["event"] for entry in logs}


def test_two_dispatchers_never_run_one_delivery_at_the_same_time(tmp_path: Path) -> None:
    url = new_sqlite(tmp_path / "store.db")
    lock, running, overlaps, runs = threading.Lock(), set[str](), list[str](), Counter[str]()

    def handle(result: JobResult) -> None:
        with lock:
            overlaps.extend({result.key} & running)
            running.add(result.key)
            runs[result.key] += 1
        with lock:
            running.discard(result.key)
        if runs[result.key] == 1:
            raise Retry(after=0)

    with closing(SqlStore.open(url)) as one, closing(SqlStore.open(url)) as two:
        record_results(one, 100)
        with dispatching(one, handle), dispatching(two, handle):
            wait_until(lambda: delivery_states(one) == {"done": 100})

    assert overlaps == []
    assert set(runs.values()) == {2}


def test_intake_hands_over_what_it_recorded_without_asking_the_store_again(store: SqlStore) -> None:
    handle = Calls()
    dispatcher = a_dispatcher(store, handle)
    recorder = Recorder(
        store=store,
        rules=(Rule(name="videos", handlers=("log",)),),
        correlation=Correlation(),
        sink=dispatcher,
    )
    dispatcher.start()  # without a thread that claims

    summary = recorder.record("q", [a_message(message_id="m")])

    wait_until(lambda: delivery_states(store) == {"done": 1})
    assert (len(summary.claimed), handle.results[0].queue) == (1, "q")
    dispatcher.stop(NO_TIME)
    dispatcher.end()


def test_a_batch_larger_than_the_capacity_is_recorded_completely(store: SqlStore) -> None:
    dispatcher = a_dispatcher(store, Calls(), concurrency=1)
    recorder = Recorder(
        store=store,
        rules=(Rule(name="videos", handlers=("log", "webhook")),),
        correlation=Correlation(),
        sink=dispatcher,
    )
    messages = [_message(number) for number in range(20)]

    summary = recorder.record("q", messages)

    assert (summary.new, summary.deliveries, len(summary.claimed)) == (20, 40, 17)
    assert dispatcher.claim(1) is None
    dispatcher.start()
    dispatcher.stop(NO_TIME)
    dispatcher.end()
    assert delivery_states(store)["running"] == 0
    assert store.outstanding() >= 40 - 17


def test_intake_is_told_that_handlers_fall_behind_before_the_capacity_is_used_up(store: SqlStore) -> None:
    dispatcher = a_dispatcher(store, Calls(), concurrency=16)
    recorder = Recorder(
        store=store,
        rules=(Rule(name="videos", handlers=("log",)),),
        correlation=Correlation(),
        sink=dispatcher,
    )
    seen = []
    for first, count in ((0, 16), (16, 1)):
        summary = recorder.record("q", [_message(number) for number in range(first, first + count)])
        seen.append((len(summary.claimed), recorder.overflows))

    assert seen == [(16, False), (1, True)]


def test_capacity_is_released_when_the_store_is_unavailable(tmp_path: Path) -> None:
    store = SqlStore.open(new_sqlite(tmp_path / "store.db"))
    dispatcher = a_dispatcher(store, Calls(), concurrency=1)
    recorder = Recorder(store=store, rules=(), correlation=Correlation(), sink=dispatcher)
    with closing(store), store.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE results")

    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            recorder.record("q", [_message(number) for number in range(16)])

    claim = dispatcher.claim(100)
    assert claim is not None
    assert claim.limit == 17
    store.close()


def _message(number: int) -> Message:
    return a_message(message_id=f"m{number}", body=wrapped(a_callback(JobId=f"job-{number}")))
