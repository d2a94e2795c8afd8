"""What health checks say about the queues."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import pytest

from listener.core.errors import FailureKind, QueueUnavailable
from listener.core.model import Message, RecordSummary
from listener.core.queue_status import QueueReport
from listener.daemon.health import HealthChecks
from listener.intake.poller import Poller
from listener.intake.poller_group import PollerGroup
from listener.runtime.liveness import Heartbeat, LivenessMonitor
from listener.runtime.metrics import Metrics
from listener.runtime.store_health import StoreHealth
from tests.support.clocks import let_pass

MINUTE = timedelta(minutes=1)


class Failing:
    """A queue that is away from the second receive on, and the recorder of what it brings: nothing."""

    name = "mps-callbacks"
    overflows = False
    receives = 0

    def receive(self, *, limit: int, wait: timedelta, requests: int = 1) -> Sequence[Message]:
        self.receives += 1
        if self.receives > 1:
            raise QueueUnavailable("connection refused", kind=FailureKind.REFUSED)
        return ()

    def record(self, queue: str, messages: Sequence[Message]) -> RecordSummary:
        return RecordSummary()

    def close(self) -> None: ...


def checks_of(group: PollerGroup, metrics: Metrics, stop: threading.Event) -> HealthChecks:
    return HealthChecks(
        daemon="host:1:a",
        liveness=LivenessMonitor(),
        metrics=metrics,
        gauges=cast("Any", None),
        poller_groups=[group],
        store=StoreHealth(metrics, call_limit=MINUTE),
        stopping=stop,
    )


def test_a_queue_is_reported_with_its_last_answer_and_what_failed_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics, stop, queue = Metrics(), threading.Event(), Failing()
    metrics.expect(queues=[queue.name], targets=[])
    poller = Poller(
        queue=cast("Any", queue),
        recorder=cast("Any", queue),
        stop=stop,
        meter=metrics,
        heartbeat=Heartbeat(MINUTE),
        wait=timedelta(0),
    )
    group = PollerGroup(first=poller, make_extra=lambda: poller, max_pollers=1)
    checks = checks_of(group, metrics, stop)
    metrics.recorded(queue.name, RecordSummary(), delays=[3 * MINUTE, 9 * MINUTE])
    poller.turn()
    let_pass(7 * timedelta(seconds=1), monkeypatch)
    (answered,) = checks.queues()
    poller.turn()
    (failed,) = checks.queues()

    assert answered.last_receive
    assert answered.last_receive >= timedelta(seconds=7)
    assert answered == QueueReport(
        name=queue.name, pollers=1, last_receive=answered.last_receive, delay=9 * MINUTE
    )
    assert (failed.error, failed.last_receive and failed.last_receive >= timedelta(seconds=7)) == (
        "connection refused",
        True,
    )
    assert checks.ready().details["queues"] == {queue.name: "connection refused"}
