"""receive → decode → record → delete, with a queue in memory and a real store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener.core import clock
from listener.core.errors import FailureKind, QueueUnavailable
from listener.core.model import Message, RecordSummary, Result
from listener.formats.callback import decode
from listener.intake.poller import MAX_BATCHES, MAX_CHARACTERS, MAX_EARLY_PAUSE, MAX_GATHERING, Poller
from listener.intake.recorder import Recorder
from listener.rules.backoff import MNS_BACKOFF
from listener.rules.routing import Correlation, Rule
from listener.runtime.liveness import Heartbeat
from listener.runtime.metrics import Metrics
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_callback, a_message, wrapped
from tests.support.clocks import freeze_time
from tests.support.dispatching import a_dispatcher
from tests.support.logs import above_debug, events
from tests.support.memory_queue import MemoryQueue
from tests.support.sqlite import new_sqlite_store
from tests.support.stores import count, deliveries, quarantine, results, the_row

WAIT = timedelta(seconds=20)
#: How many messages are recorded together at most.
TOGETHER = 16 * MAX_BATCHES


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


class SizingRecorder(Recorder):
    """Notes how many messages are recorded together."""

    def __init__(self, store: SqlStore) -> None:
        rules = (Rule(name="videos", handlers=("log",)),)
        sink = a_dispatcher(store, lambda _result: None)
        super().__init__(store=store, rules=rules, correlation=Correlation(), sink=sink)
        self.sizes: list[int] = []

    def record(self, queue: str, messages: Sequence[Message]) -> RecordSummary:
        self.sizes.append(len(messages))
        return super().record(queue, messages)


class DeepQueue(MemoryQueue):
    """Before each receive, the next of these events happens."""

    def __init__(self, number: int, *events: Callable[[], object]) -> None:
        super().__init__(*messages(number))
        self._events = iter(events)
        self.limits: list[int] = []
        self.requests: list[int] = []  #: at the same time
        self.waits: list[timedelta] = []
        self.deletes: list[int] = []

    def receive(self, *, limit: int, wait: timedelta, requests: int = 1) -> Sequence[Message]:
        self.limits.append(limit)
        self.requests.append(requests)
        self.waits.append(wait)
        next(self._events, nothing)()
        return super().receive(limit=limit, wait=wait, requests=requests)

    def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
        self.deletes.append(len(messages))
        return super().delete(messages)


def nothing() -> None:
    """What usually happens before a receive."""


def a_poller(queue: MemoryQueue, store: SqlStore, **options: Any) -> Poller:
    defaults: dict[str, Any] = {
        "queue": queue,
        "recorder": SizingRecorder(store),
        "stop": threading.Event(),
        "meter": Metrics(),
        "heartbeat": Heartbeat(WAIT),
        "wait": WAIT,
    }
    return Poller(**(defaults | options))


def messages(number: int) -> list[Message]:
    return [
        a_message(
            message_id=f"m{place}", receipt_handle=f"h{place}", body=wrapped(a_callback(JobId=f"job-{place}"))
        )
        for place in range(number)
    ]


def unavailable(kind: FailureKind = FailureKind.CONNECTION) -> QueueUnavailable:
    return QueueUnavailable("gone", kind=kind)


def fault_of(poller: Poller) -> FailureKind | None:
    return poller.last_error.kind if poller.last_error else None


def break_store(store: SqlStore) -> None:
    with store.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE results RENAME TO away")


def repair_store(store: SqlStore) -> None:
    with store.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO results")


def test_a_message_is_deleted_once_its_result_is_recorded(store: SqlStore) -> None:
    queue = MemoryQueue(*messages(20))
    poller = a_poller(queue, store)

    assert [poller.poll_once() for _ in range(2)] == [20, 0]
    assert (queue.messages, count(store, results), count(store, deliveries)) == ([], 20, 20)
    assert poller.idle


def test_each_step_of_a_turn_shows_that_the_poller_works(store: SqlStore) -> None:
    """Together they may take longer than one may."""
    steps: list[str] = []

    class Stepwise(MemoryQueue):
        def receive(self, *, limit: int, wait: timedelta, requests: int = 1) -> Sequence[Message]:
            steps.append("receive")
            return super().receive(limit=limit, wait=wait, requests=requests)

        def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
            steps.append("delete")
            return super().delete(messages)

    class Noting(Heartbeat):
        def beat(self) -> None:
            steps.append("beat")

    a_poller(Stepwise(*messages(3)), store, heartbeat=Noting(WAIT)).turn()

    assert steps == ["receive", "beat", "beat", "delete"]


def test_messages_whose_deletes_all_fail_are_counted(store: SqlStore) -> None:
    class Undeletable(MemoryQueue):
        def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
            raise unavailable()

    meter = Metrics()
    a_poller(Undeletable(*messages(3)), store, meter=meter).turn()

    labels = {"queue": "mine", "result": "failed"}
    assert meter.registry.get_sample_value("mns_listener_messages_deleted_total", labels) == 3


def test_nothing_is_deleted_while_the_store_is_away(store: SqlStore) -> None:
    queue = MemoryQueue(*messages(3))
    poller = a_poller(queue, store)
    break_store(store)
    poller.turn()
    assert (len(queue.messages), poller.failures) == (3, 1)

    repair_store(store)
    queue.redeliver()
    poller.turn()
    assert (queue.messages, count(store, results), poller.last_error) == ([], 3, None)


def test_a_redelivered_message_is_a_duplicate(store: SqlStore) -> None:
    queue = MemoryQueue(*messages(1))
    poller = a_poller(queue, store)
    poller.poll_once()
    queue.messages = messages(1)
    poller.poll_once()

    assert (the_row(store, results)["copies"], count(store, deliveries), queue.messages) == (2, 1, [])


def test_a_garbled_message_is_quarantined_and_deleted(store: SqlStore) -> None:
    queue = MemoryQueue(a_message(body="\x01garbled"))
    a_poller(queue, store).poll_once()

    assert (queue.messages, the_row(store, quarantine)["body"]) == ([], "\x01garbled")


def test_a_bug_in_decoding_costs_only_its_own_message(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(body: str) -> Result:
        if body == "trap":
            raise RecursionError("deep")
        return decode(body)

    monkeypatch.setattr("listener.intake.recorder.decode", broken)
    queue = MemoryQueue(*messages(2), a_message(message_id="trap", body="trap"))
    with capture_logs() as logs:
        a_poller(queue, store).poll_once()

    assert (queue.messages, count(store, results)) == ([], 2)
    assert "a bug in mns-listener): RecursionError" in the_row(store, quarantine)["reason"]
    assert events(above_debug(logs)) == ["decode.crashed", "message.quarantined"]


def test_pauses_grow_to_a_bound_and_recovery_is_logged(store: SqlStore) -> None:
    queue = MemoryQueue()
    queue.faults = [unavailable() for _ in range(12)]
    poller = a_poller(queue, store)
    with capture_logs() as logs:
        pauses = [poller.turn() for _ in range(12)]
        poller.turn()

    assert MNS_BACKOFF.initial / 2 <= pauses[0] <= MNS_BACKOFF.initial
    assert all(MNS_BACKOFF.maximum / 2 <= pause <= MNS_BACKOFF.maximum for pause in pauses[6:])
    assert [entry["event"] for entry in logs] == ["queue.unavailable", "queue.recovered"]
    assert logs[-1]["failures"] == 12


def test_trouble_is_shown_until_it_is_over(store: SqlStore) -> None:
    queue = MemoryQueue()
    queue.faults = [unavailable(FailureKind.MISSING)]
    poller = a_poller(queue, store)
    poller.turn()
    assert (fault_of(poller), poller.failures) == (FailureKind.MISSING, 1)

    poller.turn()
    assert (fault_of(poller), poller.failures) == (None, 0)


def test_a_bug_of_ours_does_not_end_the_loop(store: SqlStore) -> None:
    class Broken(MemoryQueue):
        def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
            raise ZeroDivisionError

    poller = a_poller(Broken(*messages(1)), store)
    with capture_logs() as logs:
        pause = poller.turn()

    assert pause > timedelta(0)
    assert events(above_debug(logs)) == ["poll.crashed"]


def test_an_empty_poll_that_ended_early_is_followed_by_a_short_pause(store: SqlStore) -> None:
    assert a_poller(MemoryQueue(), store).turn() == MAX_EARLY_PAUSE


def test_a_long_poll_that_took_its_time_is_followed_by_the_next_at_once(store: SqlStore) -> None:
    with freeze_time() as time:

        class Slow(MemoryQueue):
            def receive(self, *, limit: int, wait: timedelta, requests: int = 1) -> Sequence[Message]:
                time.tick(wait)
                return ()

        assert a_poller(Slow(), store).turn() == timedelta(0)


def test_messages_are_followed_by_the_next_poll_at_once(store: SqlStore) -> None:
    assert a_poller(MemoryQueue(*messages(1)), store).turn() == timedelta(0)


def test_a_poller_ends_with_its_stop_event_and_closes_its_queue(store: SqlStore) -> None:
    stop, queue = threading.Event(), MemoryQueue()
    heartbeat = Heartbeat(WAIT)
    thread = threading.Thread(target=a_poller(queue, store, stop=stop, heartbeat=heartbeat).run)
    thread.start()
    stop.set()
    thread.join(30)

    assert (thread.is_alive(), queue.closed) == (False, True)


def test_a_fault_while_stopping_is_not_logged(store: SqlStore) -> None:
    stop, queue = threading.Event(), MemoryQueue()
    queue.faults = [unavailable()]
    poller = a_poller(queue, store, stop=stop)
    stop.set()
    with capture_logs() as logs:
        assert poller.turn() == timedelta(0)

    assert logs == []


def test_the_time_from_the_queue_to_the_store_is_counted(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics()
    ahead = a_message(message_id="ahead", enqueued_at=NOON + timedelta(hours=1))
    queue = MemoryQueue(*messages(2), ahead, a_message(message_id="unknown", enqueued_at=None))
    monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(seconds=40))
    a_poller(queue, store, meter=metrics).poll_once()

    series = {"queue": queue.name}
    name = "mns_listener_message_record_duration_seconds"
    assert metrics.registry.get_sample_value(f"{name}_count", series) == 3
    assert metrics.registry.get_sample_value(f"{name}_sum", series) == 80


def test_batches_of_a_deep_queue_are_recorded_and_deleted_together(store: SqlStore) -> None:
    queue, recorder = DeepQueue(TOGETHER + 16), SizingRecorder(store)
    poller = a_poller(queue, store, recorder=recorder)

    assert poller.poll_once() == TOGETHER
    assert (recorder.sizes, queue.deletes) == ([TOGETHER], [TOGETHER])
    assert (queue.requests, queue.waits) == ([1] * MAX_BATCHES, [WAIT, *[timedelta(0)] * (MAX_BATCHES - 1)])
    assert (poller.full, count(store, results), len(queue.messages)) == (True, TOGETHER, 16)


def test_once_the_queue_is_known_to_be_deep_its_batches_are_received_at_the_same_time(
    store: SqlStore,
) -> None:
    queue, recorder = DeepQueue(3 * TOGETHER - 15), SizingRecorder(store)
    poller = a_poller(queue, store, recorder=recorder)
    poller.poll_once()
    del queue.requests[:], queue.waits[:]

    assert [poller.poll_once() for _ in range(2)] == [TOGETHER, TOGETHER - 15]
    assert (queue.requests, queue.waits) == ([MAX_BATCHES] * 2, [timedelta(0)] * 2)
    assert poller.full, "only one of the batches was not full"
    assert (poller.turn(), poller.full) == (timedelta(0), False), "not a long poll that ended early"
    poller.poll_once()
    assert (queue.requests[2:], queue.waits[2:]) == ([MAX_BATCHES, 1], [timedelta(0), WAIT])
    assert set(queue.limits) == {16}


def test_a_queue_that_misses_a_whole_batch_is_not_deep_any_more(store: SqlStore) -> None:
    queue = DeepQueue(2 * TOGETHER - 16)
    poller = a_poller(queue, store)

    assert [(poller.poll_once(), poller.full) for _ in range(2)] == [
        (TOGETHER, True),
        (TOGETHER - 16, False),
    ]


def test_a_batch_that_is_not_full_is_the_last_to_be_recorded_with_others(store: SqlStore) -> None:
    queue, recorder = DeepQueue(20), SizingRecorder(store)
    poller = a_poller(queue, store, recorder=recorder)
    poller.poll_once()

    assert (recorder.sizes, len(queue.waits), poller.full, poller.idle) == ([20], 2, False, False)


def test_batches_are_recorded_together_also_while_handlers_are_slower_than_the_queue(store: SqlStore) -> None:
    queue, recorder = DeepQueue(TOGETHER + 16), SizingRecorder(store)
    recorder.overflows = True
    poller = a_poller(queue, store, recorder=recorder)
    poller.poll_once()

    assert (recorder.sizes, poller.wants_more_pollers) == ([TOGETHER], False)


def test_a_batch_of_long_messages_is_recorded_without_others(store: SqlStore) -> None:
    queue, recorder = DeepQueue(80), SizingRecorder(store)
    queue.messages[0] = a_message(receipt_handle="long", body=" " * MAX_CHARACTERS)
    poller = a_poller(queue, store, recorder=recorder)
    for _ in range(2):
        poller.poll_once()

    assert (recorder.sizes, queue.waits[:2], queue.requests[:2]) == ([16, 64], [WAIT, WAIT], [1, 1])


def test_nothing_more_is_received_once_the_stop_event_is_set(store: SqlStore) -> None:
    stop = threading.Event()
    queue = DeepQueue(80, stop.set)
    a_poller(queue, store, stop=stop).turn()

    assert (queue.waits, count(store, results), len(queue.messages)) == ([WAIT], 16, 64)


def test_slow_receives_do_not_hold_up_what_was_received(store: SqlStore) -> None:
    with freeze_time() as time:
        queue, recorder = DeepQueue(80, nothing, lambda: time.tick(MAX_GATHERING)), SizingRecorder(store)
        a_poller(queue, store, recorder=recorder).poll_once()

    assert (recorder.sizes, queue.waits) == ([32], [WAIT, timedelta(0)])


@pytest.mark.parametrize("error", [unavailable(), ZeroDivisionError()], ids=["outage", "bug"])
def test_what_was_received_before_a_failure_is_recorded_and_deleted_first(
    store: SqlStore, error: Exception
) -> None:
    def fail() -> None:
        raise error

    queue = DeepQueue(80, nothing, nothing, fail)
    poller = a_poller(queue, store)
    pause = poller.turn()

    assert (count(store, results), len(queue.messages), queue.deletes) == (32, 48, [32])
    assert (poller.failures, poller.full, pause > timedelta(0)) == (1, False, True)
    assert poller.poll_once() == 48
