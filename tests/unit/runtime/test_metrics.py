"""What is counted, and that every series is there before its first event."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client.core import Metric

from listener.core import clock
from listener.core.errors import FailureKind, StoreFailureKind
from listener.core.model import (
    LOST,
    Dead,
    Done,
    Outcome,
    RecordKind,
    RecordSummary,
    RetryAfter,
    Settlement,
    Source,
    Target,
    VerificationOutcome,
)
from listener.intake.recorder import NullDeliverySink, Recorder
from listener.rules.routing import Correlation, Match, Rule
from listener.runtime.metrics import DELAY_SECONDS, JOB_SECONDS, LATE, SECONDS, Metrics
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_callback, a_delivery, a_job, a_message, a_result, wrapped
from tests.support.cases import each_case
from tests.support.sqlite import new_sqlite_store

TARGETS = [Target("videos", "log"), Target("videos", "webhook"), Target("rest", "log")]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"mns_listener_{name}", labels)


@each_case(
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
    metrics.settled([Settlement(delivery=a_delivery(), outcome=outcome, seconds=0.2)], late=late)

    labels = {"route": "videos", "handler": "log"}
    assert value(metrics, "delivery_attempts_total", **labels, outcome=label) == 1
    assert value(metrics, "handler_duration_seconds_sum", **labels) == 0.2


def test_messages_are_counted_by_kind() -> None:
    metrics = Metrics()
    kinds = {RecordKind.ROUTED: 5, RecordKind.DUPLICATE: 4, RecordKind.QUARANTINED: 2}
    metrics.recorded("q", RecordSummary(kinds=kinds), delays=())

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
    metrics.recorded("q", recorder.record("q", [a_message()]), delays=())
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
    metrics.recorded("q", recorder.record("q", batch), delays=())

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


def test_the_way_of_a_result_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    metrics.recorded("q", RecordSummary(), delays=[timedelta(seconds=2), timedelta(hours=1)])
    monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(minutes=5))
    delivery = a_delivery(created_at=NOON - timedelta(days=1), replayed_at=NOON)
    for outcome, late in (
        (Done(), False),
        (Dead(reason=""), False),
        (RetryAfter(wait=timedelta(0), reason=""), False),
        (Done(), True),
    ):
        metrics.settled([Settlement(delivery=delivery, outcome=outcome, seconds=0.2)], late=late)

    labels = {"route": "videos", "handler": "log"}
    assert value(metrics, "message_record_duration_seconds_sum", queue="q") == 3602
    assert value(metrics, "message_record_duration_seconds_count", queue="q") == 2
    assert value(metrics, "delivery_duration_seconds_sum", **labels) == 2 * 300
    assert value(metrics, "delivery_duration_seconds_count", **labels) == 2


def test_outcomes_of_jobs_are_counted_once_by_what_brought_them(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics(functions=["Cover"])
    correlation = Correlation(wait=timedelta(seconds=5))
    recorder = Recorder(
        store=store, rules=(), correlation=correlation, sink=NullDeliverySink(), on_ended=metrics.ended
    )
    for number, function in enumerate(("Cover", "Cover", "Mine", "Cover")):
        store.add_job(a_job(job_id=f"job-{number}", token=f"token-{number}", function=function))
    monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(minutes=10))
    for number in (0, 0, 1):  # one of them twice
        body = wrapped(a_callback(JobId=f"job-{number}"))
        recorder.record("q", [a_message(message_id=str(number), body=body)])
    recorder.record_found([a_result(job_id="job-2", source=Source.QUERY)])
    recorder.record_found([a_result(job_id="job-3", state=LOST, source=Source.LISTENER)])
    recorder.record("q", [a_message(message_id="early", body=wrapped(a_callback(JobId="early")))])
    progress = a_callback(JobId="early", State="Processing")
    recorder.record("q", [a_message(message_id="progress", body=wrapped(progress))])
    counted = {"callback": 2, "query": 1, "listener": 1, "reply": 0}
    assert {each: value(metrics, "jobs_ended_total", source=each) for each in counted} == counted

    monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(minutes=20))
    recorder.decide_waiting()
    assert value(metrics, "jobs_ended_total", source="callback") == 3
    assert value(metrics, "job_duration_seconds_sum", function="Cover") == 3 * 600
    assert value(metrics, "job_duration_seconds_sum", function="other") == 600
    assert value(metrics, "job_duration_seconds_count", function="Mine") is None


def test_time_since_a_receive_counts_from_the_start_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    now = 100.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    metrics.expect(queues=["q"], targets=())
    now = 130.0
    assert value(metrics, "last_receive_age_seconds", queue="q") == 30
    metrics.polled("q", messages=0, seconds=1)
    metrics.expect(queues=["q"], targets=())  # as a reload does
    now = 132.0
    assert value(metrics, "last_receive_age_seconds", queue="q") == 2


class TestConventions:
    """What ``promtool check metrics`` verifies, and the Prometheus documentation asks for."""

    @pytest.fixture
    def families(self) -> list[Metric]:
        metrics = Metrics()
        metrics.expect(queues=["q"], targets=TARGETS)
        return list(metrics.registry.collect())

    def test_names_are_those_of_one_namespace_in_lower_case(self, families: list[Metric]) -> None:
        names = [family.name for family in families]
        assert [name for name in names if not re.fullmatch(r"mns_listener(_[a-z]+)+", name)] == []

    def test_no_name_contains_what_a_suffix_or_type_says(self, families: list[Metric]) -> None:
        reserved = {"total", "count", "sum", "bucket", "counter", "gauge", "histogram", "summary", "metric"}
        found = {family.name for family in families if reserved & set(family.name.split("_"))}
        assert found == set()

    def test_units_are_base_units_at_the_end(self, families: list[Metric]) -> None:
        others = {
            "ms",
            "milliseconds",
            "minutes",
            "hours",
            "days",
            "kb",
            "mb",
            "kilobytes",
            "megabytes",
            "percent",
        }
        assert [family.name for family in families if others & set(family.name.split("_"))] == []
        with_unit = [family.name for family in families if {"seconds", "bytes"} & set(family.name.split("_"))]
        assert with_unit
        assert [name for name in with_unit if not name.endswith(("_seconds", "_bytes"))] == []
        times = [name for name in with_unit if re.search("duration|age|time", name)]
        assert [name for name in times if not name.endswith("_seconds")] == []

    def test_only_counters_end_with_total(self, families: list[Metric]) -> None:
        for family in families:
            totals = [sample.name for sample in family.samples if sample.name.endswith("_total")]
            assert bool(totals) == (family.type == "counter") or not family.samples

    def test_every_metric_has_a_help_text_without_a_full_stop(self, families: list[Metric]) -> None:
        assert [
            each.name for each in families if not each.documentation or each.documentation[-1] == "."
        ] == []

    def test_no_label_repeats_the_name_or_is_reserved(self, families: list[Metric]) -> None:
        labels = {
            (each.name, label) for each in families for sample in each.samples for label in sample.labels
        }
        assert labels
        bad = {"job", "instance", "le", "quantile", "type"}
        inherent = {(each.name, "le") for each in families if each.type == "histogram"}
        assert [
            (name, label) for name, label in labels - inherent if label in bad or label.startswith("_")
        ] == []

    def test_buckets_of_histograms_ascend_from_the_shortest_to_the_longest_time(self) -> None:
        for bounds in (SECONDS, DELAY_SECONDS, JOB_SECONDS):
            assert list(bounds) == sorted(set(bounds))
        assert JOB_SECONDS[-1] == DELAY_SECONDS[-1] == 86_400


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
            outcomes = ["done", "retry", "dead", LATE]
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
