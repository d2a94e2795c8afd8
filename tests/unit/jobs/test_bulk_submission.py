"""Many submissions from a stream: each line has one outcome, a few are under way at a time, memory stays flat."""

from __future__ import annotations

import json
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from listener.core.errors import FailureKind, MpsUnavailable
from listener.core.model import Job, JobState
from listener.jobs import bulk_submission
from listener.jobs.bulk_submission import Line, LineOutcome, LineReport, csv_lines, jsonl_lines, submit_all
from listener.jobs.request import JobRequest
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_job
from tests.support.cases import each_case
from tests.support.sqlite import new_sqlite_store

INPUT = "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4"
CONCURRENCY = 4
Warn = Callable[[str], None]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


def a_line(**fields: Any) -> str:
    return json.dumps({"function": "VideoH2V", "input": INPUT, **fields})


def read(*texts: str, **defaults: str) -> list[Line]:
    return list(jsonl_lines(texts, source="jobs.jsonl", defaults=defaults))


def read_csv(text: str) -> list[Line]:
    return list(csv_lines(text.splitlines(True), source="jobs.csv", defaults={}))


def requests(lines: Iterable[Line]) -> list[JobRequest]:
    return [line.request for line in lines if line.request]


def outcomes(reports: Iterable[LineReport]) -> dict[str, int]:
    return dict(Counter(str(report.outcome) for report in reports))


def test_lines_hold_json_in_json_and_take_what_they_leave_out_from_the_defaults() -> None:
    (request,) = requests(
        read(
            a_line(params={"fps": 5}, data={"n": 1}, route="r", deadline="5m"),
            pipeline="p",
            notify_url="mns://x",
        )
    )

    assert (request.params, request.complete_user_data) == ('{"fps": 5}', '{"route": "r", "n": 1}')
    assert (request.pipeline, request.notify_url) == ("p", "mns://x")
    assert request.deadline is not None
    assert request.deadline.total_seconds() == 300


@each_case(
    ("text", "words"),
    [
        pytest.param("{", "not valid JSON", id="no-json"),
        pytest.param("[1]", "must be a JSON object, not list", id="array"),
        pytest.param(a_line(outptu="x"), "unknown field 'outptu'", id="unknown-field"),
        pytest.param(a_line(function=7), "function = 7 must be text", id="number"),
        pytest.param(a_line(deadline="soon"), "'soon' is not a valid duration", id="deadline"),
        pytest.param("[" * 100_000, "recursion", id="deep"),
        pytest.param('{"function": "caf\udce9"}', "not valid UTF-8", id="latin-1"),
        pytest.param(a_line(force="yes"), "force = 'yes' must be true or false", id="force"),
        pytest.param(a_line(force=1), "force = 1 must be true or false", id="force-number"),
        pytest.param(a_line(reference="\ud800"), "lone surrogate", id="lone-surrogate"),
    ],
)
def test_a_bad_line_is_named_with_its_reason_and_its_neighbours_are_read(text: str, words: str) -> None:
    lines = read(a_line(), text, "\n", a_line())

    assert [(line.number, bool(line.request)) for line in lines] == [(1, True), (2, False), (4, True)]
    assert words in lines[1].problem


def test_the_same_line_at_the_same_place_has_the_same_reference_and_any_other_another() -> None:
    first, again, moved, changed = (
        requests(read(*texts))[-1].reference
        for texts in ([a_line()], [a_line() + "\n"], ["", a_line()], [a_line(data="x")])
    )

    assert first == again
    assert len({first, moved, changed}) == 3
    assert requests(read(a_line(reference="mine")))[0].reference == "mine"


def test_csv_rows_are_known_by_the_line_that_they_end_on() -> None:
    lines = read_csv(
        f'function,input,data\nVideoH2V,{INPUT},"two\nlines"\n\nVideoH2V,{INPUT},\nVideoH2V,{INPUT},a,too many\n'
    )

    assert [line.number for line in lines] == [3, 5, 6]
    assert [request.complete_user_data for request in requests(lines)] == ["two\nlines", None]
    assert "4 cells" in lines[2].problem


def test_csv_that_is_none_is_a_bad_line() -> None:
    lines = read_csv(f'function,input\n"a"b,c\nVideoH2V,{INPUT}\n')

    assert [bool(line.request) for line in lines] == [False, True]
    assert "not valid CSV" in lines[0].problem


class Desk:
    """Takes submissions and remembers how many were under way at once."""

    def __init__(self, store: SqlStore, *, first_number: int = 0) -> None:
        self.store = store
        self.taken: list[str] = []
        self._first_number = first_number
        self._lock = threading.Lock()

    def submit(self, request: JobRequest, warn: Warn) -> Job:
        with self._lock:
            number = self._first_number + len(self.taken)
            self.taken.append(request.reference)
        if request.output:
            warn(f"output of {request.reference}")
        if request.reference == "refused":
            raise MpsUnavailable("away", kind=FailureKind.REFUSED)
        job = a_job(
            token=f"{number:022d}", job_id=f"job-{number}", reference=request.reference, created_at=NOON
        )
        if self.store:
            self.store.add_job(job)
        return job

    def run(self, lines: Iterable[Line], *, resume: bool = False) -> list[LineReport]:
        return list(
            submit_all(lines, submit=self.submit, store=self.store, resume=resume, concurrency=CONCURRENCY)
        )


