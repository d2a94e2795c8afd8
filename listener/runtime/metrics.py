"""What operators can watch, in Prometheus' terms. Names are the words of the product; labels are few and bounded."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from listener.core.model import Done, RecordSummary, RetryAt, Settlement

SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Keeps the promises of ``listener.core.ports.Meter``; counters are safe to use from several threads."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._polls = Counter("mns_listener_polls", "Receives sent", ["queue", "result"], registry=registry)
        self._poll_seconds = Histogram(
            "mns_listener_poll_seconds",
            "How long a receive took",
            ["queue"],
            buckets=SECONDS,
            registry=registry,
        )
        self._messages = Counter(
            "mns_listener_messages_received", "Messages received", ["queue"], registry=registry
        )
        self._deleted = Counter(
            "mns_listener_messages_deleted", "Messages deleted", ["queue", "result"], registry=registry
        )
        self._failures = Counter(
            "mns_listener_queue_failures", "Requests that failed", ["queue", "kind"], registry=registry
        )
        self._results = Counter(
            "mns_listener_results", "What arrivals turned out to be", ["queue", "kind"], registry=registry
        )
        self._deliveries = Counter(
            "mns_listener_deliveries_settled",
            "Attempts ended",
            ["route", "handler", "outcome"],
            registry=registry,
        )
        self._handler_seconds = Histogram(
            "mns_listener_handler_seconds",
            "How long a handler took",
            ["route", "handler"],
            buckets=SECONDS,
            registry=registry,
        )
        self._ready = Gauge("mns_listener_ready", "1 while everything turns", registry=registry)

    def polled(self, queue: str, *, messages: int, seconds: float) -> None:
        _child(self._polls, queue, "messages" if messages else "empty").inc()
        _child(self._poll_seconds, queue).observe(seconds)
        _child(self._messages, queue).inc(messages)

    def queue_failed(self, queue: str, kind: str) -> None:
        _child(self._failures, queue, kind).inc()

    def recorded(self, queue: str, recorded: RecordSummary) -> None:
        for kind, count in (
            ("new", recorded.new),
            ("duplicate", recorded.duplicates),
            ("contradiction", recorded.contradictions),
            ("quarantined", recorded.quarantined),
            ("waiting", recorded.waiting),
            ("parked", recorded.parked),
        ):
            if count:
                _child(self._results, queue, kind).inc(count)

    def deleted(self, queue: str, *, messages: int, failed: int) -> None:
        _child(self._deleted, queue, "deleted").inc(messages)
        if failed:
            _child(self._deleted, queue, "failed").inc(failed)

    def settled(self, settlement: Settlement, *, seconds: float, late: bool) -> None:
        target = settlement.delivery.target
        _child(self._deliveries, target.route, target.handler, "late" if late else _outcome(settlement)).inc()
        _child(self._handler_seconds, target.route, target.handler).observe(seconds)

    def ready(self, ready: bool) -> None:
        self._ready.set(int(ready))

    def exposition(self) -> bytes:
        """The text that a Prometheus server scrapes."""
        return generate_latest(self.registry)


def _outcome(settlement: Settlement) -> str:
    if isinstance(settlement.outcome, Done):
        return "done"
    return "again" if isinstance(settlement.outcome, RetryAt) else "dead"


@lru_cache(maxsize=1024)
def _child(metric: Any, *labels: str) -> Any:
    """The metric with these labels; looked up for every delivery, and there are few of them."""
    return metric.labels(*labels)
