"""One attempt at a delivery: enrich it, make its document, call the handler, decide the outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from listener.core.call_deadline import set_call_deadline
from listener.core.model import Delivery, Done, JobResult, Outcome
from listener.dispatch.delivery_log import call_with_log_fields
from listener.dispatch.delivery_trace import describe, fail, trace_of
from listener.dispatch.job_result import job_result
from listener.rules.retry import RetryPolicy
from listener.runtime import tracing


@dataclass(frozen=True, slots=True)
class HandlerBinding:
    """A handler with its retry policy. ``run`` is called from worker threads, raises what the handler raises."""

    run: Callable[[JobResult], None]
    policy: RetryPolicy
    enrich: Callable[[Delivery], Delivery] | None = None


def run_attempt(
    delivery: Delivery,
    binding: HandlerBinding,
    *,
    limit: timedelta,
    failed: Callable[[Delivery, BaseException], Outcome],
) -> Outcome:
    """Done if the handler returns, else what ``failed`` decides about the error that was raised.

    ``limit`` is the time for all of it, which the handler can ask for (``time_left``).
    """
    set_call_deadline(limit)
    with tracing.span("handle", kind="CONSUMER", parent=trace_of(delivery)) as span:
        outcome: Outcome = Done()
        try:
            enriched = binding.enrich(delivery) if binding.enrich else delivery
            result = job_result(enriched, traceparent=span.traceparent)
            call_with_log_fields(delivery, binding.run, result)
        # Handlers are third-party code: not even their SystemExit may end the worker.
        except BaseException as error:
            outcome = failed(delivery, error)
            fail(span, error, outcome)
        describe(span, delivery, outcome)
    return outcome
