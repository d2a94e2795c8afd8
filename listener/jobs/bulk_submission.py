"""Submits many jobs from a stream of requests: concurrently, in constant memory, and each exactly once.

Every line has a reference, its own or one derived from its line number and text, and the store knows which references
were submitted. So an interrupted run can be resumed without submitting a job twice.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from listener.core.errors import ListenerError, ReferenceExists, UsageError
from listener.core.model import Job, JobState
from listener.core.ports import JobStore
from listener.formats.durations import to_duration
from listener.jobs.request import JobRequest, check_text

#: The fields of a line, as those of ``JobRequest``.
FIELDS = (
    *(
        "function",
        "kind",
        "input",
        "output",
        "params",
        "pipeline",
        "notify_url",
        "route",
        "data",
        "user_data",
    ),
    *("reference", "model", "schedule_params", "deadline", "force"),
)
#: Submits one request, and calls the function with each warning about it.
Submit = Callable[[JobRequest, Callable[[str], None]], Job]


class LineOutcome(StrEnum):
    """The outcome of one line."""

    SUBMITTED = "submitted"
    SKIPPED = "skipped"  #: already submitted
    EXISTING = "existing"  #: without ``resume``: a job has this reference already; nothing was sent
    INVALID = "invalid"  #: the line is invalid; nothing was sent
    FAILED = "failed"  #: MPS rejected the job or was unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One request, or the reason why the line is invalid."""

    number: int  #: from 1
    request: JobRequest | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineReport:
    """The outcome of one line, for the terminal and for report files."""

    line: int
    outcome: LineOutcome
    reference: str = ""
    job_id: str = ""
    reason: str = ""
    warnings: tuple[str, ...] = ()


def jsonl_lines(texts: Iterable[str], *, source: str, defaults: Mapping[str, Any]) -> Iterator[Line]:
    """Requests from JSON objects, one per line; blank lines are skipped."""
    for number, text in enumerate(texts, 1):
        if text.strip():
            yield _line(number, partial(json.loads, text), text=text, source=source, defaults=defaults)


def csv_lines(texts: Iterable[str], *, source: str, defaults: Mapping[str, Any]) -> Iterator[Line]:
    """Requests from CSV with a header row; empty cells count as not given. The number of a row is that of its last
    line."""
    rows = csv.reader(texts, strict=True)
    names: list[str] = []
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Line(number=rows.line_num, problem=f"the line is not valid CSV: {error}")
            continue
        if not names:
            names = row
        elif row:
            read = partial(_cells, names, row)
            yield _line(rows.line_num, read, text=json.dumps(row), source=source, defaults=defaults)


def _cells(names: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    if len(row) > len(names):
        raise UsageError(f"the line has {len(row)} cells, but the header row has only {len(names)}")
    return {name.strip(): value for name, value in zip(names, row, strict=False) if value}


def submit_all(
    lines: Iterable[Line],
    *,
    submit: Submit,
    store: JobStore,
    resume: bool,
    concurrency: int,
) -> Iterator[LineReport]:
    """Submit all lines, up to ``concurrency`` at the same time; reports are in the order of the lines.

    If the caller ends early, calls under way are waited for, and no other one begins; KeyboardInterrupt ends the wait.
    """
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="submit")
    waits = True
    try:
        running: deque[Future[LineReport]] = deque()
        for line in lines:
            running.append(pool.submit(copy_context().run, _submit_line, line, submit, store, resume))
            while len(running) >= 2 * concurrency or (running and running[0].done()):
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    except KeyboardInterrupt:
        waits = False
        raise
    finally:
        pool.shutdown(wait=waits, cancel_futures=True)


def _line(
    number: int, read: Callable[[], Any], *, text: str, source: str, defaults: Mapping[str, Any]
) -> Line:
    try:
        if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
            raise UsageError("the line is not valid UTF-8")
        request = _request(read(), defaults)
    except json.JSONDecodeError as error:
        return Line(number=number, problem=f"the line is not valid JSON: {error}")
    except (ValueError, RecursionError, UsageError) as error:
        return Line(number=number, problem=str(error) or type(error).__name__)
    if request.reference:
        return Line(number=number, request=request)
    digest = hashlib.sha256(text.strip().encode("utf-8", "replace")).hexdigest()[:12]
    return Line(number=number, request=replace(request, reference=f"{source}:{number}:{digest}"))


def _request(given: Any, defaults: Mapping[str, Any]) -> JobRequest:
    if not isinstance(given, Mapping):
        raise UsageError(f"the line must be a JSON object, not {type(given).__name__}")
    unknown = [str(name) for name in given if name not in FIELDS]
    if unknown:
        raise UsageError(f"unknown field {unknown[0]!r}; valid fields: {', '.join(FIELDS)}")
    fields = {**defaults, **{name: value for name, value in given.items() if value is not None}}
    texts = {name: _text(name, value) for name, value in fields.items() if name not in ("deadline", "force")}
    deadline = to_duration(fields["deadline"]) if fields.get("deadline") else None
    known: dict[str, Any] = texts
    return JobRequest(**known, deadline=deadline, force=_flag("force", fields.get("force", False)))


def _flag(name: str, value: Any) -> bool:
    """A cell of CSV has it as text."""
    flags = {True: True, False: False, "true": True, "false": False}
    if not isinstance(value, bool | str) or value not in flags:
        raise UsageError(f"{name} = {value!r} must be true or false")
    return flags[value]


def _text(name: str, value: Any) -> str:
    """Params and data may be given as JSON values; everything else is text."""
    if isinstance(value, str):
        check_text(name, value)
        return value
    if name in ("params", "data", "user_data", "schedule_params") and isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    raise UsageError(f"{name} = {value!r} must be text")


def _submit_line(line: Line, submit: Submit, store: JobStore, resume: bool) -> LineReport:
    if line.request is None:
        return LineReport(line=line.number, outcome=LineOutcome.INVALID, reason=line.problem)
    request, warnings = line.request, list[str]()
    try:
        known = store.find_job(request.reference) if resume else None
        if known and known.state != JobState.REFUSED:
            return _skipped(line.number, known)
        job = submit(request, warnings.append)
    except ListenerError as error:
        # A line above may have had the same reference.
        if resume and isinstance(error, ReferenceExists) and (known := store.find_job(request.reference)):
            return _skipped(line.number, known)
        report = LineReport(line=line.number, outcome=_outcome(error), reason=str(error))
    else:
        report = LineReport(line=line.number, outcome=LineOutcome.SUBMITTED, job_id=job.job_id)
    return replace(report, reference=request.reference, warnings=tuple(warnings))


def _outcome(error: ListenerError) -> LineOutcome:
    if isinstance(error, ReferenceExists):
        return LineOutcome.EXISTING
    return LineOutcome.INVALID if isinstance(error, UsageError) else LineOutcome.FAILED


def _skipped(number: int, known: Job) -> LineReport:
    """An intent without a job id may have been submitted; its callback will show, so it is not submitted again."""
    return LineReport(
        line=number,
        outcome=LineOutcome.SKIPPED,
        reference=known.reference,
        job_id=known.job_id,
        reason="already submitted"
        if known.job_id
        else "already submitted; its job id will arrive with the callback",
    )
