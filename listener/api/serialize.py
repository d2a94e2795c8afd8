"""Jobs, results, deliveries and quarantined messages as dictionaries: the JSON of the command line and the API."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from listener.core.documents import to_plain
from listener.core.lazy_imports import lazy_imports
from listener.core.model import Attempt, Delivery, Job, Quarantined, Result

with lazy_imports():
    from listener.dispatch.job_result import outputs_of
    from listener.formats import activities

if TYPE_CHECKING:
    from listener.store.daemons import RunningDaemon
    from listener.store.feed_events import FeedEvent
    from listener.store.queries import StoredResult
    from listener.store.statistics import Activity, Totals

#: The fields of a job by which it is identified come first; all others follow in the order of the dataclass.
_JOB_HEAD = ("job_id", "reference", "token", "state")
JOB_KEYS = (*_JOB_HEAD, *(each.name for each in fields(Job) if each.name not in _JOB_HEAD))
#: The fields of a result: identity first, the vendor's own texts last.
_RESULT_HEAD, _RESULT_TAIL = ("job_id", "run_id", "type", "function", "state"), ("outputs", "raw")
_RESULT_OTHERS = tuple(
    each.name for each in fields(Result) if each.name not in (*_RESULT_HEAD, *_RESULT_TAIL)
)


def job_dict(job: Job) -> dict[str, Any]:
    """All fields of a job."""
    return {name: getattr(job, name) for name in JOB_KEYS}


def result_dict(stored: StoredResult, *, job: Job | None = None) -> dict[str, Any]:
    """All fields of a result, and what the store knows about it; outputs and activities as handlers get them."""
    result = stored.result
    return {
        "id": stored.id,
        **{name: getattr(result, name) for name in (*_RESULT_HEAD, *_RESULT_OTHERS)},
        "queue": stored.queue,
        "status": stored.status,
        "received_at": stored.received_at,
        "copies": stored.copies,
        "contradictions": stored.contradictions,
        "outputs": to_plain(outputs_of(result, job)),
        "activities": to_plain(activities.read(result.raw) if result.run_id else ()),
        "raw": result.raw,
    }


def delivery_dict(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "job_id": delivery.result.subject,
        "result_state": delivery.result.state,
        "route": delivery.target.route,
        "handler": delivery.target.handler,
        "state": delivery.state,
        "attempt": delivery.attempt,
        "failures": delivery.failures,
        "key": delivery.key,
        "next_at": delivery.due_at,
        "lease_until": delivery.lease_until,
        "created_at": delivery.created_at,
        "replayed_at": delivery.replayed_at,
        "settled_at": delivery.settled_at,
        "last_error": delivery.last_error,
    }


def attempt_dict(attempt: Attempt) -> dict[str, Any]:
    """All fields of an attempt."""
    return {each.name: getattr(attempt, each.name) for each in fields(Attempt)}


def whole_delivery_dict(delivery: Delivery) -> dict[str, Any]:
    """The same with what the callback contains."""
    return delivery_dict(delivery) | {"user_data": delivery.result.user_data, "raw": delivery.result.raw}


def feed_event_dict(event: FeedEvent) -> dict[str, Any]:
    """All fields of an event of the feed, the cursor last."""
    names = [each.name for each in fields(event) if each.name != "cursor"]
    return {name: getattr(event, name) for name in (*names, "cursor")}


def quarantined_dict(entry: Quarantined) -> dict[str, Any]:
    return {
        "id": entry.id,
        "queue": entry.queue,
        "message_id": entry.message.message_id,
        "reason": entry.reason,
        "enqueued_at": entry.message.enqueued_at,
        "received_at": entry.received_at,
        "dequeue_count": entry.message.dequeue_count,
        "copies": entry.copies,
        "body": entry.message.body,
    }


def daemon_dict(daemon: RunningDaemon) -> dict[str, Any]:
    return {
        "owner": daemon.owner,
        "host": daemon.host,
        "version": daemon.version,
        "queues": list(daemon.queues),
        "started_at": daemon.started_at,
        "seen_at": daemon.seen_at,
    }


def totals_dict(totals: Totals) -> dict[str, Any]:
    """What is open in the store."""
    return {each.name: getattr(totals, each.name) for each in fields(totals)} | {
        "oldest_pending_age_seconds": totals.oldest_pending_age.total_seconds()
    }


def activity_dict(activity: Activity) -> dict[str, Any]:
    """The last hour; ``a_minute`` are the means of the last five minutes."""
    rates = activity.rates()
    return {
        "since": activity.since,
        "a_minute": {name: getattr(rates, name) for name in ("received", "handled", "failed")},
        "minutes": [
            {"at": each.at, "received": each.received, "handled": each.handled, "failed": each.failed}
            for each in activity.minutes
        ],
        "outcomes_since": activity.outcomes_since,
        "ended_by": {str(source): count for source, count in activity.ended_by.items()},
        "query_share": activity.query_share,
        "times": [
            {
                "function": each.function,
                "jobs": each.jobs,
                "median_seconds": each.median.total_seconds(),
                "p95_seconds": each.p95.total_seconds(),
                "longest_seconds": each.longest.total_seconds(),
            }
            for each in activity.times
        ],
    }
