"""Log lines about messages and results: what was received, and what the store has committed about it.

Together with the lines about deliveries (``listener/dispatch/delivery_log.py``) they show the way of one job.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from listener.core.idempotency_key import idempotency_key
from listener.core.logger import get_logger
from listener.core.model import Message, RecordedEntry, RecordKind, RecordSummary, Source
from listener.runtime.log_throttle import ThrottledLog

log = get_logger(__name__)

#: How many lines of an event are logged for a queue within a minute, at levels above debug.
BURST: Final = 10
#: Kinds that are worth a line at levels above debug.
NOTABLE: Final = frozenset(
    {
        RecordKind.PARKED,
        RecordKind.DROPPED,
        RecordKind.REFUSED,
        RecordKind.CONTRADICTION,
        RecordKind.QUARANTINED,
    }
)


def log_received(queue: str, messages: Sequence[Message]) -> None:
    """Log messages that were received; nothing is recorded of them yet."""
    if log.is_enabled_for(logging.DEBUG):
        for message in messages:
            log.debug(
                "message.received",
                queue=queue,
                message_id=message.message_id,
                dequeue_count=message.dequeue_count,
            )


class RecordLog:
    """Logs what was committed. Safe to use from several threads."""

    def __init__(self) -> None:
        self._throttled = ThrottledLog(log, burst=BURST, rest_at_debug=True)

    def write(self, summary: RecordSummary) -> None:
        """To be called once this is committed. A flood of notable ones is only complete at level debug."""
        verbose = log.is_enabled_for(logging.DEBUG)
        if not verbose and NOTABLE.isdisjoint(summary.kinds):
            return
        for entry in summary.entries():
            if entry.kind in NOTABLE:
                self._write_notable(entry)
            elif verbose:
                _write_usual(entry)

    def report_counts(self) -> None:
        """Log how many lines a flood would have had that is over; to be called now and then."""
        self._throttled.report_counts()

    def _write_notable(self, entry: RecordedEntry) -> None:
        fields = _fields(entry)
        match entry.kind:
            case RecordKind.PARKED:
                self._throttled.info("result.parked", **fields)
            case RecordKind.DROPPED:
                self._throttled.info("result.dropped", **fields)
            case RecordKind.REFUSED:
                self._throttled.warning("result.refused", **fields)
            case RecordKind.CONTRADICTION:
                self._throttled.warning("result.contradiction", **fields)
            case RecordKind.QUARANTINED:
                self._throttled.warning("message.quarantined", **fields)


def _write_usual(entry: RecordedEntry) -> None:
    fields = _fields(entry)
    if entry.kind is RecordKind.DUPLICATE:
        log.debug("result.duplicate", **fields)
        return
    log.debug("result.recorded", **fields, status=str(entry.kind))
    for target in entry.targets:
        result = entry.result
        key = idempotency_key(result.key, result.state, target.route, target.handler) if result else ""
        log.debug("result.routed", **fields, route=target.route, handler=target.handler, key=key)


def _fields(entry: RecordedEntry) -> dict[str, str]:
    """The fields of every line about an entry, without those that it has no value for."""
    result = entry.result
    fields = {
        "job_id": result.subject if result else "",
        "state": result.state if result else "",
        "queue": entry.queue,
        "message_id": entry.message_id,
        "source": str(result.source) if result and result.source is not Source.CALLBACK else "",
        "reason": entry.reason,
        "recorded_state": entry.recorded_state,
    }
    return {name: value for name, value in fields.items() if value}
