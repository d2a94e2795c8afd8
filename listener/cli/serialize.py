"""The words as plain values, for JSON and for people."""

from __future__ import annotations

from typing import Any

from listener.core.model import Delivery, Job, Quarantined
from listener.store.queries import StoredResult


def job_dict(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "reference": job.reference,
        "token": job.token,
        "state": job.state,
        "function": job.function,
        "pipeline": job.pipeline,
        "input": job.input,
        "output": job.output,
        "params": job.params,
        "notify_url": job.notify_url,
        "user_data": job.user_data,
        "error": job.error,
        "created_at": job.created_at,
        "submitted_at": job.submitted_at,
        "finished_at": job.finished_at,
    }


def result_dict(stored: StoredResult) -> dict[str, Any]:
    result = stored.result
    return {
        "id": stored.id,
        "job_id": result.job_id,
        "run_id": result.run_id,
        "type": result.type,
        "function": result.function,
        "state": result.state,
        "code": result.code,
        "message": result.message,
        "user_data": result.user_data,
        "source": result.source,
        "queue": stored.queue,
        "status": stored.status,
        "received_at": stored.received_at,
        "copies": stored.copies,
        "contradictions": stored.contradictions,
        "raw": result.raw,
    }


def delivery_dict(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "job_id": delivery.result.key,
        "result_state": delivery.result.state,
        "route": delivery.target.route,
        "handler": delivery.target.handler,
        "state": delivery.state,
        "attempt": delivery.attempt,
        "failures": delivery.failures,
        "key": delivery.key,
        "next_at": delivery.next_at,
        "lease_until": delivery.lease_until,
        "created_at": delivery.created_at,
        "settled_at": delivery.settled_at,
        "last_error": delivery.last_error,
    }


def quarantined_dict(entry: Quarantined) -> dict[str, Any]:
    return {
        "id": entry.id,
        "queue": entry.queue,
        "message_id": entry.message.message_id,
        "reason": entry.reason,
        "received_at": entry.received_at,
        "copies": entry.copies,
        "body": entry.message.body,
    }
