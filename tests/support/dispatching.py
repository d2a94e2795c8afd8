"""Dispatchers whose handlers run in this process, and what they leave in the store."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from listener.core import clock
from listener.core.model import JobResult, Target
from listener.dispatch.attempt import HandlerBinding
from listener.dispatch.dispatcher import Dispatcher
from listener.dispatch.lease_keeper import CallTimeouts
from listener.rules.backoff import Backoff
from listener.rules.retry import RetryPolicy
from listener.runtime.liveness import Heartbeat
from listener.runtime.metrics import Metrics
from listener.store.sql_store import SqlStore
from listener.store.tables import deliveries
from tests.support.builders import decoded_messages, routes_all
from tests.support.clocks import RIGHT

TARGET = Target("videos", "log")
NO_BACKOFF = Backoff(timedelta(0), timedelta(0))
QUICK = RetryPolicy(backoff=NO_BACKOFF)
LONG = timedelta(minutes=10)

Handle = Callable[[JobResult], None]


def a_dispatcher(store: SqlStore, handle: Handle, **options: Any) -> Dispatcher:
    """A dispatcher whose only handler is this one; ``start`` has not been called."""
    policy = options.pop("policy", QUICK)
    timeouts = CallTimeouts(
        handler=options.pop("handler_timeout", LONG), overrun=options.pop("overrun_timeout", LONG)
    )
    defaults: dict[str, Any] = {
        "store": store,
        "bindings": {TARGET: HandlerBinding(run=handle, policy=policy)},
        "fallback": policy,
        "meter": Metrics(),
        "clock_check": RIGHT,
        "owner": "host:1:0a1b2c3d",
        "concurrency": 4,
        "lease": LONG,
        "timeouts": timeouts,
        "no_handler_timeout": LONG,
        "may_run_elsewhere": lambda _target: False,
        "make_heartbeat": lambda _name: Heartbeat(LONG),
    }
    return Dispatcher(**(defaults | options))


@contextmanager
def dispatching(store: SqlStore, handle: Handle, **options: Any) -> Iterator[Dispatcher]:
    """A dispatcher that claims and works until the end of the ``with``."""
    dispatcher = a_dispatcher(store, handle, **options)
    stop = threading.Event()
    claims = threading.Thread(target=lambda: dispatcher.run_claims(stop, Heartbeat(LONG)))
    dispatcher.start()
    claims.start()
    try:
        yield dispatcher
    finally:
        stop.set()
        dispatcher.wake()
        claims.join(30)
        dispatcher.stop(timedelta(seconds=30))
        dispatcher.end()


def record_results(store: SqlStore, count: int = 1) -> None:
    store.record(decoded_messages(count), routes_all(), at=clock.now())


def delivery_rows(store: SqlStore) -> Sequence[Any]:
    with store.database.read() as connection:
        return connection.execute(select(deliveries).order_by(deliveries.c.id)).all()


def delivery_states(store: SqlStore) -> Counter[str]:
    return Counter(row.state for row in delivery_rows(store))
