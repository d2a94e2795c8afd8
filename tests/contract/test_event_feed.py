"""The event feed: whoever follows gets everything that is committed, once and in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, text, update

from listener.core.model import Dead, Done, Outcome, RetryAfter, Settlement, Target
from listener.store import event_feed
from listener.store.dead_letters import DeadLetters
from listener.store.deliveries import Deliveries
from listener.store.event_feed import ALL_EVENTS, EventFeed, FeedFilter
from listener.store.feed_events import EventName, FeedEvent
from listener.store.feed_position import Position
from listener.store.sql_store import SqlStore
from listener.store.tables import changes, results
from tests.support.builders import (
    JOB_ID,
    NOON,
    TOKEN,
    a_claim,
    a_decoded_message,
    a_job,
    a_result,
    decoded_messages,
    routes_all,
)
from tests.support.stores import OpenStore

SECOND = timedelta(seconds=1)
AGAIN = RetryAfter(wait=timedelta(0), reason="connection refused")
START = Position(0)


def read_all(store: SqlStore, position: Position = START) -> list[FeedEvent]:
    return list(following(EventFeed(store.database), position))


def following(feed: EventFeed, position: Position) -> Iterator[FeedEvent]:
    """Up to the present end."""
    while True:
        page = feed.after(position)
        yield from page.events
        position = page.position
        if not page.more:
            return


def run_claimed(store: SqlStore, *outcomes: Outcome, at: datetime = NOON) -> None:
    claimed = store.claim(a_claim(until=at + 30 * SECOND, limit=len(outcomes)), at=at)
    ended = [
        Settlement(delivery=each, outcome=outcome, started_at=at, seconds=0.25)
        for each, outcome in zip(claimed, outcomes, strict=True)
    ]
    assert store.settle(ended, at=at) == ()


def said(events: Sequence[FeedEvent]) -> list[tuple[str, str]]:
    return [(str(each.event), each.state) for each in events]


def test_the_life_of_a_job_is_told_in_order(store: SqlStore) -> None:
    store.add_job(a_job(reference="talk-7"))
    store.record([a_decoded_message()], routes_all(), at=NOON)
    run_claimed(store, AGAIN, at=NOON + SECOND)
    run_claimed(store, Done(), at=NOON + 2 * SECOND)

    recorded, finished, failed, done = read_all(store)

    assert said([recorded, finished, failed, done]) == [
        ("result.recorded", "Success"),
        ("job.finished", "Success"),
        ("delivery.settled", "pending"),
        ("delivery.settled", "done"),
    ]
    for event in (recorded, finished, failed, done):
        assert (event.job_id, event.reference, event.function) == (JOB_ID, "talk-7", "VideoH2V")
        assert event.routes == ("videos",)
    assert [each.at for each in (recorded, failed, done)] == [NOON, NOON + SECOND, NOON + 2 * SECOND]
    assert (recorded.status, finished.error) == ("routed", "")
    assert (failed.handler, failed.attempt, failed.seconds, failed.error) == (
        "log",
        1,
        0.25,
        "connection refused",
    )
    assert (done.attempt, done.error) == (2, "")


def test_what_operators_do_is_told(store: SqlStore) -> None:
    store.record(decoded_messages(2), routes_all(), at=NOON)
    run_claimed(store, Dead(reason="no use"))
    dead_letters = DeadLetters(store.database)
    dead = [each.id for each in dead_letters.page()]
    dead_letters.replay(dead, routes_all(), at=NOON)
    waiting = [each.id for each in Deliveries(store.database).page()]
    Deliveries(store.database).cancel(waiting, at=NOON)
    dead_letters.drop(dead, at=NOON)

    events = read_all(store)

    assert said(events[2:]) == [
        ("delivery.settled", "dead"),
        ("delivery.replayed", "pending"),
        ("delivery.settled", "dead"),
        ("delivery.settled", "dead"),
        ("delivery.dropped", "dropped"),
    ]
    assert (events[2].attempt, events[2].error) == (1, "no use")
    assert {event.attempt for event in events[4:6]} == {None}
    assert all(event.error.startswith("cancelled by an operator") for event in events[4:6])


def test_a_refused_submission_finishes_its_job(store: SqlStore) -> None:
    store.add_job(a_job(job_id="", submitted_at=None, state="intent"))
    store.refuse_job(TOKEN, "InvalidParameter: no", NOON)

    (event,) = read_all(store)

    assert (event.event, event.state, event.job_id) == (EventName.JOB_FINISHED, "refused", TOKEN)
    assert event.error == "InvalidParameter: no"


def test_reading_goes_on_after_any_event(store: SqlStore) -> None:
    store.record(decoded_messages(3), routes_all(Target("a", "log"), Target("b", "log")), at=NOON)
    run_claimed(store, Done(), AGAIN, Done(), Dead(reason="no use"), Done(), Done())
    events = read_all(store)
    assert len(events) == 9

    for number, event in enumerate(events, 1):
        assert read_all(store, Position.parse(event.cursor)) == events[number:]


def test_pages_end_anywhere(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        store.record(decoded_messages(4, prefix=str(number)), routes_all(), at=NOON)
    events = read_all(store)
    assert len(events) == 20

    for rows, per_page in ((1, 1), (7, 3), (4, 100)):
        monkeypatch.setattr(event_feed, "ROWS_PER_PAGE", rows)
        monkeypatch.setattr(event_feed, "CHANGES_PER_PAGE", per_page)
        assert read_all(store) == events


def test_a_follower_misses_nothing_that_several_processes_do_at_once(open_store: OpenStore) -> None:
    """On PostgreSQL changes become visible in another order than that of their ids."""
    stores = [open_store() for _ in range(4)]
    reader = EventFeed(open_store().database)
    position, seen, done = reader.end(), list[FeedEvent](), threading.Event()

    def work(number: int) -> None:
        for turn in range(12):
            batch = decoded_messages(3, queue=f"q{number}", prefix=str(turn))
            summary = stores[number].record(batch, routes_all(), at=NOON, claim=a_claim(limit=3))
            settled = [Settlement(delivery=each, outcome=Done()) for each in summary.claimed]
            stores[number].settle(settled, at=NOON)

    def follow() -> None:
        nonlocal position
        while True:
            last = done.is_set()
            page = reader.after(position)
            seen.extend(page.events)
            position = page.position
            if last and not page.more:
                return

    with ThreadPoolExecutor(5) as threads:
        follower = threads.submit(follow)
        try:
            for worker in [threads.submit(work, number) for number in range(4)]:
                worker.result()
        finally:
            done.set()
        follower.result()

    told = [(each.event, each.id) for each in seen]
    assert len(told) == len(set(told)) == 2 * 4 * 12 * 3
    assert position.open == {}


def test_the_end_is_after_everything(store: SqlStore) -> None:
    feed = EventFeed(store.database)
    assert feed.end() == START
    store.record(decoded_messages(2), routes_all(), at=NOON)
    end = feed.end()
    store.record(decoded_messages(1, prefix="later"), routes_all(), at=NOON)

    assert [event.job_id for event in read_all(store, end)] == ["mps-callbacks-later-0"]


def test_it_can_be_read_from_a_time_on(store: SqlStore) -> None:
    for number in range(4):
        at = NOON + number * SECOND
        store.record(decoded_messages(1, prefix=str(number)), routes_all(), at=at)
    feed = EventFeed(store.database)

    for number in range(5):
        since = feed.since(NOON + number * SECOND)
        assert [event.at for event in following(feed, since)] == [
            NOON + each * SECOND for each in range(number, 4)
        ]


def test_nothing_is_missed_from_a_time_on_because_the_clock_of_another_process_is_behind(
    store: SqlStore,
) -> None:
    for name, seconds in (("before", 0), ("since", 10), ("behind", 3)):
        store.record(decoded_messages(1, prefix=name), routes_all(), at=NOON + seconds * SECOND)

    position = EventFeed(store.database).since(NOON + 5 * SECOND)

    assert [event.job_id for event in read_all(store, position)] == [
        "mps-callbacks-since-0",
        "mps-callbacks-behind-0",
    ]


def test_the_newest_events_that_match(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "CHANGES_PER_PAGE", 2)
    for number in range(6):
        function = "Cover" if number % 3 else "ASR"
        result = a_result(job_id=f"job-{number}", function=function, state="Fail")
        store.record(
            [a_decoded_message(result=result)], routes_all(Target(f"route-{number}", "log")), at=NOON
        )
    feed = EventFeed(store.database)

    def found(count: int, **wanted: Any) -> list[str]:
        return [event.job_id for event in feed.newest(count, FeedFilter(**wanted)).events]

    assert found(2) == ["job-4", "job-5"]
    assert found(9) == [f"job-{number}" for number in range(6)]
    assert found(0) == []
    assert found(9, function="asr") == ["job-0", "job-3"]
    assert found(1, function="asr", state="fail") == ["job-3"]
    assert found(9, route="route-2") == ["job-2"]
    assert found(9, state="done") == found(9, event="job.finished") == []


def test_reading_goes_on_after_one_of_the_newest_events(store: SqlStore) -> None:
    store.record(decoded_messages(5), routes_all(), at=NOON)
    feed = EventFeed(store.database)
    newest = feed.newest(3)
    assert newest.position == feed.end()
    assert read_all(store, Position.parse(newest.events[0].cursor)) == newest.events[1:]


def test_what_was_deleted_is_left_out(store: SqlStore) -> None:
    store.record(decoded_messages(2), routes_all(), at=NOON)
    with store.database.write() as connection:
        connection.execute(delete(results).where(results.c.job_id == "mps-callbacks-job-0"))

    assert [event.job_id for event in read_all(store)] == ["mps-callbacks-job-1"]


def test_a_deleted_row_whose_id_another_one_got_is_left_out(store: SqlStore) -> None:
    """As SQLite assigned them before schema 0014."""
    again = (
        "ALTER SEQUENCE results_id_seq RESTART"
        if store.database.is_postgres
        else "UPDATE sqlite_sequence SET seq = 0"
    )
    store.record(decoded_messages(1, prefix="refused"), routes_all(), at=NOON)
    with store.database.write() as connection:
        connection.execute(delete(results))
        connection.execute(text(again))
    store.record(decoded_messages(1), routes_all(), at=NOON + SECOND)

    (event,) = read_all(store)
    assert (event.job_id, event.at) == ("mps-callbacks-job-0", NOON + SECOND)


@pytest.mark.parametrize("kind", ["what", ""])
def test_a_damaged_change_stops_no_other(store: SqlStore, kind: str) -> None:
    for number in range(3):
        store.record(decoded_messages(1, prefix=str(number)), routes_all(), at=NOON)
    with store.database.write() as connection:
        middle = sorted(connection.scalars(changes.select().with_only_columns(changes.c.id)))[1]
        connection.execute(update(changes).where(changes.c.id == middle).values(kind=kind, row_ids="1"))

    assert [event.job_id for event in read_all(store)] == ["mps-callbacks-0-0", "mps-callbacks-2-0"]
    assert len(EventFeed(store.database).newest(5, ALL_EVENTS).events) == 2
