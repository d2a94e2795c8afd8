"""Offer → pull → settle, with a real store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from listener.core import clock
from listener.core.errors import LeaseLost, NotFound, Unavailable, UsageError
from listener.core.model import Delivery, DeliveryState, JobResult, Settlement, Target
from listener.core.pull import DEFAULT_LEASE, MAX_LEASE, PullHandler
from listener.dispatch.attempt import HandlerBinding
from listener.dispatch.dispatcher import Dispatcher
from listener.dispatch.pull import MAX_NAME, Pull, PullAction, PullAnswer, PullSettlement, pulled_document
from listener.dispatch.unused_offers import UnusedOffers
from listener.rules.backoff import Backoff
from listener.rules.retry import RetryPolicy
from listener.store.deliveries import Deliveries
from listener.store.event_feed import EventFeed
from listener.store.sql_store import SqlStore
from listener.store.tables import attempts
from tests.support.cases import each_case
from tests.support.clocks import UNKNOWN, Clocks, let_pass
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
from tests.support.pulling import a_pull, offer_results, offering
from tests.support.sqlite import new_sqlite_store
from tests.support.waiting import wait_until

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


def settle(pull: Pull, delivery: Delivery, action: PullAction, **more: Any) -> PullAnswer:
    given = PullSettlement(delivery_id=delivery.id, attempt=delivery.attempt, action=action, **more)
    return pull.settle(given)


def pull_one(pull: Pull, **more: Any) -> Delivery:
    (delivery,) = pull.claim(TARGET, **more)
    return delivery


def until(at: datetime | None) -> timedelta:
    """How long it is until then."""
    assert at is not None
    return at - clock.now()


class TestOffering:
    def test_an_application_gets_the_first_attempt_and_settles_it(self, store: SqlStore) -> None:
        offer_results(store)
        pull = a_pull(store)
        pulled = pull_one(pull, client="encoder")

        assert (pulled.attempt, pulled.owner) == (1, "pull:encoder@host:1:0a1b2c3d")
        assert settle(pull, pulled, PullAction.DONE).state is DeliveryState.DONE
        assert pull.claim(TARGET) == ()

    def test_what_applications_get_is_enriched_before_it_is_offered(self, store: SqlStore) -> None:
        answers = iter([Unavailable("MPS is away", after=0), None])

        def enrich(delivery: Delivery) -> Delivery:
            if error := next(answers):
                raise error
            store.save_outputs(delivery.result, '{"found": 1}', output="oss://bucket/found")
            return delivery

        binding = HandlerBinding(run=PullHandler(), policy=QUICK, enrich=enrich)
        record_results(store)
        with dispatching(store, PullHandler(), bindings={TARGET: binding}):
            wait_until(lambda: store.left_to_applications() == 1)

        pulled = pull_one(a_pull(store))
        assert (pulled.result.outputs, pulled.failures) == ('{"found": 1}', 0)

    def test_offers_are_no_attempts_in_metrics_and_outcomes_of_applications_are(
        self, store: SqlStore
    ) -> None:
        counted: list[Any] = []

        class Meter:
            def settled(self, settlements: Sequence[Settlement], *, late: bool) -> None:
                counted.extend((type(each.outcome).__name__, late) for each in settlements)

        record_results(store)
        with offering(store, meter=Meter()):
            wait_until(lambda: store.left_to_applications() == 1)
        pull = a_pull(store, meter=Meter())
        settle(pull, pull_one(pull), PullAction.DONE)

        assert counted == [("Done", False)]

    def test_an_offer_is_logged_with_the_fields_of_its_delivery(self, store: SqlStore) -> None:
        with capture_logs() as logs:
            offer_results(store)

        (line,) = [line for line in logs if line["event"] == "delivery.offered"]
        assert (line["route"], line["handler"], line["attempt"]) == ("videos", "log", 1)

    def test_a_target_that_became_a_pull_handler_is_offered_from_then_on(self, store: SqlStore) -> None:
        record_results(store, 2)
        pause = timedelta(milliseconds=20)
        often = RetryPolicy(backoff=Backoff(pause, pause), max_attempts=1_000_000)
        with dispatching(store, fail_always, policy=often) as dispatcher:
            wait_until(lambda: all(row.attempt > 2 for row in delivery_rows(store)))
            dispatcher.use({TARGET: HandlerBinding(run=PullHandler(), policy=QUICK)}, QUICK)
            wait_until(lambda: store.left_to_applications() == 2)

    def test_a_stop_keeps_what_is_offered(self, store: SqlStore) -> None:
        offer_results(store, 3)

        assert (delivery_states(store), store.left_to_applications()) == ({"pending": 3}, 3)


def test_a_settlement_that_is_twice_in_one_request_is_written_once(store: SqlStore) -> None:
    offer_results(store)
    pull = a_pull(store)
    pulled = pull_one(pull)
    given = PullSettlement(delivery_id=pulled.id, attempt=pulled.attempt, action=PullAction.REJECT)
    before = EventFeed(store.database).end()

    with capture_logs() as logs:
        first, second = pull.settle_all([given, given])

    assert first == second == PullAnswer(delivery_id=pulled.id, state=DeliveryState.DEAD)
    assert len(EventFeed(store.database).after(before).events) == 1
    assert [line["event"] for line in logs] == ["delivery.settled"]
    with store.database.read() as connection:
        assert connection.scalars(select(attempts.c.started_at)).one() is not None


def test_settlements_of_one_delivery_in_one_request_take_effect_in_their_order(store: SqlStore) -> None:
    offer_results(store, 2)
    pull = a_pull(store)
    first, second = pull.claim(TARGET, limit=2)
    rejected, done, late = pull.settle_all(
        [
            PullSettlement(delivery_id=first.id, attempt=1, action=PullAction.REJECT, reason="no"),
            PullSettlement(delivery_id=second.id, attempt=1, action=PullAction.DONE),
            PullSettlement(delivery_id=first.id, attempt=1, action=PullAction.RETRY, reason="busy"),
        ]
    )

    assert [getattr(each, "state", None) for each in (rejected, done)] == ["dead", "done"]
    assert isinstance(late, LeaseLost), "the attempt had ended"


def fail_always(_result: JobResult) -> None:
    raise ValueError("boom")


class TestSettling:
    def test_a_retry_waits_as_long_as_the_application_says(self, store: SqlStore) -> None:
        offer_results(store)
        pull = a_pull(store)

        answer = settle(pull, pull_one(pull), PullAction.RETRY, delay=HOUR, reason="busy")

        (listed,) = Deliveries(store.database).page()
        assert (answer.state, answer.next_at) == (DeliveryState.PENDING, listed.due_at)
        assert (listed.failures, listed.last_error) == (1, "Retry: busy")
        assert until(listed.due_at) > MINUTE
        assert pull.claim(TARGET) == ()

    def test_the_last_attempt_ends_in_a_dead_letter(self, store: SqlStore) -> None:
        offer_results(store)
        pull = a_pull(store, policy=lambda _delivery: RetryPolicy(max_attempts=2, backoff=NO_BACKOFF))

        states = [settle(pull, pull_one(pull), PullAction.RETRY).state for _ in range(2)]

        assert states == [DeliveryState.PENDING, DeliveryState.DEAD]

    def test_a_rejection_is_a_dead_letter_with_its_reason(self, store: SqlStore) -> None:
        offer_results(store)
        pull = a_pull(store)

        assert settle(pull, pull_one(pull), PullAction.REJECT, reason="no").state is DeliveryState.DEAD
        assert delivery_rows(store)[0].last_error == "Reject: no"

    @pytest.mark.parametrize("action", [PullAction.DONE, PullAction.RETRY, PullAction.REJECT])
    def test_what_is_reported_twice_has_its_effect_once(self, store: SqlStore, action: PullAction) -> None:
        offer_results(store)
        pull = a_pull(store)
        pulled = pull_one(pull)

        first = settle(pull, pulled, action, delay=HOUR)
        before = delivery_rows(store)
        assert settle(pull, pulled, action, delay=HOUR) == first
        assert delivery_rows(store) == before

    @pytest.mark.parametrize("action", list(PullAction))
    def test_an_attempt_that_is_over_settles_no_other(self, store: SqlStore, action: PullAction) -> None:
        offer_results(store)
        pull = a_pull(store)
        lost = pull_one(pull)
        settle(pull, lost, PullAction.RETRY, delay=timedelta(0))
        current = pull_one(pull)
        before = delivery_rows(store)

        with pytest.raises(LeaseLost, match="attempt 1 of delivery 1 is over"):
            settle(pull, lost, action)
        assert delivery_rows(store) == before
        assert settle(pull, current, PullAction.DONE).state is DeliveryState.DONE

    def test_a_rejection_after_success_is_refused(self, store: SqlStore) -> None:
        offer_results(store)
        pull = a_pull(store)
        pulled = pull_one(pull)
        settle(pull, pulled, PullAction.DONE)

        with pytest.raises(LeaseLost, match="is over"):
            settle(pull, pulled, PullAction.REJECT)
        with pytest.raises(LeaseLost, match="is done and has no lease"):
            settle(pull, pulled, PullAction.EXTEND)
        assert delivery_states(store) == {"done": 1}

    def test_nothing_is_settled_that_no_application_has_pulled(self, store: SqlStore) -> None:
        offer_results(store)
        pull = a_pull(store)

        with pytest.raises(LeaseLost, match="no application has pulled delivery 1"):
            pull.settle(PullSettlement(delivery_id=1, attempt=1, action=PullAction.DONE))
        with pytest.raises(NotFound, match="no delivery has the id 99"):
            pull.settle(PullSettlement(delivery_id=99, attempt=1, action=PullAction.DONE))
        Deliveries(store.database).cancel([1], at=clock.now())
        with pytest.raises(LeaseLost, match="no application has pulled delivery 1"):
            pull.settle(PullSettlement(delivery_id=1, attempt=1, action=PullAction.DONE))

    def test_what_a_handler_of_the_process_runs_is_not_settled_by_applications(self, store: SqlStore) -> None:
        record_results(store)
        dispatcher = a_dispatcher(store, fail_always)
        dispatcher.claim_once()

        with pytest.raises(LeaseLost, match="no application has pulled"):
            a_pull(store).settle(PullSettlement(delivery_id=1, attempt=1, action=PullAction.DONE))

    def test_an_extension_lasts_from_now_on(self, store: SqlStore) -> None:
        offer_results(store)
        pull = a_pull(store)
        pulled = pull_one(pull, lease=SECOND)

        answer = settle(pull, pulled, PullAction.EXTEND, lease=HOUR)

        assert answer.lease_until == delivery_rows(store)[0].lease_until
        assert until(answer.lease_until) > 59 * MINUTE

    def test_what_did_not_reach_the_application_spends_no_attempt(self, store: SqlStore) -> None:
        offer_results(store, 2)
        woken: list[Any] = []
        pull = a_pull(store, on_offered=woken.append)

        pull.give_back(pull.claim(TARGET, limit=2))

        assert woken == [{TARGET}]
        assert [each.failures for each in pull.claim(TARGET, limit=2)] == [0, 0]

    def test_how_long_the_application_took_is_kept_with_the_attempt(
        self, store: SqlStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        offer_results(store)
        pull = a_pull(store)
        pulled = pull_one(pull, lease=HOUR)
        let_pass(MINUTE, monkeypatch)
        settle(pull, pulled, PullAction.RETRY)

        with store.database.read() as connection:
            (row,) = connection.execute(select(attempts)).all()
        assert 60 <= row.seconds < 600
        assert row.owner == "pull:application@host:1:0a1b2c3d"
        assert row.started_at <= row.settled_at

    def test_what_another_process_gave_is_settled_without_its_beginning(self, store: SqlStore) -> None:
        offer_results(store)
        pulled = pull_one(a_pull(store))

        assert settle(a_pull(store), pulled, PullAction.DONE).state is DeliveryState.DONE

    def test_beginnings_of_attempts_that_are_never_settled_take_bounded_memory(
        self, store: SqlStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("listener.dispatch.pull.REMEMBERED", 2)
        offer_results(store, 5)
        pull = a_pull(store)
        settled: list[Any] = []
        monkeypatch.setattr(
            "listener.dispatch.pull.trace_settlements", lambda each, since: settled.extend(each)
        )
        for pulled in pull.claim(TARGET, limit=5):
            settle(pull, pulled, PullAction.DONE)

        assert [each.seconds is None for each in settled] == [True, True, True, False, False]


class TestClaiming:
    def test_the_lease_is_that_of_the_handler_unless_the_application_names_one(self, store: SqlStore) -> None:
        offer_results(store, 3)
        pull = a_pull(store, handlers=lambda: {TARGET: PullHandler(lease=HOUR / 2)})

        ends = [pull_one(pull).lease_until, pull_one(pull, lease=10 * SECOND).lease_until]

        assert 20 * MINUTE < until(ends[0]) <= 30 * MINUTE
        assert until(ends[1]) <= 10 * SECOND

    @each_case(
        ("wrong", "message"),
        [
            ({"limit": 0}, "limit = 0 must be between 1 and 256"),
            ({"limit": 257}, "limit = 257 must be"),
            ({"lease": timedelta(0)}, "lease = 0s must be between 1s and 1h"),
            ({"lease": MAX_LEASE + SECOND}, "must be between 1s and 1h"),
            ({"client": "x" * (MAX_NAME + 1)}, "at most 100 characters"),
            ({"client": "a\nb"}, "must be printable"),
        ],
    )
    def test_what_is_out_of_bounds_is_refused(
        self, store: SqlStore, wrong: dict[str, Any], message: str
    ) -> None:
        offer_results(store)

        with pytest.raises(UsageError, match=message):
            a_pull(store).claim(TARGET, **wrong)
        assert delivery_states(store) == {"pending": 1}

    def test_a_route_is_named_with_its_handler_if_it_has_several(self, store: SqlStore) -> None:
        second = Target(TARGET.route, "second")
        pull = a_pull(store, handlers=lambda: {TARGET: PullHandler(), second: PullHandler()})

        assert pull.target("videos", "second") == second
        with pytest.raises(UsageError, match="several pull handlers; name one of them: log, second"):
            pull.target("videos")
        with pytest.raises(NotFound, match="no route 'other'"):
            pull.target("other")
        with pytest.raises(NotFound, match="named 'third'"):
            pull.target("videos", "third")
        assert a_pull(store).target("videos") == TARGET

    def test_the_document_is_that_of_all_handlers_and_says_what_to_settle(self, store: SqlStore) -> None:
        offer_results(store)
        pulled = pull_one(a_pull(store))

        document = pulled_document(pulled)

        assert JobResult.from_document(document).job_id == pulled.result.job_id
        assert (document["delivery"], document["attempt"], document["key"]) == (1, 1, pulled.key)
        assert document["lease_until"] == f"{pulled.lease_until:%Y-%m-%dT%H:%M:%S.%f}+00:00"


class TestLeases:
    def test_an_application_that_dies_gives_its_deliveries_back(
        self, store: SqlStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clocks = Clocks(monkeypatch)
        offer_results(store)
        dispatcher = a_dispatcher(store, PullHandler())
        first = pull_one(a_pull(store, dispatcher))

        rounds_until(dispatcher, clocks, monkeypatch, DEFAULT_LEASE + LONG)

        row = delivery_rows(store)[0]
        assert (row.state, row.failures) == ("pending", 1)
        assert row.last_error.startswith("lease expired: the application")
        assert pull_one(a_pull(store, dispatcher)).key == first.key

    @pytest.mark.parametrize("size", [timedelta(days=4), timedelta(days=-4)], ids=["ahead", "back"])
    def test_a_jump_of_the_clock_neither_ends_a_lease_early_nor_holds_it_up(
        self, store: SqlStore, monkeypatch: pytest.MonkeyPatch, size: timedelta
    ) -> None:
        clocks = Clocks(monkeypatch)
        offer_results(store)
        dispatcher = a_dispatcher(store, PullHandler(), clock_check=UNKNOWN)
        dispatcher.maintain_leases()
        pull_one(a_pull(store, dispatcher), lease=HOUR)
        clocks.jump(size)

        rounds_until(dispatcher, clocks, monkeypatch, 55 * MINUTE)
        assert delivery_states(store) == {"running": 1}
        rounds_until(dispatcher, clocks, monkeypatch, 10 * MINUTE)
        assert delivery_states(store) == {"pending": 1}

    def test_a_long_lease_is_not_taken_for_one_that_a_wrong_clock_wrote(
        self, store: SqlStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clocks = Clocks(monkeypatch)
        offer_results(store)
        dispatcher = a_dispatcher(store, PullHandler(), lease=MINUTE)
        pull_one(a_pull(store, dispatcher), lease=HOUR)

        rounds_until(dispatcher, clocks, monkeypatch, 50 * MINUTE, step=15 * SECOND)

        assert delivery_states(store) == {"running": 1}


def rounds_until(
    dispatcher: Dispatcher,
    clocks: Clocks,
    monkeypatch: pytest.MonkeyPatch,
    time: timedelta,
    *,
    step: timedelta = LONG / 4,
) -> None:
    """Rounds of the lease keeper for this time."""
    for _ in range(time // step + 1):
        dispatcher.maintain_leases()
        clocks.tick(step)
        let_pass(step, monkeypatch)
    dispatcher.maintain_leases()


class TestUnusedOffers:
    def test_a_route_that_is_gone_leaves_its_deliveries_to_the_dispatchers(self, store: SqlStore) -> None:
        offer_results(store, 3)
        offers = unused_offers(store)

        assert (offers.withdraw(), offers.withdraw()) == (3, 0)
        # As without the offers.
        with dispatching(store, fail_always, bindings={}, no_handler_timeout=timedelta(0)):
            wait_until(lambda: delivery_states(store) == {"dead": 3})
        assert "no process has no route" in delivery_rows(store)[0].last_error

    def test_a_handler_of_another_kind_gets_what_was_offered(self, store: SqlStore) -> None:
        offer_results(store, 3)
        unused_offers(
            store, has_handler=lambda _target: True, may_run_elsewhere=lambda _target: True
        ).withdraw()

        with dispatching(store, lambda _result: None):
            wait_until(lambda: delivery_states(store) == {"done": 3})

    @pytest.mark.parametrize("who", ["is_pulled", "may_run_elsewhere"])
    def test_what_a_running_process_offers_stays_offered(self, store: SqlStore, who: str) -> None:
        offer_results(store, 3)

        assert unused_offers(store, **{who: lambda _target: True}).withdraw() == 0
        assert store.left_to_applications() == 3

    def test_all_deliveries_of_a_target_are_withdrawn(
        self, store: SqlStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        offer_results(store, 5)
        monkeypatch.setattr("listener.store.pulls.WITHDRAW_BATCH", 2)

        assert unused_offers(store).withdraw() == 5


def unused_offers(store: SqlStore, **answers: Any) -> UnusedOffers:
    no: dict[str, Any] = dict.fromkeys(
        ("is_pulled", "has_handler", "may_run_elsewhere"), lambda _target: False
    )
    return UnusedOffers(store=store, **(no | answers))
