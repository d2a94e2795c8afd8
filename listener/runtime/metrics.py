"""Prometheus metrics. Metric names use the terms of the glossary; label sets are small and bounded."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from listener.core import clock
from listener.core.errors import FailureKind, StoreFailureKind
from listener.core.model import (
    OUTCOME_NAMES,
    Dead,
    Done,
    EndedJob,
    Offered,
    Outcome,
    RecordKind,
    RecordSummary,
    Settlement,
    Source,
    Target,
    VerificationOutcome,
)
from listener.runtime.gauges import Gauges
from listener.runtime.histograms import Histogram

SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900)
#: Of the way of one result through the daemon, which takes milliseconds, or until a receiver works again.
DELAY_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400)
#: Of jobs, which run for seconds to hours.
JOB_SECONDS = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 43_200, 86_400)
#: The function of every job that has none, or one that is not in the table of known ones: labels must be bounded.
OTHER_FUNCTION = "other"
#: The operations of MNS, and how its requests end; for the outcomes of MPS requests, see ``aliyun.request_count``.
MNS_OPERATIONS = ("receive", "delete")
REQUEST_OUTCOMES = ("ok", *FailureKind)
#: An outcome that was ignored, since another attempt had begun.
LATE = "late"
#: The outcomes that are counted. An offer is not: the attempt goes on.
OUTCOMES = (*(name for kind, name in OUTCOME_NAMES.items() if kind is not Offered), LATE)
#: Outcomes of attempts after which there is no other one.
ENDS_DELIVERY = frozenset({OUTCOME_NAMES[Done], OUTCOME_NAMES[Dead]})
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

    def __init__(
        self,
        *,
        lines_dropped: Callable[[], Mapping[str, int]] = dict,
        functions: Collection[str] = (),
        version: str = "",
    ) -> None:
        """``lines_dropped``: how many lines of each output stream were dropped so far; ``functions``: those that have
        series of their own."""
        self.registry = registry = CollectorRegistry()
        self._functions = frozenset(functions)
        self._intake = _IntakeMetrics(registry)
        self._dispatch = _DispatchMetrics(registry)
        self._jobs = _JobMetrics(registry)
        self.gauges = Gauges(registry, version=version)
        counter = partial(Counter, registry=registry)
        self._store_failures = counter(
            "mns_listener_store_failures", "Failed calls of the store by kind", ["kind"]
        )
        self._clock_jumps = counter("mns_listener_clock_jumps", "Jumps of the wall clock", ["direction"])
        registry.register(_LinesDropped(lines_dropped))
        _expect(self._store_failures, StoreFailureKind)
        _expect(self._clock_jumps, ("forward", "back"))

    def expect(self, *, queues: Iterable[str], targets: Iterable[Target]) -> None:
        """Show every series of these from now on, with 0 at first: the first event is then an increase."""
        for queue in queues:
            self._intake.expect(queue)
            self.gauges.expect(queue)
        for target in targets:
            self._dispatch.expect(target)

    # What the engine counts; see listener.core.ports.Meter

    def polled(self, queue: str, *, messages: int, seconds: float) -> None:
        intake = self._intake
        _child(intake.polls, queue, "messages" if messages else "empty").inc()
        intake.poll_duration.observe((seconds,), queue)
        _child(intake.messages, queue).inc(messages)
        self.gauges.received(queue)

    def queue_failed(self, queue: str, kind: str) -> None:
        _child(self._intake.failures, queue, kind).inc()

    def store_failed(self, kind: str) -> None:
        _child(self._store_failures, kind).inc()

    def recorded(self, queue: str, summary: RecordSummary, *, delays: Sequence[timedelta]) -> None:
        for kind, count in summary.kinds.items():
            _child(self._intake.results, queue, kind).inc(count)
        self._intake.record_duration.observe([delay.total_seconds() for delay in delays], queue)
        self.gauges.recorded(queue, delays)

    def decided(self, summary: RecordSummary) -> None:
        for kind in DECISIONS & summary.kinds.keys():
            _child(self._intake.decisions, kind).inc(summary.kinds[kind])

    def verified(self, queue: str, outcome: str) -> None:
        _child(self._intake.verifications, queue, outcome).inc()

    def deleted(self, queue: str, *, messages: int, failed: int) -> None:
        _child(self._intake.deleted, queue, "deleted").inc(messages)
        if failed:
            _child(self._intake.deleted, queue, "failed").inc(failed)

    def settled(self, settlements: Sequence[Settlement], *, late: bool) -> None:
        now, dispatch = clock.now(), self._dispatch
        by_kind: dict[tuple[str, str, type[Outcome]], list[Settlement]] = {}
        for each in settlements:
            target = each.delivery.target
            by_kind.setdefault((target.route, target.handler, type(each.outcome)), []).append(each)
        for (route, handler, kind), alike in by_kind.items():
            outcome = LATE if late else OUTCOME_NAMES[kind]
            _child(dispatch.attempts, route, handler, outcome).inc(len(alike))
            dispatch.handler_duration.observe([each.seconds or 0.0 for each in alike], route, handler)
            if outcome in ENDS_DELIVERY:
                waited = [(now - each.delivery.attempts_since).total_seconds() for each in alike]
                dispatch.delivery_duration.observe([max(each, 0.0) for each in waited], route, handler)

    def clock_jumped(self, size: timedelta) -> None:
        _child(self._clock_jumps, "forward" if size > timedelta(0) else "back").inc()

    # What else is counted

    def ended(self, jobs: Sequence[EndedJob]) -> None:
        """These outcomes of jobs were recorded."""
        for source, count in Counts(job.source for job in jobs).items():
            _child(self._jobs.ended, source).inc(count)
        seconds: dict[str, list[float]] = {}
        for job in jobs:
            if job.took is not None:
                function = job.function if job.function in self._functions else OTHER_FUNCTION
                seconds.setdefault(function, []).append(job.took.total_seconds())
        for function, values in seconds.items():
            self._jobs.duration.observe(values, function)

    def mns_requested(self, operation: str, outcome: str) -> None:
        """A request to MNS has ended; see ``aliyun.request_count``."""
        _child(self._intake.requests, operation, outcome).inc()

    def mps_requested(self, operation: str, outcome: str) -> None:
        """The same for MPS."""
        _child(self._jobs.requests, operation, outcome).inc()

    def exposition(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(_WithoutCreated(self.registry))


class _IntakeMetrics:
    """From the queue to the store."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.polls = counter("mns_listener_polls", "Receives by result", ["queue", "result"])
        self.poll_duration = histogram(
            "mns_listener_poll_duration_seconds",
            "Duration of receives, including the long poll",
            ["queue"],
            buckets=SECONDS,
        )
        self.messages = counter("mns_listener_messages_received", "Messages received", ["queue"])
        self.deleted = counter("mns_listener_messages_deleted", "Messages deleted", ["queue", "result"])
        self.failures = counter(
            "mns_listener_queue_failures", "Failed MNS requests by kind of failure", ["queue", "kind"]
        )
        self.requests = counter(
            "mns_listener_mns_requests", "MNS requests by operation and outcome", ["operation", "outcome"]
        )
        self.results = counter(
            "mns_listener_results", "Messages by what recording them led to", ["queue", "kind"]
        )
        self.record_duration = histogram(
            "mns_listener_message_record_duration_seconds",
            "Time from the sending of a message until it was recorded",
            ["queue"],
            buckets=DELAY_SECONDS,
        )
        self.decisions = counter(
            "mns_listener_decisions", "Results that had waited or were verified, by the decision", ["kind"]
        )
        self.verifications = counter(
            "mns_listener_verifications", "Callbacks about which MPS was asked", ["queue", "outcome"]
        )
        _expect(self.decisions, DECISIONS)
        for operation in MNS_OPERATIONS:
            _expect(self.requests, REQUEST_OUTCOMES, operation)

    def expect(self, queue: str) -> None:
        _expect(self.polls, ("messages", "empty"), queue)
        _expect(self.deleted, ("deleted", "failed"), queue)
        _expect(self.failures, FailureKind, queue)
        _expect(self.results, RecordKind, queue)
        _expect(self.verifications, VerificationOutcome, queue)
        self.messages.labels(queue)
        self.poll_duration.expect(queue)
        self.record_duration.expect(queue)


