"""The history of one job as a list of events, in the order in which they happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from listener.core.model import Delivery, DeliveryState, Job, JobState, Source
from listener.formats.durations import span_text
from listener.pages.rendering import TONES, number
from listener.store.queries import JobHistory, StoredResult

#: How a result came, by its source.
_ARRIVALS: Final = {
    Source.CALLBACK: "Callback received",
    Source.QUERY: "Learned by a query",
    Source.REPLY: "Reply to the submission",
    Source.LISTENER: "Declared lost",
}
_SETTLED: Final = {
    DeliveryState.DONE: "Handled",
    DeliveryState.DEAD: "Dead letter",
    DeliveryState.DROPPED: "Dead letter dropped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to a job."""

    at: datetime
    title: str
    state: str = ""  #: what it led to, if that is a state
    tone: str = "neutral"
    facts: Sequence[tuple[str, str]] = ()
    error: str = ""
    raw: str = ""  #: the callback's text
    dead_letter: int = 0  #: the id of the dead letter that it is about


def timeline(history: JobHistory) -> Sequence[Event]:
    """All events, in chronological order."""
    events = [*_of_job(history.job)] if history.job else []
    events += [_of_result(stored) for stored in history.results]
    events += [event for delivery in history.deliveries for event in _of_delivery(delivery)]
    events += _of_attempts(history)
    return sorted(events, key=lambda event: event.at)


def _of_job(job: Job) -> Iterator[Event]:
    yield Event(at=job.created_at, title=_beginning(job))
    if job.submitted_at and job.job_id and job.submitted_here:
        yield Event(at=job.submitted_at, title="Submitted", facts=_facts(("job ID", job.job_id)))
    if job.state is JobState.REFUSED:
        yield Event(at=job.finished_at or job.created_at, title="Refused", tone="bad", error=job.error)


def _beginning(job: Job) -> str:
    if not job.submitted_here:
        return "Registered"
    return "Accepted" if job.state is JobState.ACCEPTED else "Intent stored"


def _of_result(stored: StoredResult) -> Event:
    result = stored.result
    return Event(
        at=stored.received_at,
        title=_ARRIVALS.get(result.source, str(result.source)),
        state=result.state,
        tone=TONES.get(result.state, "neutral"),
        facts=_facts(
            ("status", stored.status),
            ("type", result.type),
            ("code", result.code),
            ("message", result.message),
            ("queue", stored.queue),
            ("copies", number(stored.copies) if stored.copies > 1 else ""),
            ("contradictions", number(stored.contradictions) if stored.contradictions else ""),
        ),
        raw=result.raw,
    )


def _of_delivery(delivery: Delivery) -> Iterator[Event]:
    place = _facts(("route", delivery.target.route), ("handler", delivery.target.handler))
    title = _SETTLED.get(delivery.state)
    if title is None or delivery.settled_at is None:
        yield Event(
            at=delivery.settled_at or delivery.created_at,
            title="Delivery",
            state=delivery.state,
            tone=TONES.get(delivery.state, "neutral"),
            facts=(*place, *_facts(("attempts", number(delivery.attempt)), ("owner", delivery.owner))),
            error=delivery.last_error,
        )
        return
    yield Event(
        at=delivery.settled_at,
        title=title,
        tone=TONES.get(delivery.state, "neutral"),
        facts=(*place, *_facts(("attempts", number(delivery.attempt)), ("key", delivery.key))),
        error="" if delivery.state is DeliveryState.DONE else delivery.last_error,
        dead_letter=delivery.id if delivery.state is DeliveryState.DEAD else 0,
    )


def _of_attempts(history: JobHistory) -> Iterator[Event]:
    """The attempts that failed before the last one of a delivery, which the delivery itself tells about."""
    deliveries = {delivery.id: delivery for delivery in history.deliveries}
    for attempt in history.attempts:
        delivery = deliveries.get(attempt.delivery_id)
        if delivery is None or (attempt.attempt == delivery.attempt and delivery.state in _SETTLED):
            continue
        took = "" if attempt.seconds is None else span_text(timedelta(seconds=attempt.seconds))
        yield Event(
            at=attempt.settled_at,
            title=f"Attempt {attempt.attempt} failed",
            tone="warn",
            facts=_facts(
                ("route", delivery.target.route),
                ("handler", delivery.target.handler),
                ("took", took),
                ("process", attempt.owner),
            ),
            error=attempt.error,
        )


def _facts(*pairs: tuple[str, str]) -> Sequence[tuple[str, str]]:
    """Those that have a value."""
    return [(name, value) for name, value in pairs if value]
