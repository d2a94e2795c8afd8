"""Converts the values of ``core.model`` to rows and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any

from sqlalchemy import Row, RowMapping

from listener.core.index_key import index_key
from listener.core.model import (
    Delivery,
    DeliveryState,
    Job,
    JobState,
    Message,
    Quarantined,
    Result,
    Source,
    Target,
    make_delivery,
    make_result,
)
from listener.core.quick_init import from_values
from listener.store.routed_result import RoutedResult
from listener.store.tables import UtcTimestamp, from_microseconds, jobs, stored_time

Values = dict[str, Any]
Columns = Mapping[str, Any] | RowMapping
"""A row by the names of its columns."""

#: A job's columns are its fields.
JOB_FIELDS = tuple(each.name for each in fields(Job))
#: Fields that are unique where they are given: "" is stored as NULL, which is not compared.
UNIQUE_IF_GIVEN = ("job_id", "reference")
#: Fields of a result that are not columns as they are: details are JSON; activities are JSON pairs in one column.
JSON_FIELDS = ("details", "activity_job_ids", "activity_states")
#: The largest value of an INTEGER column of PostgreSQL.
MAX_INTEGER = 2**31 - 1
RESULT_FIELDS = tuple(each.name for each in fields(Result) if each.name not in JSON_FIELDS)

#: The columns of the rows that ``row_of_result`` makes, in their order; the others are set later.
NEW_RESULT = (
    *RESULT_FIELDS,
    "details",
    "activities",
    "dedup_key",
    "job",
    "queue",
    "message_id",
    "status",
    "wait_until",
    "received_at",
    "copies",
    "contradictions",
)

_job_values, _job_columns = attrgetter(*JOB_FIELDS), itemgetter(*JOB_FIELDS)
# Enumerations become plain text here: SQLite's driver looks for an adapter of the values of all other classes.
_result_values = attrgetter(*(f"{name}.value" if name == "source" else name for name in RESULT_FIELDS))
_result_columns = itemgetter(*RESULT_FIELDS)

# A look-up is several times as fast as calling the enumeration.
_DELIVERY_STATES = {state.value: state for state in DeliveryState}
_JOB_STATES = {state.value: state for state in JobState}
_SOURCES = {source.value: source for source in Source}
#: Where the values of these fields are among those of JOB_FIELDS.
_TIME_PLACES = tuple(
    place for place, name in enumerate(JOB_FIELDS) if isinstance(jobs.c[name].type, UtcTimestamp)
)
_STATE_PLACE = JOB_FIELDS.index("state")
_UNIQUE_PLACES = tuple(JOB_FIELDS.index(name) for name in UNIQUE_IF_GIVEN)
_made_job = from_values(Job)


def values_of_job(job: Job) -> Values:
    """The row of a job: a column for each field."""
    values = dict(zip(JOB_FIELDS, _job_values(job), strict=True))
    for name in UNIQUE_IF_GIVEN:
        values[name] = values[name] or None
    unknown_to_mps = job.finished_at or job.state is JobState.ACCEPTED
    values["next_query_at"] = None if unknown_to_mps else job.deadline_at
    return values


def job_of(row: Columns) -> Job:
    """The inverse of ``values_of_job``."""
    return _job([*_job_columns(row)])


def stored_job(values: list[Any]) -> Job:
    """The job in these columns, which are JOB_FIELDS, as the driver reads them. The list is changed."""
    for place in _TIME_PLACES:
        if (number := values[place]) is not None:
            values[place] = from_microseconds(number)
    return _job(values)


def _job(values: list[Any]) -> Job:
    """The job with these values of its fields. The list is changed."""
    for place in _UNIQUE_PLACES:
        values[place] = values[place] or ""
    # An unknown state raises ValueError, which names it.
    state = values[_STATE_PLACE]
    values[_STATE_PLACE] = _JOB_STATES.get(state) or JobState(state)
    return _made_job(values)


def row_of_result(entry: RoutedResult, *, at: int | None) -> tuple[Any, ...]:
    """The row of a new result, NEW_RESULT: a column for each field, but for those that are stored as JSON, and how it
    came. ``at`` is the stored time of now."""
    result, decision, known = entry.result, entry.decision, entry.known
    return (
        *_result_values(result),
        json.dumps(result.details) if result.details else None,
        _activities_of(result) if result.activity_job_ids else None,
        entry.dedup_key,
        known.id if known else None,
        entry.queue,
        entry.message_id,
        decision.status.value,
        stored_time(decision.wait_until),
        at,
        1,
        0,
    )


def result_of(row: Columns) -> Result:
    """The result in this row."""
    values = dict(zip(RESULT_FIELDS, _result_columns(row), strict=True))
    values["source"] = _SOURCES[values["source"]]
    details = row["details"]
    return make_result(
        **values,
        details=tuple(json.loads(details)) if details else (),
        **_activities(row["activities"]),
    )


def _activities_of(result: Result) -> str | None:
    states = result.activity_states or ("",) * len(result.activity_job_ids)
    pairs = list(zip(result.activity_job_ids, states, strict=True))
    return json.dumps(pairs) if pairs else None


def _activities(text: str | None) -> dict[str, Any]:
    pairs = json.loads(text) if text else []
    states = tuple(state for _, state in pairs)
    return {
        "activity_job_ids": tuple(job_id for job_id, _ in pairs),
        "activity_states": states if any(states) else (),
    }


def delivery_of(
    row: Mapping[str, Any], result: Result, job: Job | None, *, received_at: datetime
) -> Delivery:
    """The delivery in this row, with its result and job."""
    return make_delivery(
        id=row["id"],
        target=Target(row["route"], row["handler"]),
        result=result,
        job=job,
        received_at=received_at,
        queue=row["queue"],
        attempt=row["attempt"],
        failures=row["failures"],
        state=_DELIVERY_STATES[row["state"]],
        created_at=row["created_at"],
        next_at=row["next_at"],
        settled_at=row["settled_at"],
        lease_until=row["lease_until"],
        owner=row["owner"] or "",
        last_error=row["last_error"] or "",
        no_handler_since=row["no_handler_since"],
        first_key=row["first_key"] or "",
        replayed_at=row["replayed_at"],
        pull_at=row["pull_at"],
    )


def values_of_quarantined(queue: str, message: Message, *, reason: str, at: datetime) -> Values:
    """The row of a message that could not be decoded. Without a message id its body identifies it."""
    digest = hashlib.sha256(message.body.encode("utf-8", "surrogatepass")).hexdigest()
    return {
        "queue": queue,
        "message_id": index_key(message.message_id) or f"sha256:{digest}",
        "body": message.body,
        "reason": reason,
        "dequeue_count": min(message.dequeue_count, MAX_INTEGER),
        "enqueued_at": message.enqueued_at,
        "received_at": at,
        "copies": 1,
    }


def quarantined_of(row: Columns) -> Quarantined:
    """The quarantined message in this row; its receipt handle is not stored."""
    return Quarantined(
        id=row["id"],
        queue=row["queue"],
        message=Message(
            message_id=row["message_id"],
            receipt_handle="",
            body=row["body"],
            dequeue_count=row["dequeue_count"],
            enqueued_at=row["enqueued_at"],
        ),
        reason=row["reason"],
        received_at=row["received_at"],
        copies=row["copies"],
    )


def mapping(row: Row[Any]) -> RowMapping:
    """The row by column name; SQLAlchemy's own name for this looks private."""
    return row._mapping
