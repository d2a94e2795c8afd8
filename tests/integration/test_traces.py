"""One trace from the submission of a job to its handlers, with the SDK of OpenTelemetry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

from listener.client import Client
from listener.core.model import Job, JobResult, Submitted
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.dispatch.pull import PullAction, PullSettlement, pulled_document
from listener.intake.recorder import Recorder
from listener.jobs.request import JobRequest
from listener.jobs.submission import submit
from listener.rules.routing import Correlation, Rule
from listener.runtime import tracing
from listener.runtime.log_throttle import ThrottledLog
from listener.store.sql_store import SqlStore
from tests.support.builders import JOB_ID, a_callback, a_message, wrapped
from tests.support.dispatching import TARGET, delivery_states, dispatching
from tests.support.program import NOTIFY_URL, configured_place
from tests.support.pulling import a_pull, offering
from tests.support.spans import recorded_spans
from tests.support.sqlite import new_sqlite_store
from tests.support.waiting import wait_until

REQUEST = JobRequest(
    function="VideoH2V",
    input="oss://in-bucket.oss-cn-shanghai.aliyuncs.com/talk.mp4",
    output="oss://out-bucket.oss-cn-shanghai.aliyuncs.com/talk.mp4",
    notify_url=NOTIFY_URL,
    reference="r1",
)
RULES = (Rule(name=TARGET.route, handlers=(TARGET.handler,)),)


class Accepting:
    """An MPS that accepts every job."""

    def submit(
        self, job: Job, *, user_data: str | None, on_turn: Callable[[], None] | None = None
    ) -> Submitted:
        return Submitted(job_id=JOB_ID)


class Unstable:
    """A handler, plain or a coroutine, that fails at first; it remembers the spans in which it ran."""

    def __init__(self) -> None:
        self.spans: list[int] = []
        self.results: list[JobResult] = []

    def __call__(self, result: JobResult) -> None:
        self.spans.append(trace.get_current_span().get_span_context().span_id)
        self.results.append(result)
        if len(self.results) == 1:
            raise ValueError("not yet")

    async def later(self, result: JobResult) -> None:
        self(result)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    return recorded_spans(monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


def handle_callback(store: SqlStore, handle: Callable[[JobResult], None]) -> None:
    """From the callback in the queue to the end of its delivery."""
    with dispatching(store, handle) as dispatcher:
        recorder = Recorder(store=store, rules=RULES, correlation=Correlation(), sink=dispatcher)
        recorder.record("q", [a_message(body=wrapped(a_callback(JobId=JOB_ID)))])
        wait_until(lambda: delivery_states(store) == {"done": 1})


def by_start(spans: InMemorySpanExporter) -> Sequence[ReadableSpan]:
    return sorted(spans.get_finished_spans(), key=lambda span: span.start_time or 0)


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    return {name.removeprefix("mns_listener."): value for name, value in (span.attributes or {}).items()}


@pytest.mark.parametrize("how", ["plain", "coroutine"])
def test_submission_record_attempts_and_settlements_are_one_trace(
    store: SqlStore, spans: InMemorySpanExporter, how: str
) -> None:
    handler, runner = Unstable(), CoroutineRunner()
    with trace.get_tracer("app").start_as_current_span("upload"):
        submit(REQUEST, store=store, mps=Accepting())
    handle_callback(store, handler if how == "plain" else lambda result: runner.run(handler.later, result))
    runner.close()

    found = by_start(spans)
    assert len({span.context.trace_id for span in found if span.context}) == 1
    assert sorted(span.name for span in found) == [
        *("handle", "handle", "record", "settle", "settle", "submit", "upload")
    ]
    upload, submission, *others = found
    assert upload.context is not None
    assert submission.context is not None
    assert submission.parent is not None
    assert (submission.name, submission.parent.span_id) == ("submit", upload.context.span_id)
    assert {span.parent.span_id for span in others if span.parent} == {submission.context.span_id}
    assert attributes(submission) == {"function": "VideoH2V", "reference": "r1", "job_id": JOB_ID}


def test_a_handler_runs_in_the_span_of_its_attempt(store: SqlStore, spans: InMemorySpanExporter) -> None:
    handler = Unstable()
    submit(REQUEST, store=store, mps=Accepting())
    handle_callback(store, handler)

    attempts = [span for span in by_start(spans) if span.name == "handle"]
    assert [span.context.span_id for span in attempts if span.context] == handler.spans
    assert [span.status.status_code for span in attempts] == [StatusCode.ERROR, StatusCode.UNSET]
    assert [attributes(span)["outcome"] for span in attempts] == ["retry", "done"]
    assert [attributes(span)["attempt"] for span in attempts] == [1, 2]
    assert {span.kind for span in attempts} == {SpanKind.CONSUMER}
    for span, result in zip(attempts, handler.results, strict=True):
        assert span.context is not None
        version, trace_id, span_id, _flags = result.traceparent.split("-")
        assert (version, int(trace_id, 16)) == ("00", span.context.trace_id)
        assert int(span_id, 16) == span.context.span_id


def test_what_an_application_pulls_and_settles_is_in_the_trace_of_its_job(
    store: SqlStore, spans: InMemorySpanExporter
) -> None:
    submit(REQUEST, store=store, mps=Accepting())
    with offering(store) as dispatcher:
        recorder = Recorder(store=store, rules=RULES, correlation=Correlation(), sink=dispatcher)
        recorder.record("q", [a_message(body=wrapped(a_callback(JobId=JOB_ID)))])
        wait_until(lambda: store.left_to_applications() == 1)
    pull = a_pull(store)
    (pulled,) = pull.claim(TARGET)
    pull.settle(PullSettlement(delivery_id=pulled.id, attempt=pulled.attempt, action=PullAction.DONE))

    submission, *others = by_start(spans)
    assert submission.context is not None
    ended = {(span.name, attributes(span).get("outcome"), span.status.status_code) for span in others}
    assert ended == {
        ("record", None, StatusCode.UNSET),
        ("handle", "offered", StatusCode.UNSET),
        ("settle", "offered", StatusCode.UNSET),
        ("settle", "done", StatusCode.UNSET),
    }
    assert {span.parent.span_id for span in others if span.parent} == {submission.context.span_id}
    assert f"{submission.context.span_id:016x}" in pulled_document(pulled)["traceparent"]


def test_a_job_is_registered_in_the_trace_of_the_caller(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    with configured_place(tmp_path) as place, Client(place.folder / "listener.toml") as client:
        with trace.get_tracer("app").start_as_current_span("upload") as upload:
            job = client.register("j1")
        assert client.register("j2").trace == ""

    assert format(upload.get_span_context().span_id, "016x") in job.trace
    assert [span.name for span in by_start(spans)] == ["upload"]


def test_an_attempt_that_a_stop_cuts_short_is_no_failure(
    store: SqlStore, spans: InMemorySpanExporter
) -> None:
    submit(REQUEST, store=store, mps=Accepting())
    started, cut = threading.Event(), threading.Event()

    def ended_by_a_stop(_result: JobResult) -> None:
        started.set()
        cut.wait()
        raise RuntimeError("killed")

    with dispatching(store, ended_by_a_stop) as dispatcher:
        recorder = Recorder(store=store, rules=RULES, correlation=Correlation(), sink=dispatcher)
        recorder.record("q", [a_message(body=wrapped(a_callback(JobId=JOB_ID)))])
        started.wait()
        dispatcher.stop(timedelta(0))
        cut.set()
        wait_until(lambda: any(span.name == "handle" for span in spans.get_finished_spans()))

    (attempt,) = [span for span in by_start(spans) if span.name == "handle"]
    assert attempt.status.status_code is StatusCode.UNSET
    assert attributes(attempt)["outcome"] == "retry"


def test_a_submission_that_fails_is_in_the_trace(store: SqlStore, spans: InMemorySpanExporter) -> None:
    class Broken(Accepting):
        def submit(
            self, job: Job, *, user_data: str | None, on_turn: Callable[[], None] | None = None
        ) -> Submitted:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        submit(REQUEST, store=store, mps=Broken())

    assert [span.status.status_code for span in by_start(spans)] == [StatusCode.ERROR]


class Raising(SpanProcessor):
    """A processor with a bug in one of its methods."""

    def __init__(self, where: str) -> None:
        self._where = where

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self._where == "start":
            raise RuntimeError("a bug")

    def on_end(self, span: ReadableSpan) -> None:
        if self._where == "end":
            raise RuntimeError("a bug")


@pytest.mark.parametrize("where", ["start", "end"])
def test_a_processor_that_raises_stops_nothing(
    store: SqlStore, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    traced = submit(REQUEST, store=store, mps=Accepting())
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Raising(where))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    monkeypatch.setattr(tracing, "_warnings", ThrottledLog(tracing.log))  # whatever was logged before
    handler = Unstable()
    with capture_logs() as logs:
        handle_callback(store, handler)

    assert [result.attempt for result in handler.results] == [1, 2]
    assert traced.trace.split("-")[1] == handler.results[0].traceparent.split("-")[1]
    assert {each["error"] for each in logs if each["event"] == "tracing.failed"} == {"RuntimeError: a bug"}


def test_the_trace_of_a_job_reaches_its_handlers_where_nothing_is_traced(
    store: SqlStore, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = Unstable()
    job = submit(REQUEST, store=store, mps=Accepting())
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    handle_callback(store, handler)

    assert job.trace
    assert [result.traceparent for result in handler.results] == [job.trace] * 2
    assert [span.name for span in by_start(spans)] == ["submit"]
