"""Prometheus metrics. Metric names use the terms of the glossary; label sets are small and bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from listener.core.errors import FailureKind, StoreFailureKind
from listener.core.model import (
    OUTCOME_NAMES,
    RecordKind,
    RecordSummary,
    Settlement,
    Target,
    VerificationOutcome,
)

SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900)
#: An outcome that was ignored, since another attempt had begun.
LATE = "late"
#: What a result can become after it has waited or was verified. One that waits again has no decision yet.
DECISIONS = frozenset(
    {
        *(RecordKind.ROUTED, RecordKind.PARKED, RecordKind.PROGRESS),
        *(RecordKind.DROPPED, RecordKind.REFUSED, RecordKind.CONTRADICTION),
    }
)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Implements ``listener.core.ports.Meter``; may be called from several threads."""

    def __init__(self, *, lines_dropped: Callable[[], Mapping[str, int]] = dict) -> None:
        """``lines_dropped``: how many lines of each output stream were dropped so far."""
        self.registry = registry = CollectorRegistry()
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, buckets=SECONDS, registry=registry)
        self._polls = counter("mns_listener_polls", "ReceiveMessage calls", ["queue", "result"])
        self._poll_duration = histogram(
            "mns_listener_poll_duration_seconds",
            "Duration of ReceiveMessage calls, including the long poll",
            ["queue"],
        )
        self._messages = counter("mns_listener_messages_received", "Messages received", ["queue"])
        self._deleted = counter("mns_listener_messages_deleted", "Messages deleted", ["queue", "result"])
        self._failures = counter(
            "mns_listener_queue_failures", "Failed MNS requests by kind of failure", ["queue", "kind"]
        )
        self._store_failures = counter(
            "mns_listener_store_failures", "Failed calls of the store by kind", ["kind"]
        )
        self._results = counter(
            "mns_listener_results", "Messages by what recording them led to", ["queue", "kind"]
        )
        self._decisions = counter(
            "mns_listener_decisions", "Results that had waited or were verified, by the decision", ["kind"]
        )
        self._verifications = counter(
            "mns_listener_verifications", "Callbacks about which MPS was asked", ["queue", "outcome"]
        )
        self._attempts = counter(
            "mns_listener_delivery_attempts", "Delivery attempts by outcome", ["route", "handler", "outcome"]
        )
        self._handler_duration = histogram(
            "mns_listener_handler_duration_seconds", "Duration of handler calls", ["route", "handler"]
        )
        self._clock_jumps = counter("mns_listener_clock_jumps", "Jumps of the wall clock", ["direction"])
        self._ready = Gauge("mns_listener_ready", "1 if ready, else 0", registry=registry)
        registry.register(_LinesDropped(lines_dropped))
        _expect(self._store_failures, StoreFailureKind)
        _expect(self._clock_jumps, ("forward", "back"))
        _expect(self._decisions, DECISIONS)

    def expect(self, *, queues: Iterable[str], targets: Iterable[Target]) -> None:
        """Show every series of these from now on, with 0 at first: the first event is then an increase."""
        for queue in queues:
            _expect(self._polls, ("messages", "empty"), queue)
            _expect(self._deleted, ("deleted", "failed"), queue)
            _expect(self._failures, FailureKind, queue)
            _expect(self._results, RecordKind, queue)
            _expect(self._verifications, VerificationOutcome, queue)
            self._messages.labels(queue)
            self._poll_duration.labels(queue)
        for target in targets:
            _expect(self._attempts, (*OUTCOME_NAMES.values(), LATE), target.route, target.handler)
            self._handler_duration.labels(target.route, target.handler)

    def polled(self, queue: str, *, messages: int, seconds: float) -> None:
        _child(self._polls, queue, "messages" if messages else "empty").inc()
        _child(self._poll_duration, queue).observe(seconds)
        _child(self._messages, queue).inc(messages)

    def queue_failed(self, queue: str, kind: str) -> None:
        _child(self._failures, queue, kind).inc()

    def store_failed(self, kind: str) -> None:
        _child(self._store_failures, kind).inc()

    def recorded(self, queue: str, summary: RecordSummary) -> None:
        for kind, count in summary.kinds.items():
            _child(self._results, queue, kind).inc(count)

    def decided(self, summary: RecordSummary) -> None:
        for kind in DECISIONS & summary.kinds.keys():
            _child(self._decisions, kind).inc(summary.kinds[kind])

    def verified(self, queue: str, outcome: str) -> None:
        _child(self._verifications, queue, outcome).inc()

    def deleted(self, queue: str, *, messages: int, failed: int) -> None:
        _child(self._deleted, queue, "deleted").inc(messages)
        if failed:
            _child(self._deleted, queue, "failed").inc(failed)

    def settled(self, settlement: Settlement, *, seconds: float, late: bool) -> None:
        target = settlement.delivery.target
        outcome = LATE if late else OUTCOME_NAMES[type(settlement.outcome)]
        _child(self._attempts, target.route, target.handler, outcome).inc()
        _child(self._handler_duration, target.route, target.handler).observe(seconds)

    def clock_jumped(self, size: timedelta) -> None:
        _child(self._clock_jumps, "forward" if size > timedelta(0) else "back").inc()

    def ready(self, ready: bool) -> None:
        self._ready.set(int(ready))

    def exposition(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(_WithoutCreated(self.registry))


class _WithoutCreated(Collector):
    """Leaves out the times at which series were created, which double their number. The switch of prometheus_client
    for this would apply to handlers' own metrics, too."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            family.samples = [each for each in family.samples if not each.name.endswith("_created")]
            yield family


class _LinesDropped(Collector):
    """Reads counts that are kept elsewhere: lines are dropped before there are metrics, too."""

    def __init__(self, by_stream: Callable[[], Mapping[str, int]]) -> None:
        self._by_stream = by_stream

    def describe(self) -> list[CounterMetricFamily]:
        return [
            CounterMetricFamily(
                "mns_listener_log_lines_dropped", "Lines that could not be written", labels=["stream"]
            )
        ]

    def collect(self) -> list[CounterMetricFamily]:
        families = self.describe()
        for stream, lines in self._by_stream().items():
            families[0].add_metric([stream], lines)
        return families


def _expect(metric: Counter, values: Iterable[str], *labels: str) -> None:
    for value in values:
        metric.labels(*labels, value)


@lru_cache(maxsize=1024)
def _child(metric: Any, *labels: str) -> Any:
    """The child of a metric for these labels; cached, since it is needed for every delivery."""
    return metric.labels(*labels)
