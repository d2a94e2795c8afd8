"""Deliveries that are offered to applications of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from listener.core.model import Target
from listener.core.pull import PullHandler
from listener.dispatch.attempt import HandlerBinding
from listener.dispatch.dispatcher import Dispatcher
from listener.dispatch.pull import Pull
from listener.runtime.metrics import Metrics
from listener.store.sql_store import SqlStore
from tests.support.dispatching import QUICK, TARGET, a_dispatcher, dispatching, record_results
from tests.support.waiting import wait_until


def a_pull(store: SqlStore, dispatcher: Dispatcher | None = None, **options: Any) -> Pull:
    """For applications that pull the deliveries of TARGET, or of these ``handlers``."""
    of = dispatcher or a_dispatcher(store, PullHandler())
    defaults: dict[str, Any] = {
        "store": store,
        "handlers": lambda: {TARGET: PullHandler()},
        "policy": of.policy,
        "lease_time": of.lease_time,
        "meter": Metrics(),
        "daemon": "host:1:0a1b2c3d",
    }
    return Pull(**(defaults | options))


@contextmanager
def offering(store: SqlStore, *targets: Target, **options: Any) -> Iterator[Dispatcher]:
    """A dispatcher that offers every delivery to these targets, or to TARGET, until the end of the ``with``."""
    bindings = {target: HandlerBinding(run=PullHandler(), policy=QUICK) for target in targets or (TARGET,)}
    with dispatching(store, PullHandler(), **({"bindings": bindings} | options)) as dispatcher:
        yield dispatcher


def offer_results(store: SqlStore, count: int = 1) -> None:
    """Record results, and let a dispatcher offer them that stops after that."""
    record_results(store, count)
    with offering(store):
        wait_until(lambda: store.left_to_applications() == count)
