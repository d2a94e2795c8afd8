"""``python -m tests.benchmarks.parts [COUNT]``: what each step costs alone, on one thread, without a profiler.

Process CPU time for a callback, in microseconds; and the time that passed, which holds the waiting for the disk and for
the server, too.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, cast

import structlog

from listener.aliyun.credentials import AccessKey, Credentials
from listener.aliyun.mns_queue import MnsQueue
from listener.core import clock
from listener.core.model import Claim, DecodedMessage, Delivery, Done, Message, Settlement
from listener.dispatch.attempt import HandlerBinding
from listener.dispatch.job_result import job_result
from listener.formats.callback import decode
from listener.intake.recorder import decode_message
from listener.rules.retry import RetryPolicy
from listener.rules.routing import Correlation, Rule, decider
from listener.store.sql_store import SqlStore
from tests.benchmarks.places import ENVIRONMENT, running_server
from tests.benchmarks.series import QUEUE
from tests.benchmarks.stores import new_store
from tests.support.dispatching import a_dispatcher

#: Callbacks in one transaction: one batch, and several that are committed together.
TOGETHER: Final = (16, 64)
CONCURRENCY: Final = 16
MINUTE: Final = timedelta(minutes=1)


class Timed:
    """Adds up what a step took."""

    def __init__(self) -> None:
        self.cpu = self.passed = 0.0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        cpu, began = time.process_time(), time.perf_counter()
        yield
        self.cpu += time.process_time() - cpu
        self.passed += time.perf_counter() - began


def main(count: int) -> None:
    print(f"{'us for a callback':<24} {'CPU':>6} {'passed':>8}")
    messages = _exchange(count)
    _pure(messages)
    for size in TOGETHER:
        _stored(messages, size)


def _report(name: str, timed: Timed, count: int) -> None:
    print(f"{name:<24} {1e6 * timed.cpu / count:>6.1f} {1e6 * timed.passed / count:>8.1f}")


def _exchange(count: int) -> Sequence[Message]:
    """Receive and delete all of them, in batches of 16."""
    receive, delete = Timed(), Timed()
    messages: list[Message] = []
    key = AccessKey("testKeyId", "testKeySecret")
    with running_server() as server:
        server.fill("parts", count)
        queue = MnsQueue(endpoint=server.url, queue=QUEUE, name=QUEUE, credentials=Credentials(lambda: key))
        with closing(queue):
            while len(messages) < count:
                with receive():
                    batch = queue.receive(limit=16, wait=timedelta(0))
                with delete():
                    queue.delete(batch)
                messages += batch
    _report("receive", receive, count)
    _report("delete", delete, count)
    return messages


def _pure(messages: Sequence[Message]) -> None:
    decoding = Timed()
    with decoding():
        for message in messages:
            decode(message.body)
    _report("decode", decoding, len(messages))


def _stored(messages: Sequence[Message], size: int) -> None:
    """Record, make what handlers get, and settle, so many in each transaction; and dispatch without a store."""
    record, handed, settle, recorded = Timed(), Timed(), Timed(), list[Delivery]()
    decoded_messages = [decode_message(QUEUE, message) for message in messages]
    with tempfile.TemporaryDirectory() as folder, _store(Path(folder), len(messages)) as store:
        for start in range(0, len(decoded_messages), size):
            with record():
                claimed = _record(store, decoded_messages[start : start + size])
            with handed():
                for delivery in claimed:
                    job_result(delivery)
            with settle():
                store.settle([Settlement(delivery=each, outcome=Done()) for each in claimed], at=clock.now())
            recorded += claimed
    _report(f"record, {size} at a time", record, len(messages))
    _report(f"settle, {size} at a time", settle, len(messages))
    if size == TOGETHER[-1]:
        _report("what a handler gets", handed, len(messages))
        _report("dispatch without a store", _dispatched(recorded), len(messages))


class _NoStore:
    """Settles everything at once, and does nothing."""

    def settle(self, settlements: Sequence[Settlement], *, at: datetime) -> Sequence[Settlement]:
        return ()


def _dispatched(deliveries: Sequence[Delivery]) -> Timed:
    """From claim to settlement, as they come from 16 messages at a time, with a handler that does nothing."""
    dispatch = Timed()
    binding = HandlerBinding(run=lambda _result: None, policy=RetryPolicy())
    store, bindings = cast(SqlStore, _NoStore()), {deliveries[0].target: binding}
    dispatcher = a_dispatcher(store, binding.run, bindings=bindings, concurrency=CONCURRENCY)
    dispatcher.start()
    with dispatch():
        left = list(deliveries)
        while left or dispatcher.in_flight:
            if left and (claim := dispatcher.claim(TOGETHER[0])):
                dispatcher.take(claim, left[: claim.limit])
                del left[: claim.limit]
            else:
                time.sleep(0.001)
    dispatcher.stop(MINUTE)
    dispatcher.end()
    return dispatch


def _store(folder: Path, count: int) -> closing[SqlStore]:
    return closing(SqlStore.open(new_store(folder, "parts", count)))


def _record(store: SqlStore, decoded_messages: Sequence[DecodedMessage]) -> Sequence[Delivery]:
    at = clock.now()
    decide = decider([Rule(name="all", handlers=("python",))], Correlation(), now=at, wait_over=False)
    claim = Claim(owner="parts", until=at + MINUTE, limit=len(decoded_messages))
    return store.record(decoded_messages, decide, at=at, claim=claim).claimed


if __name__ == "__main__":
    os.environ.update(ENVIRONMENT)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 16_000)
