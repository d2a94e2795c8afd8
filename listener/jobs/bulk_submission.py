"""Submits many jobs from a stream of requests: a few at a time, in constant memory, and once each.

Every line has a reference, its own or one made of its place and text, and the store knows which references were
submitted. So a run that was cut off can be resumed, and none of its jobs is submitted twice.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from listener.core.errors import ListenerError, UsageError
from listener.core.model import Job, JobState
from listener.core.ports import JobStore
from listener.formats.durations import to_duration
from listener.jobs.request import JobRequest, check_text, compose_user_data

#: What a line may hold; ``route`` and ``data`` together stand for ``user_data``.
FIELDS = (
    *("function", "input", "output", "params", "pipeline", "notify_url", "route", "data", "user_data"),
    *("reference", "model", "schedule_params", "deadline"),
)


class LineOutcome(StrEnum):
    """What became of one line."""

    SUBMITTED = "submitted"
    SKIPPED = "skipped"  #: it was submitted before
    BAD = "bad"  #: the line itself is wrong; nothing was sent
    FAILED = "failed"  #: MPS refused it, or could not be reached


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One request, or the reason why the line is none."""

    number: int  #: from 1
    request: JobRequest | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of one line, for people and for files."""

    line: int
    outcome: LineOutcome
    reference: str = ""
    job_id: str = ""
    reason: str = ""


def jsonl_lines(texts: Iterable[str], *, source: str, defaults: Mapping[str, str]) -> Iterator[Line]:
    """Requests from JSON objects, one a line; blank lines are passed over."""
    for number, text in enumerate(texts, 1):
        if text.strip():
            yield _line(number, partial(json.loads, text), text=text, source=source, defaults=defaults)


def csv_lines(texts: Iterable[str], *, source: str, defaults: Mapping[str, str]) -> Iterator[Line]:
    """Requests from CSV, whose first row names the fields; empty cells count as not given. A row is known by the line
    that it ends on."""
    rows = csv.reader(texts, strict=True)
    names: list[str] = []
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Line(number=rows.line_num, problem=f"the line is no CSV: {error}")
            continue
        if not names:
            names = row
        elif row:
            read = partial(_cells, names, row)
            yield _line(rows.line_num, read, text=json.dumps(row), source=source, defaults=defaults)


def _cells(names: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    if len(row) > len(names):
        raise UsageError(f"the line has {len(row)} cells, but the first line names {len(names)} fields")
    return {name.strip(): value for name, value in zip(names, row, strict=False) if value}


def submit_all(
    lines: Iterable[Line],
    *,
    submit: Callable[[JobRequest], Job],
    store: JobStore,
    resume: bool,
    concurrency: int,
) -> Iterator[Report]:
    """Submit them, ``concurrency`` at a time; reports come in the order of the lines, as soon as they can."""
    with ThreadPoolExecutor(concurrency, thread_name_prefix="submit") as pool:
        under_way: deque[Future[Report]] = deque()
        for line in lines:
            under_way.append(pool.submit(_submit_line, line, submit, store, resume))
            while len(under_way) >= 2 * concurrency or (under_way and under_way[0].done()):
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _line(
    number: int, read: Callable[[], Any], *, text: str, source: str, defaults: Mapping[str, str]
) -> Line:
    try:
        if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
            raise UsageError("the line is not UTF-8")
        request = _request(read(), defaults)
    except json.JSONDecodeError as error:
        return Line(number=number, problem=f"the line is no JSON: {error}")
    except (ValueError, RecursionError, UsageError) as error:
        return Line(number=number, problem=str(error) or type(error).__name__)
    if request.reference:
        return Line(number=number, request=request)
    digest = hashlib.sha256(text.strip().encode("utf-8", "replace")).hexdigest()[:12]
    return Line(number=number, request=replace(request, reference=f"{source}:{number}:{digest}"))


def _request(given: Any, defaults: Mapping[str, str]) -> JobRequest:
    if not isinstance(given, Mapping):
        raise UsageError(f"the line is no object but {type(given).__name__}")
    unknown = [str(name) for name in given if name not in FIELDS]
    if unknown:
        raise UsageError(f"unknown field {unknown[0]!r}; known: {', '.join(FIELDS)}")
    fields = {**defaults, **{name: value for name, value in given.items() if value is not None}}
    texts = {name: _text(name, value) for name, value in fields.items() if name != "deadline"}
    if "user_data" in texts and ("route" in texts or "data" in texts):
        raise UsageError("user_data is the whole user data; give it alone, or route and data")
    composed = compose_user_data(texts.pop("route", ""), texts.pop("data", ""))
    deadline = to_duration(fields["deadline"]) if fields.get("deadline") else None
    known: dict[str, Any] = {"function": "", "user_data": composed, **texts}
    return JobRequest(**known, deadline=deadline)


def _text(name: str, value: Any) -> str:
    """Params and data may stand as JSON in JSON; everything else is text."""
    if isinstance(value, str):
        check_text(name, value)
        return value
    if name in ("params", "data", "user_data", "schedule_params") and isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    raise UsageError(f"{name} = {value!r} is no text")


def _submit_line(line: Line, submit: Callable[[JobRequest], Job], store: JobStore, resume: bool) -> Report:
    if line.request is None:
        return Report(line=line.number, outcome=LineOutcome.BAD, reason=line.problem)
    reference = line.request.reference
    try:
        known = store.find_job(reference) if resume else None
        if known and known.state != JobState.REFUSED:
            return _skipped(line.number, known)
        job = submit(line.request)
    except UsageError as error:
        return Report(line=line.number, outcome=LineOutcome.BAD, reference=reference, reason=str(error))
    except ListenerError as error:
        return Report(line=line.number, outcome=LineOutcome.FAILED, reference=reference, reason=str(error))
    return Report(line=line.number, outcome=LineOutcome.SUBMITTED, reference=reference, job_id=job.job_id)


def _skipped(number: int, known: Job) -> Report:
    """An intent without an id was perhaps submitted: its callback will tell, a second submission would not help."""
    return Report(
        line=number,
        outcome=LineOutcome.SKIPPED,
        reference=known.reference,
        job_id=known.job_id,
        reason="submitted before" if known.job_id else "sent before; its callback will tell the job id",
    )
