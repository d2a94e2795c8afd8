"""Spans where OpenTelemetry is used, and nothing where it is not."""

from __future__ import annotations

import sys
from datetime import timedelta

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from listener.core import clock
from listener.runtime import tracing
from tests.support.cases import each_case
from tests.support.spans import recorded_spans

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    return recorded_spans(monkeypatch)


def test_without_opentelemetry_nothing_is_done_but_a_trace_is_passed_on(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    with tracing.span("handle", kind="CONSUMER", parent=PARENT, attributes={"job_id": "j"}) as span:
        span.set({"outcome": "done"})
        span.fail(ValueError("no"))
        assert (span.traceparent, tracing.current()) == (PARENT, "")
    with tracing.span("submit", kind="CLIENT") as span:
        assert span.traceparent == ""
    tracing.completed("settle", kind="INTERNAL", parent=PARENT, since=clock.now())

    assert spans.get_finished_spans() == ()


def test_without_a_provider_no_span_is_made_but_a_trace_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI imports OpenTelemetry, whoever uses it."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    with tracing.span("handle", kind="CONSUMER", parent=PARENT) as span:
        assert (span.traceparent, tracing.current()) == (PARENT, "")
    with tracing.span("submit", kind="CLIENT") as span:
        assert span.traceparent == ""


def test_a_span_has_its_parent_and_is_current_within(spans: InMemorySpanExporter) -> None:
    with tracing.span(
        "handle", kind="CONSUMER", parent=PARENT, attributes={"job_id": "j", "attempt": 2}
    ) as span:
        assert tracing.current() == span.traceparent
    assert tracing.current() == ""

    (finished,) = spans.get_finished_spans()
    assert finished.context is not None
    assert finished.parent is not None
    assert format(finished.context.trace_id, "032x") == TRACE_ID
    assert format(finished.parent.span_id, "016x") == SPAN_ID
    assert span.traceparent == f"00-{TRACE_ID}-{finished.context.span_id:016x}-01"
    assert dict(finished.attributes or {}) == {"mns_listener.job_id": "j", "mns_listener.attempt": 2}


@pytest.mark.parametrize("used", [True, False], ids=["with-opentelemetry", "without"])
def test_a_caller_in_another_process_is_continued(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch, used: bool
) -> None:
    if not used:
        monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    with tracing.called_by(PARENT):
        assert tracing.current() == PARENT
        with tracing.span("submit", kind="CLIENT") as span:
            assert span.traceparent.split("-")[1] == TRACE_ID
        with tracing.span("handle", kind="CONSUMER", parent="") as other:
            assert TRACE_ID not in other.traceparent
    assert tracing.current() == ""


def test_the_current_span_takes_precedence_over_a_caller_in_another_process(
    spans: InMemorySpanExporter,
) -> None:
    with (
        tracing.span("request", kind="INTERNAL", parent="") as request,
        tracing.called_by(PARENT),
        tracing.span("submit", kind="CLIENT") as span,
    ):
        assert span.traceparent.split("-")[1] == request.traceparent.split("-")[1]

    submit, outer = spans.get_finished_spans()
    assert submit.parent is not None
    assert submit.parent == outer.context


@each_case("text", ["", "nonsense", PARENT.upper(), f"ff{PARENT[2:]}", f"{PARENT}\n"])
def test_a_caller_with_no_traceparent_is_ignored(text: str) -> None:
    with tracing.called_by(text):
        assert tracing.current() == ""


def test_a_trace_begins_whatever_the_thread_was_doing(spans: InMemorySpanExporter) -> None:
    with (
        tracing.span("other", kind="INTERNAL"),
        tracing.span("handle", kind="CONSUMER", parent=""),
    ):
        pass

    handle, other = spans.get_finished_spans()
    assert handle.parent is None
    assert handle.context is not None
    assert other.context is not None
    assert handle.context.trace_id != other.context.trace_id


@pytest.mark.parametrize("parent", ["nonsense", "00-0-0-00", f"00-{'0' * 32}-{'0' * 16}-01", "ü\n"])
def test_a_damaged_parent_begins_a_trace(spans: InMemorySpanExporter, parent: str) -> None:
    with tracing.span("handle", kind="CONSUMER", parent=parent) as span:
        assert span.traceparent != parent

    assert spans.get_finished_spans()[0].parent is None


def test_what_is_raised_fails_the_span(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="no"), tracing.span("submit", kind="CLIENT"):
        raise ValueError("no")

    (finished,) = spans.get_finished_spans()
    assert (finished.status.status_code, finished.status.description) == (StatusCode.ERROR, "ValueError: no")
    assert [event.name for event in finished.events] == ["exception"]


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("error", [Mute(), ValueError("\0\ud800")], ids=["mute", "ill-formed"])
def test_any_error_and_any_text_can_be_shown(spans: InMemorySpanExporter, error: Exception) -> None:
    with tracing.span("handle", kind="CONSUMER", attributes={"key": "\ud800"}) as span:
        span.fail(error)

    text = spans.get_finished_spans()[0].to_json()
    assert text.encode()
    assert type(error).__name__ in text
    assert "ud800" not in text


def test_what_is_done_already_has_its_time(spans: InMemorySpanExporter) -> None:
    since = clock.now() - timedelta(seconds=3)
    tracing.completed("settle", kind="INTERNAL", parent=PARENT, since=since)
    tracing.completed("settle", kind="INTERNAL", parent="", since=since)

    (finished,) = spans.get_finished_spans()
    assert finished.end_time is not None
    assert finished.start_time is not None
    assert finished.end_time - finished.start_time >= 3_000_000_000
