"""Spans about deliveries: which trace they belong to, and which attributes they have."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from listener.core.model import OUTCOME_NAMES, Delivery, Offered, Outcome, RetryAfter, Settlement
from listener.dispatch.delivery_log import log_fields
from listener.runtime import tracing
from listener.runtime.tracing import ActiveSpan


def trace_of(delivery: Delivery) -> str:
    """The traceparent of the submission; empty if that is not known."""
    return delivery.job.trace if delivery.job else ""


def describe(span: ActiveSpan, delivery: Delivery, outcome: Outcome) -> None:
    """Give the span of an attempt its attributes."""
    if tracing.is_used():
        span.set(_attributes(delivery, outcome))


def fail(span: ActiveSpan, error: BaseException, outcome: Outcome) -> None:
    """The attempt ended with this error, which is a failure unless applications are to pull the delivery, or a stop has
    cut the attempt short."""
    cut_short = isinstance(outcome, RetryAfter) and not outcome.failed
    if not cut_short and not isinstance(outcome, Offered):
        span.fail(error)


def trace_settlements(settlements: Sequence[Settlement], *, since: datetime) -> None:
    """The spans of a transaction that began at this time and wrote these outcomes."""
    if not tracing.is_used():
        return
    for settlement in settlements:
        delivery = settlement.delivery
        tracing.completed(
            "settle",
            kind="INTERNAL",
            parent=trace_of(delivery),
            since=since,
            attributes=_attributes(delivery, settlement.outcome),
        )


def _attributes(delivery: Delivery, outcome: Outcome) -> dict[str, str | int]:
    """Those of the log lines, and the idempotency key."""
    fields = {name: value for name, value in log_fields(delivery).items() if isinstance(value, str | int)}
    return {**fields, "key": delivery.key, "outcome": OUTCOME_NAMES[type(outcome)]}
