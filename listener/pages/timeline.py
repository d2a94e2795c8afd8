"""The history of one job as a list of events, in the order in which they happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from listener.core.model import Delivery, DeliveryState, Job, JobState, Source
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
    delivery: int = 0  #: the id of the dead letter or delivery that it is about


def timeline(history: JobHistory) -> Sequence[Event]:
    """All events, in chronological order."""
    events = [*_of_job(history.job)] if history.job else []
    events += [_of_result(stored) for stored in history.results]
    events += [event for delivery in history.deliveries for event in _of_delivery(delivery)]
    return sorted(events, key=lambda event: event.at)


def _of_job(job: Job) -> Iterator[Event]:
    here = job.submitted_here
    yield Event(at=job.created_at, title="Intent stored" if here else "Registered")
    if job.submitted_at and here:
        yield Event(at=job.submitted_at, title="Submitted", facts=_facts(("job ID", job.job_id)))
    if job.state is JobState.REFUSED:
        yield Event(at=job.finished_at or job.created_at, title="Refused by MPS", tone="bad", error=job.error)


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
            delivery=delivery.id,
        )
        return
    yield Event(
        at=delivery.settled_at,
        title=title,
        tone=TONES.get(delivery.state, "neutral"),
        facts=(*place, *_facts(("attempts", number(delivery.attempt)), ("key", delivery.key))),
        error=delivery.last_error,
        delivery=delivery.id,
    )


def _facts(*pairs: tuple[str, str]) -> Sequence[tuple[str, str]]:
    """Those that have a value."""
    return [(name, value) for name, value in pairs if value]
