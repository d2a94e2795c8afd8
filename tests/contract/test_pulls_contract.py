"""Deliveries that are offered to applications: no dispatcher gets them, and each pull is of one application."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import update

from listener.core.model import (
    Claim,
    Dead,
    Delivery,
    DeliveryState,
    Done,
    Offered,
    Outcome,
    RetryAfter,
    Settlement,
    Target,
)
from listener.store.dead_letters import DeadLetters
from listener.store.deliveries import Deliveries
from listener.store.sql_store import SqlStore
from listener.store.statistics import Statistics
from tests.support.builders import NOON, a_claim, decoded_messages, routes_all
from tests.support.stores import OpenStore, deliveries, states, the_row

HOUR, SECOND, NO_TIME = timedelta(hours=1), timedelta(seconds=1), timedelta(0)
TARGET, OTHER = Target("videos", "pull"), Target("videos", "second")


def prepared(store: SqlStore, number: int = 1, *, target: Target = TARGET) -> Sequence[Delivery]:
    """Claimed by a dispatcher that is about to offer them."""
    batch = decoded_messages(number, prefix=target.handler)
    return store.record(batch, routes_all(target), at=NOON, claim=a_claim(owner="dispatcher")).claimed


def offer(store: SqlStore, number: int = 1, *, target: Target = TARGET) -> Sequence[Delivery]:
    claimed = prepared(store, number, target=target)
    settle(store, claimed, Offered())
    return claimed


def settle(store: SqlStore, claimed: Sequence[Delivery], outcome: Outcome) -> Sequence[Settlement]:
    return store.settle([Settlement(delivery=each, outcome=outcome) for each in claimed], at=NOON)


def pull(store: SqlStore, *, at: int = 0, limit: int = 100, target: Target = TARGET) -> Sequence[Delivery]:
    """``at``: so many seconds after noon; the lease is half a minute."""
    now = NOON + at * SECOND
    return store.claim_offered(
        target, Claim(owner="pull:app@one", until=now + 30 * SECOND, limit=limit), at=now
    )


def rescue(store: SqlStore, outcome: Outcome, *, at: int) -> Sequence[Settlement]:
    return store.rescue_expired(lambda _delivery: outcome, at=NOON + at * SECOND, limit=100)


def again(*, wait: timedelta = NO_TIME, spent: bool = True) -> RetryAfter:
    return RetryAfter(wait=wait, reason="once more", spent=spent)


def test_no_dispatcher_gets_what_is_offered(store: SqlStore) -> None:
    offer(store, 3)

    assert store.claim(a_claim(), at=NOON + HOUR) == ()
    assert len(pull(store)) == 3
    assert pull(store) == ()


def test_applications_get_the_deliveries_of_their_target_only_the_longest_due_first(store: SqlStore) -> None:
    first, second = offer(store, 2)
    offer(store, target=OTHER)
    settle(store, pull(store, limit=1), again(wait=SECOND))

    assert [each.id for each in pull(store, at=5)] == [second.id, first.id]
    assert [each.target for each in pull(store, target=OTHER)] == [OTHER]
    assert pull(store, target=Target("videos", "other")) == ()


def test_the_first_pull_continues_the_attempt_and_every_other_one_is_a_new_one(store: SqlStore) -> None:
    offer(store)

    (first,) = pull(store)
    settle(store, [first], again())
    (second,) = pull(store)

    assert (first.attempt, first.failures, first.owner) == (1, 0, "pull:app@one")
    assert (second.attempt, second.failures, second.key) == (2, 1, first.key)


def test_an_offer_that_is_written_again_takes_nothing_back(store: SqlStore) -> None:
    claimed = offer(store)
    pulled = pull(store)

    late = settle(store, claimed, Offered())

    assert [entry.delivery.id for entry in late] == [pulled[0].id]
    assert states(store) == ["running"]
    assert settle(store, pulled, Done()) == ()
    assert states(store) == ["done"]


def test_only_an_offer_that_came_too_late_is_late(store: SqlStore) -> None:
    stale, _ = prepared(store, 2)
    rescue(store, again(), at=31)

    assert [entry.delivery.id for entry in settle(store, [stale], Offered())] == [stale.id]
    current = store.claim(a_claim(owner="dispatcher"), at=NOON + HOUR)
    late = settle(store, [stale, *current], Offered())
    assert [entry.delivery for entry in late] == [stale]
    assert len(pull(store)) == 2


@pytest.mark.parametrize("outcome", [Done(), again(), Dead(reason="no")], ids=["done", "retry", "dead"])
def test_the_outcome_of_an_attempt_whose_lease_was_lost_changes_nothing(
    store: SqlStore, outcome: Outcome
) -> None:
    offer(store)
    lost = pull(store)
    rescue(store, again(), at=31)
    current = pull(store, at=40)

    assert len(settle(store, lost, outcome)) == 1
    assert states(store) == ["running"]
    assert settle(store, current, Done()) == ()


def test_what_was_done_after_the_lease_expired_need_not_be_done_again(store: SqlStore) -> None:
    offer(store)
    lost = pull(store)
    rescue(store, again(), at=31)

    assert settle(store, lost, Done()) == ()
    assert states(store) == ["done"]


def test_an_expired_pull_is_offered_again_when_it_is_due(store: SqlStore) -> None:
    offer(store)
    pull(store)
    rescue(store, again(wait=5 * SECOND), at=31)

    assert store.claim(a_claim(), at=NOON + HOUR) == ()
    assert pull(store, at=35) == ()
    assert [each.failures for each in pull(store, at=36)] == [1]


def test_an_extension_counts_for_the_current_attempt_only(store: SqlStore) -> None:
    offer(store)
    (first,) = pull(store)

    assert store.extend(first, until=NOON + HOUR)
    assert rescue(store, again(), at=31) == []
    assert the_row(store, deliveries)["lease_until"] == NOON + HOUR

    rescue(store, again(), at=3601)
    assert not store.extend(first, until=NOON + 2 * HOUR)
    pull(store, at=3601)
    assert not store.extend(first, until=NOON + 2 * HOUR)


def test_no_extension_is_for_a_delivery_that_a_dispatcher_has(store: SqlStore) -> None:
    (claimed,) = prepared(store)

    assert not store.extend(claimed, until=NOON + HOUR)


def test_targets_are_due_once_one_of_their_deliveries_can_be_pulled(store: SqlStore) -> None:
    offer(store)
    offer(store, target=OTHER)
    settle(store, pull(store), again(wait=SECOND))

    both = [TARGET, OTHER]
    assert store.due_targets(both, at=NOON) == [OTHER]
    assert store.due_targets(both, at=NOON + SECOND) == both
    assert store.offered_targets() == both


def test_what_is_withdrawn_is_due_for_the_dispatchers_at_the_same_time(store: SqlStore) -> None:
    offer(store, 2)
    (running, _) = pull(store)
    settle(store, [running], again(wait=HOUR))

    assert store.withdraw(OTHER) == 0
    assert store.withdraw(TARGET) == 1
    assert store.offered_targets() == []
    assert store.claim(a_claim(), at=NOON) == ()
    (claimed,) = store.claim(a_claim(), at=NOON + HOUR)
    assert (claimed.id, claimed.attempt, claimed.pull_at) == (running.id, 2, None)
    assert states(store) == ["running", "running"]  # what is pulled stays the application's


def test_what_is_replayed_goes_through_a_dispatcher_again(store: SqlStore) -> None:
    offer(store)
    (pulled,) = pull(store)
    settle(store, [pulled], Dead(reason="no"))

    DeadLetters(store.database).replay([pulled.id], routes_all(TARGET), at=NOON)

    assert pull(store) == ()
    assert [each.key for each in store.claim(a_claim(), at=NOON)] == [pulled.key]


def test_what_an_older_release_made_due_is_no_applications_any_more(store: SqlStore) -> None:
    offer(store)
    pull(store)
    with store.database.write() as connection:  # its rescue knows no pull_at
        connection.execute(
            update(deliveries).values(state="pending", owner=None, lease_until=None, next_at=NOON)
        )
    (claimed,) = store.claim(a_claim(), at=NOON)

    assert claimed.pull_at is None
    assert pull(store, at=1) == ()
    assert not store.extend(claimed, until=NOON + HOUR)
    settle(store, [claimed], again())
    assert [each.attempt for each in store.claim(a_claim(), at=NOON)] == [3]


def test_an_operator_makes_an_offered_delivery_due_or_cancels_it(store: SqlStore) -> None:
    offer(store)
    (pulled,) = pull(store)
    settle(store, [pulled], again(wait=HOUR))
    operator = Deliveries(store.database)

    (listed,) = operator.page()
    assert listed.due_at == NOON + HOUR
    assert operator.retry([pulled.id], at=NOON) == [pulled.id]
    assert store.claim(a_claim(), at=NOON) == ()
    settle(store, pull(store), again(wait=HOUR))
    assert operator.cancel([pulled.id], at=NOON) == [pulled.id]
    assert store.offered_targets() == []
    assert states(store) == [DeliveryState.DEAD]


def test_what_is_left_to_applications_is_counted_until_it_is_settled(store: SqlStore) -> None:
    offer(store, 3)
    prepared(store, target=OTHER)
    (pulled,) = pull(store, limit=1)

    assert (store.left_to_applications(), store.outstanding()) == (3, 4)
    assert Statistics(store.database).totals(NOON).offered == 2
    settle(store, [pulled], Done())
    assert store.left_to_applications() == 2


def test_a_clock_that_is_set_shifts_the_leases_of_this_daemons_applications(store: SqlStore) -> None:
    offer(store)
    (own,) = prepared(store, target=OTHER)
    (pulled,) = pull(store)

    assert store.shift_pulled_leases(HOUR, daemon="another") == 0
    assert store.shift_pulled_leases(HOUR, daemon="one") == 1
    assert [entry.delivery.id for entry in rescue(store, again(), at=31)] == [own.id]
    assert store.shift_pulled_leases(-HOUR, daemon="one") == 1
    assert [entry.delivery.id for entry in rescue(store, again(), at=31)] == [pulled.id]


def test_long_leases_of_applications_are_not_taken_for_damaged_ones(store: SqlStore) -> None:
    offer(store)
    prepared(store, target=OTHER)
    (pulled,) = pull(store)

    listed = store.leases(after=NOON, pulled_after=NOON, limit=10)
    assert sorted(lease.pulled for lease in listed) == [False, True]
    (own,) = store.leases(after=NOON, pulled_after=NOON + HOUR, limit=10)
    assert own.delivery_id != pulled.id


def test_two_applications_never_pull_the_same_delivery(open_store: OpenStore) -> None:
    stores = [open_store(), open_store()]
    offer(stores[0], 60)

    def pull_all(store: SqlStore) -> list[int]:
        found: list[int] = []
        while pulled := pull(store, limit=3):
            found += [each.id for each in pulled]
        return found

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(pull_all, stores)

    assert len(first) + len(second) == len({*first, *second})
    assert len({*first, *second} | {each.id for each in pull(stores[0])}) == 60