def test_every_line_has_one_report_in_the_order_of_the_lines(store: SqlStore) -> None:
    desk = Desk(store)
    reports = desk.run(read(a_line(reference="a"), "{", a_line(reference="refused"), a_line(reference="b")))

    assert [(report.line, str(report.outcome)) for report in reports] == [
        (1, "submitted"),
        (2, "invalid"),
        (3, "failed"),
        (4, "submitted"),
    ]
    assert [bool(report.job_id) for report in reports] == [True, False, False, True]


@each_case(
    ("given", "force"),
    [({}, False), ({"force": True}, True), ({"force": False}, False), ({"force": "true"}, True)],
)
def test_a_line_may_be_forced(given: dict[str, Any], force: bool) -> None:
    assert [request.force for request in requests(read(a_line(**given)))] == [force]


def test_a_line_says_more_than_the_default_whether_it_is_forced() -> None:
    lines = jsonl_lines([a_line(), a_line(force=False)], source="jobs.jsonl", defaults={"force": True})

    assert [request.force for request in requests(lines)] == [True, False]


def test_warnings_are_in_the_report_of_their_line_whatever_becomes_of_it(store: SqlStore) -> None:
    lines = read(
        *(a_line(reference=name, output="x") for name in ("a", "refused", "a")), a_line(reference="b")
    )

    assert [(str(report.outcome), report.warnings) for report in Desk(store).run(lines)] == [
        ("submitted", ("output of a",)),
        ("failed", ("output of refused",)),
        ("existing", ("output of a",)),
        ("submitted", ()),
    ]


def test_resuming_submits_only_what_was_not_submitted_or_was_refused(store: SqlStore) -> None:
    store.add_job(a_job(token="1" * 22, job_id="", reference="sent", state=JobState.INTENT))
    store.add_job(a_job(token="2" * 22, job_id="known", reference="done"))
    store.add_job(a_job(token="3" * 22, job_id="", reference="no", state=JobState.REFUSED, finished_at=NOON))
    desk = Desk(store)

    reports = desk.run(read(*(a_line(reference=name) for name in ("sent", "done", "no", "new"))), resume=True)

    assert sorted(desk.taken) == ["new", "no"]
    assert outcomes(reports) == {"skipped": 2, "submitted": 2}
    assert "arrive with the callback" in reports[0].reason


def test_an_existing_reference_is_an_outcome_of_its_own_and_skipped_when_resumed(store: SqlStore) -> None:
    lines = read(a_line(reference="a"), a_line(reference="b"), a_line(reference="a"))
    first, again = Desk(store).run(lines), Desk(store, first_number=3).run(lines)
    resumed = Desk(store, first_number=6).run(lines, resume=True)

    assert outcomes(first) == {"submitted": 2, "existing": 1}
    assert outcomes(again) == {"existing": 3}
    assert "reference 'a' already exists" in again[0].reason
    assert outcomes(resumed) == {"skipped": 3}


def test_of_two_lines_with_one_reference_the_second_is_skipped_when_resumed(store: SqlStore) -> None:
    """Also if it was looked up before the first one was stored."""

    class Late(Desk):
        def submit(self, request: JobRequest, warn: Warn) -> Job:
            self.store.add_job(a_job(token="9" * 22, job_id="other", reference=request.reference))
            return super().submit(request, warn)

    assert outcomes(Late(store).run(read(a_line(reference="a")), resume=True)) == {"skipped": 1}


def test_calls_under_way_are_waited_for_when_the_caller_ends_early(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the store would be closed before they can save the ids of their jobs."""
    release = threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            if wait:
                release.set()
            super().shutdown(wait, cancel_futures=cancel_futures)

    class Slow(Desk):
        saved: ClassVar[list[str]] = []

        def submit(self, request: JobRequest, warn: Warn) -> Job:
            job = super().submit(request, warn)
            if request.reference != "0":
                release.wait()
            self.saved.append(request.reference)
            return job

    monkeypatch.setattr(bulk_submission, "ThreadPoolExecutor", Pool)
    desk = Slow(store)
    lines = read(*(a_line(reference=str(number)) for number in range(3 * CONCURRENCY)))
    reports = submit_all(lines, submit=desk.submit, store=store, resume=False, concurrency=CONCURRENCY)
    try:
        assert next(iter(reports)).reference == "0"
        cast(Generator[LineReport], reports).close()

        assert sorted(desk.saved) == sorted(desk.taken)
        assert len(desk.taken) < len(lines)
    finally:
        release.set()


def test_few_lines_are_under_way_at_a_time_and_memory_does_not_grow_with_the_file() -> None:
    read_lines, reported, furthest = 0, 0, 0

    def lines() -> Iterator[Line]:
        nonlocal read_lines, furthest
        for line in jsonl_lines((a_line(data="x" * 900) for _ in range(6_000)), source="s", defaults={}):
            read_lines += 1
            furthest = max(furthest, read_lines - reported)
            yield line

    job = a_job()
    tracemalloc.start()
    try:
        store: Any = None  # without --resume nothing is looked up
        for report in submit_all(
            lines(), submit=lambda _request, _warn: job, store=store, resume=False, concurrency=CONCURRENCY
        ):
            assert report.outcome is LineOutcome.SUBMITTED
            reported += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert reported == 6_000
    assert furthest <= 2 * CONCURRENCY + 1  # the one that is being read, too
    assert peak < 3_000_000  # all lines together are 6 MB
