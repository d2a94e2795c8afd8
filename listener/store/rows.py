"""Between rows and words, both ways."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, RowMapping

from listener.core.model import (
    DecodedMessage,
    Delivery,
    DeliveryState,
    Job,
    Message,
    Quarantined,
    Result,
    RoutingDecision,
    Source,
    Target,
)

Values = dict[str, Any]
Columns = Mapping[str, Any] | RowMapping
"""A row by the names of its columns."""

# Looking up is several times as fast as calling the enumeration.
_DELIVERY_STATES = {state.value: state for state in DeliveryState}
_SOURCES = {source.value: source for source in Source}


def values_of_job(job: Job) -> Values:
    return {
        "token": job.token,
        "job_id": job.job_id or None,
        "reference": job.reference or None,
        "function": job.function,
        "pipeline": job.pipeline,
        "input": job.input,
        "output": job.output,
        "params": job.params,
        "model": job.model,
        "schedule_params": job.schedule_params,
        "notify_url": job.notify_url,
        "user_data": job.user_data,
        "state": job.state,
        "error": job.error,
        "created_at": job.created_at,
        "submitted_at": job.submitted_at,
        "finished_at": job.finished_at,
        "tenant": job.tenant,
        "deadline_at": job.deadline_at,
        "next_query_at": None if job.finished_at else job.deadline_at,
        "queries": job.queries,
    }


def job_of(row: Columns) -> Job:
    return Job(
        token=row["token"],
        job_id=row["job_id"] or "",
        reference=row["reference"] or "",
        function=row["function"],
        pipeline=row["pipeline"],
        input=row["input"],
        output=row["output"],
        params=row["params"],
        model=row["model"],
        schedule_params=row["schedule_params"],
        notify_url=row["notify_url"],
        user_data=row["user_data"],
        state=row["state"],
        error=row["error"],
        created_at=row["created_at"],
        submitted_at=row["submitted_at"],
        finished_at=row["finished_at"],
        tenant=row["tenant"],
        deadline_at=row["deadline_at"],
        queries=row["queries"],
    )


def values_of_result(
    result: Result, decision: RoutingDecision, *, job: int | None, queue: str, message_id: str, at: datetime
) -> Values:
    return {
        "dedup_key": result.dedup_key,
        "job_id": result.job_id,
        "run_id": result.run_id,
        "job": job,
        "type": result.type,
        "function": result.function,
        "state": result.state,
        "code": result.code,
        "message": result.message,
        "details": json.dumps(result.details) if result.details else None,
        "user_data": result.user_data,
        "token": result.token,
        "activities": _activities_of(result),
        "pipeline": result.pipeline,
        "source": result.source,
        "raw": result.raw,
        "outputs": result.outputs,
        "queue": queue,
        "message_id": message_id,
        "status": decision.status,
        "wait_until": decision.wait_until,
        "received_at": at,
        "copies": 1,
        "contradictions": 0,
    }


def result_of(row: Columns) -> Result:
    return Result(
        job_id=row["job_id"],
        run_id=row["run_id"],
        type=row["type"],
        function=row["function"],
        state=row["state"],
        code=row["code"],
        message=row["message"],
        details=tuple(json.loads(row["details"])) if row["details"] else (),
        user_data=row["user_data"],
        token=row["token"],
        **_activities(row["activities"]),
        pipeline=row["pipeline"],
        source=_SOURCES[row["source"]],
        raw=row["raw"],
        outputs=row["outputs"],
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


def delivery_of(row: Mapping[str, Any], result: Result, job: Job | None) -> Delivery:
    return Delivery(
        id=row["id"],
        target=Target(row["route"], row["handler"]),
        result=result,
        job=job,
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
    )


def values_of_quarantined(decoded_message: DecodedMessage, *, at: datetime) -> Values:
    """A message that is garbled so badly that its id is lost is known by its text."""
    digest = hashlib.sha256(decoded_message.message.body.encode()).hexdigest()
    return {
        "queue": decoded_message.queue,
        "message_id": decoded_message.message.message_id or f"sha256:{digest}",
        "body": decoded_message.message.body,
        "reason": decoded_message.reason,
        "dequeue_count": decoded_message.message.dequeue_count,
        "enqueued_at": decoded_message.message.enqueued_at,
        "received_at": at,
        "copies": 1,
    }


def quarantined_of(row: Columns) -> Quarantined:
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
    return row._mapping
