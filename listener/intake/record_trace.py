"""Spans about results that were recorded, in the traces of their jobs."""

from __future__ import annotations

from datetime import datetime

from listener.core.model import RecordedEntry, RecordSummary
from listener.runtime import tracing


def trace_recorded(summary: RecordSummary, *, since: datetime) -> None:
    """The spans of a transaction that began at this time and is committed; one for each result of a traced job."""
    if not tracing.is_used():
        return
    for entry in summary.entries():
        if entry.trace:
            attributes = _attributes(entry)
            tracing.completed(
                "record", kind="CONSUMER", parent=entry.trace, since=since, attributes=attributes
            )


def _attributes(entry: RecordedEntry) -> dict[str, str]:
    result = entry.result
    return {
        "kind": entry.kind,
        "queue": entry.queue,
        "message_id": entry.message_id,
        "job_id": result.subject if result else "",
        "state": result.state if result else "",
        "source": result.source if result else "",
    }