class _DispatchMetrics:
    """From the store to the handlers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        histogram = partial(Histogram, registry=registry)
        self.attempts = Counter(
            "mns_listener_delivery_attempts",
            "Delivery attempts by outcome",
            ["route", "handler", "outcome"],
            registry=registry,
        )
        self.handler_duration = histogram(
            "mns_listener_handler_duration_seconds",
            "Duration of handler calls",
            ["route", "handler"],
            buckets=SECONDS,
        )
        self.delivery_duration = histogram(
            "mns_listener_delivery_duration_seconds",
            "Time from the recording of a result, or its replay, until its delivery was done or dead",
            ["route", "handler"],
            buckets=DELAY_SECONDS,
        )

    def expect(self, target: Target) -> None:
        _expect(self.attempts, OUTCOMES, target.route, target.handler)
        self.handler_duration.expect(target.route, target.handler)
        self.delivery_duration.expect(target.route, target.handler)


class _JobMetrics:
    """Jobs and the MPS API."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.ended = Counter(
            "mns_listener_jobs_ended",
            "Outcomes of jobs by what brought them",
            ["source"],
            registry=registry,
        )
        self.duration = Histogram(
            "mns_listener_job_duration_seconds",
            "Time from the submission of a job until its outcome was recorded",
            ["function"],
            buckets=JOB_SECONDS,
            registry=registry,
        )
        self.requests = Counter(
            "mns_listener_mps_requests",
            "MPS requests by operation and outcome",
            ["operation", "outcome"],
            registry=registry,
        )
        _expect(self.ended, Source)


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
