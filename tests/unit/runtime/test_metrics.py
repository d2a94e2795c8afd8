"""What is counted, and that every series is there before its first event."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import prometheus_client
import pytest

from listener.core import clock
from listener.core.errors import FailureKind, StoreFailureKind
from listener.core.model import (
    OUTCOME_NAMES,
    Dead,
    Done,
    Outcome,
    RecordKind,
    RecordSummary,
    RetryAfter,
    Settlement,
    Target,
    VerificationOutcome,
)
from listener.intake.recorder import NullDeliverySink, Recorder
from listener.rules.routing import Correlation, Match, Rule
from listener.runtime.metrics import LATE, SECONDS, Metrics
from listener.store.sql_store import SqlStore
from tests.support.builders import a_callback, a_delivery, a_message, wrapped
from tests.support.sqlite import new_sqlite_store

TARGETS = [Target("videos", "log"), Target("videos", "webhook"), Target("rest", "log")]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"mns_listener_{name}", labels)


@pytest.mark.parametrize(
    ("outcome", "late", "label"),
    [
        (Done(), False, "done"),
        (RetryAfter(wait=timedelta(0), reason=""), False, "retry"),
        (Dead(reason=""), False, "dead"),
        (Done(), True, "late"),
    ],
)
def test_settlements_are_counted_by_outcome(outcome: Outcome, late: bool, label: str) -> None:
    metrics = Metrics()
    metrics.settled(Settlement(delivery=a_delivery(), outcome=outcome), seconds=0.2, late=late)

    labels = {"route": "videos", "handler": "log"}
    assert value(metrics, "delivery_attempts_total", **labels, outcome=label) == 1
    assert value(metrics, "handler_duration_seconds_sum", **labels) == 0.2


def test_messages_are_counted_by_kind() -> None:
    metrics = Metrics()
    kinds = {RecordKind.ROUTED: 5, RecordKind.DUPLICATE: 4, RecordKind.QUARANTINED: 2}
    metrics.recorded("q", RecordSummary(kinds=kinds))

    assert {kind: value(metrics, "results_total", queue="q", kind=kind) for kind in kinds} == kinds
    assert value(metrics, "results_total", queue="q", kind="parked") is None


def test_deletions_and_faults_are_counted() -> None:
    metrics = Metrics()
    metrics.deleted("q", messages=14, failed=2)
    metrics.queue_failed("q", "tls")

    assert value(metrics, "messages_deleted_total", queue="q", result="deleted") == 14
    assert value(metrics, "messages_deleted_total", queue="q", result="failed") == 2
    assert value(metrics, "queue_failures_total", queue="q", kind="tls") == 1


def test_what_a_wait_ends_with_is_counted(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    recorder = Recorder(
        store=store,
        rules=(),
        correlation=Correlation(wait=timedelta(seconds=5)),
        sink=NullDeliverySink(),
        on_decided=metrics.decided,
    )
    assert value(metrics, "decisions_total", kind="parked") == 0
    metrics.recorded("q", recorder.record("q", [a_message()]))
    later = clock.now() + timedelta(seconds=6)
    monkeypatch.setattr(clock, "now", lambda: later)
    recorder.decide_waiting()

    assert value(metrics, "results_total", queue="q", kind="waiting") == 1
    assert value(metrics, "decisions_total", kind="parked") == 1
    assert value(metrics, "decisions_total", kind="routed") == 0


def test_every_message_is_counted_under_one_kind(store: SqlStore) -> None:
    """So the kinds of a queue add up to the messages received from it."""
    metrics = Metrics()
    recorder = Recorder(
        store=store,
        rules=(Rule(name="videos", match=Match(function="VideoH2V"), handlers=("log",)),),
        correlation=Correlation(),
        sink=NullDeliverySink(),
    )
    callbacks = [
        *({"JobId": "one"}, {"JobId": "one"}, {"JobId": "one", "State": "Fail"}),
        *({"JobId": "two", "FunctionName": "ASR"}, {"JobId": "two", "FunctionName": "ASR"}),
        *({"JobId": "three", "State": "Processing"}, {"JobId": "four"}),
    ]
    bodies = [*(wrapped(a_callback(**members)) for members in callbacks), "garbage"]
    batch = [a_message(message_id=str(place), body=body) for place, body in enumerate(bodies)]
    metrics.recorded("q", recorder.record("q", batch))

    counted = {str(kind): value(metrics, "results_total", queue="q", kind=kind) or 0 for kind in RecordKind}
    assert {kind: count for kind, count in counted.items() if count} == {
        "routed": 2,
        "parked": 1,
        "progress": 1,
        "duplicate": 2,
        "contradiction": 1,
        "quarantined": 1,
    }
    assert sum(counted.values()) == len(batch)


class TestExpectedSeries:
    def test_every_series_of_the_settings_is_there_before_its_first_event(self) -> None:
        metrics = Metrics()
        metrics.expect(queues=["one", "two"], targets=TARGETS)

        wanted = [
            ("polls_total", "result", ("messages", "empty")),
            ("messages_deleted_total", "result", ("deleted", "failed")),
            ("queue_failures_total", "kind", FailureKind),
            ("results_total", "kind", RecordKind),
            ("verifications_total", "outcome", VerificationOutcome),
        ]
        for queue in ("one", "two"):
            for name, label, values in wanted:
                assert [value(metrics, name, queue=queue, **{label: each}) for each in values] == [0] * len(
                    values
                )
            assert value(metrics, "messages_received_total", queue=queue) == 0
            assert value(metrics, "poll_duration_seconds_count", queue=queue) == 0
        for target in TARGETS:
            labels = {"route": target.route, "handler": target.handler}
            outcomes = [*OUTCOME_NAMES.values(), LATE]
            assert [
                value(metrics, "delivery_attempts_total", **labels, outcome=outcome) for outcome in outcomes
            ] == [0] * len(outcomes)
            assert value(metrics, "handler_duration_seconds_count", **labels) == 0

    def test_what_no_setting_names_is_there_from_the_start(self) -> None:
        metrics = Metrics()

        assert [value(metrics, "store_failures_total", kind=kind) for kind in StoreFailureKind] == [0] * len(
            StoreFailureKind
        )
        assert [
            value(metrics, "clock_jumps_total", direction=direction) for direction in ("forward", "back")
        ] == [0, 0]

    def test_counts_survive_another_expectation(self) -> None:
        metrics = Metrics()
        metrics.expect(queues=["q"], targets=TARGETS)
        metrics.queue_failed("q", "tls")
        metrics.expect(queues=["q"], targets=TARGETS[:1])

        assert value(metrics, "queue_failures_total", queue="q", kind="tls") == 1
        assert value(metrics, "delivery_attempts_total", route="rest", handler="log", outcome="dead") == 0


class TestExposition:
    def test_there_are_no_series_of_times_of_creation(self) -> None:
        metrics = Metrics()
        metrics.expect(queues=["q"], targets=TARGETS)
        text = metrics.exposition().decode()

        assert "_created" not in text
        assert 'mns_listener_results_total{kind="parked",queue="q"} 0.0' in text.splitlines()
        assert f'le="{float(SECONDS[0])}"' in text

    def test_a_handlers_own_metrics_keep_theirs(self) -> None:
        """The switch of prometheus_client for this applies to the whole process."""
        Metrics().exposition()
        registry = prometheus_client.CollectorRegistry()
        prometheus_client.Counter("handlers_own", "Of a handler", registry=registry).inc()

        assert b"handlers_own_created" in prometheus_client.generate_latest(registry)
