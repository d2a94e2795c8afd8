"""Which attributes of a queue do not suit, and what to set instead."""

from __future__ import annotations

from datetime import timedelta

import pytest

from listener.core.check_result import Level
from listener.core.queue_status import QueueStatus
from listener.rules.queue_advice import QueueNeeds, queue_advice, queue_summary
from tests.support.cases import each_case

DAYS = timedelta(days=1)
#: What MNS gives a new queue.
DEFAULTS = QueueStatus(
    retention=4 * DAYS,
    visibility_timeout=timedelta(seconds=30),
    delay=timedelta(0),
    polling_wait=timedelta(0),
    maximum_message_size=65_536,
    active=3,
    inactive=2,
    delayed=1,
)


def names(attributes: QueueStatus, *, store_retention: timedelta = 30 * DAYS) -> list[str]:
    needs = QueueNeeds(store_retention=store_retention, reconciled=True)
    results = list(queue_advice("q", attributes, needs))
    assert all(one.level == Level.WARNING and one.detail and one.advice for one in results)
    return [one.name for one in results]


@each_case("attributes", [DEFAULTS, QueueStatus()], ids=["defaults", "nothing-known"])
def test_a_new_queue_and_an_unknown_one_need_no_advice(attributes: QueueStatus) -> None:
    assert names(attributes) == []


@each_case(
    ("attributes", "name"),
    [
        pytest.param(QueueStatus(retention=timedelta(hours=1)), "queue retention q", id="short-retention"),
        pytest.param(QueueStatus(delay=timedelta(minutes=5)), "queue delay q", id="delay"),
        pytest.param(
            QueueStatus(visibility_timeout=timedelta(seconds=2)), "queue visibility q", id="too-soon"
        ),
        pytest.param(
            QueueStatus(visibility_timeout=timedelta(hours=12)), "queue visibility q", id="too-late"
        ),
        pytest.param(QueueStatus(maximum_message_size=1024), "queue message size q", id="small-messages"),
        pytest.param(QueueStatus(max_receive_count=3), "queue dead letters q", id="dead-letter-policy"),
    ],
)
def test_what_does_not_suit_is_a_warning(attributes: QueueStatus, name: str) -> None:
    assert names(attributes) == [name]


@each_case(
    ("store_retention", "warned"),
    [(2 * DAYS, True), (4 * DAYS, False), (timedelta(0), False)],
    ids=["shorter", "as-long", "no-limit"],
)
def test_records_are_kept_as_long_as_a_copy_may_come(store_retention: timedelta, warned: bool) -> None:
    assert names(DEFAULTS, store_retention=store_retention) == ["queue retention q"] * warned


def test_without_mps_a_callback_that_is_gone_is_a_lost_job() -> None:
    needs = QueueNeeds(store_retention=timedelta(0), reconciled=False)
    (result,) = queue_advice("q", QueueStatus(retention=timedelta(minutes=1)), needs)

    assert "its job is Lost" in result.detail


def test_the_summary_has_the_counts_and_what_is_known() -> None:
    assert queue_summary(DEFAULTS) == (
        "about 3 messages waiting, 2 received and not deleted, 1 delayed; "
        "kept for 4d; visible again after 30s; at most 65536 bytes"
    )
    assert queue_summary(QueueStatus()) == "about ? messages waiting, ? received and not deleted, ? delayed"
