"""What is kept of attempts that did not go well at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from listener.core.model import Attempt, Dead, Delivery, Done, Outcome, RetryAfter, Settlement
from listener.store.attempts import ATTEMPTS_KEPT
from listener.store.pruner import Pruner
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore
from listener.store.tables import attempts, changes
from tests.support.builders import JOB_ID, NOON, a_claim, a_decoded_message, routes_all
from tests.support.stores import count

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
AGAIN = RetryAfter(wait=timedelta(0), reason="connection refused")


def claim(store: SqlStore, *, at: datetime = NOON, owner: str = "one") -> Delivery:
    (delivery,) = store.claim(a_claim(owner=owner, until=at + 30 * SECOND), at=at)
    return delivery


def settle(
    store: SqlStore, delivery: Delivery, outcome: Outcome, *, at: datetime = NOON, seconds: float = 2.5
) -> bool:
    """Whether it took effect."""
    settlement = Settlement(
        delivery=delivery, outcome=outcome, started_at=at - seconds * SECOND, seconds=seconds
    )
    return not store.settle([settlement], at=at)


def kept(store: SqlStore) -> Sequence[Attempt]:
    history = Queries(store.database).history(JOB_ID)
    assert history is not None
    return history.attempts


@pytest.fixture
def recorded(store: SqlStore) -> SqlStore:
    """With one delivery."""
    store.record([a_decoded_message()], routes_all(), at=NOON)
    return store


def test_an_attempt_that_went_well_at_once_is_not_kept(recorded: SqlStore) -> None:
    assert settle(recorded, claim(recorded), Done())

    assert kept(recorded) == []


def test_failures_and_the_success_that_follows_are_kept(recorded: SqlStore) -> None:
    first = claim(recorded)
    settle(recorded, first, AGAIN, at=NOON + 3 * SECOND)
    second = claim(recorded, at=NOON + 9 * SECOND, owner="two")
    settle(recorded, second, Done(), at=NOON + 10 * SECOND, seconds=0.5)

    assert kept(recorded) == [
        Attempt(
            delivery_id=first.id,
            attempt=1,
            outcome="retry",
            error="connection refused",
            owner="one",
            started_at=NOON + 0.5 * SECOND,
            seconds=2.5,
            settled_at=NOON + 3 * SECOND,
        ),
        Attempt(
            delivery_id=first.id,
            attempt=2,
            outcome="done",
            error="",
            owner="two",
            started_at=NOON + 9.5 * SECOND,
            seconds=0.5,
            settled_at=NOON + 10 * SECOND,
        ),
    ]


def test_a_first_attempt_that_was_the_last_one_is_kept(recorded: SqlStore) -> None:
    settle(recorded, claim(recorded), Dead(reason="no such file"))

    (only,) = kept(recorded)
    assert (only.outcome, only.error) == ("dead", "no such file")


def test_a_rescue_is_kept_without_a_start(recorded: SqlStore) -> None:
    claim(recorded, owner="crashed")
    lost = RetryAfter(wait=timedelta(0), reason="the lease expired")
    recorded.rescue_expired(lambda _delivery: lost, at=NOON + 60 * SECOND, limit=10)

    (only,) = kept(recorded)
    assert (only.outcome, only.error, only.owner) == ("retry", "the lease expired", "crashed")
    assert (only.started_at, only.seconds) == (None, None)


def test_a_rescued_attempt_that_was_done_after_all_is_shown_as_done(recorded: SqlStore) -> None:
    slow = claim(recorded)
    lost = RetryAfter(wait=timedelta(0), reason="the lease expired")
    recorded.rescue_expired(lambda _delivery: lost, at=NOON + 60 * SECOND, limit=10)

    assert settle(recorded, slow, Done(), at=NOON + 61 * SECOND, seconds=61.0)

    (only,) = kept(recorded)
    assert (only.outcome, only.error, only.seconds) == ("done", "the lease expired", 61.0)


def test_a_settlement_that_comes_too_late_leaves_nothing(recorded: SqlStore) -> None:
    first = claim(recorded)
    settle(recorded, first, AGAIN)
    claim(recorded)

    assert not settle(recorded, first, Dead(reason="too late"))
    assert [each.error for each in kept(recorded)] == ["connection refused"]


def test_a_settlement_that_is_written_again_is_one_attempt(recorded: SqlStore) -> None:
    """As after a commit of which the answer was lost."""
    delivery = claim(recorded)

    assert [settle(recorded, delivery, AGAIN) for _ in range(2)] == [True, True]
    assert [each.attempt for each in kept(recorded)] == [1]


def test_the_newest_attempts_of_a_long_outage_are_kept(recorded: SqlStore) -> None:
    for _ in range(ATTEMPTS_KEPT + 3):
        settle(recorded, claim(recorded), AGAIN)

    assert [each.attempt for each in kept(recorded)] == list(range(4, ATTEMPTS_KEPT + 4))


def test_attempts_are_deleted_with_their_delivery_and_changes_by_age(recorded: SqlStore) -> None:
    """The newest change stays, so that SQLite does not assign its id again."""
    settle(recorded, claim(recorded), AGAIN)
    settle(recorded, claim(recorded), Done())
    assert (count(recorded, attempts), count(recorded, changes)) == (2, 3)

    pruner = Pruner(recorded.database, keep=DAY)
    for _ in range(10):
        pruner.step(NOON + DAY + SECOND)

    assert (count(recorded, attempts), count(recorded, changes)) == (0, 1)
