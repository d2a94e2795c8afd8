"""Log lines about deliveries: which fields they have, and how they get into the lines of users' handlers."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TypeVar

from structlog.contextvars import bind_contextvars

from listener.core.errors import HandlerDecision
from listener.core.logger import get_logger
from listener.core.model import OUTCOME_NAMES, Dead, Delivery, Done, Offered, RetryAfter, Settlement

log = get_logger(__name__)

Argument = TypeVar("Argument")


def log_fields(delivery: Delivery) -> dict[str, object]:
    """The fields of every log line about a delivery."""
    result, target = delivery.result, delivery.target
    return {
        "job_id": result.subject,
        "state": result.state,
        "route": target.route,
        "handler": target.handler,
        "attempt": delivery.attempt,
    }


#: structlog's own context variable of each field. Setting these directly, one by one, takes a third of the time of
#: ``bind_contextvars``, which matters because it is done for each delivery.
_job_id, _state, _route, _handler, _attempt = [
    token.var
    for token in contextvars.Context()
    .run(bind_contextvars, job_id="", state="", route="", handler="", attempt=0)
    .values()
]


def call_with_log_fields(
    delivery: Delivery, function: Callable[[Argument], None], argument: Argument
) -> None:
    """Call the function; every line that it logs through structlog carries the delivery's log fields.

    The call runs in its own copy of the thread's context: nothing that is bound here, or by the function itself, is
    left for the next call in this thread. asyncio copies that context for coroutines that are scheduled from it.
    """
    contextvars.copy_context().run(_bind_and_call, delivery, function, argument)


def _bind_and_call(delivery: Delivery, function: Callable[[Argument], None], argument: Argument) -> None:
    # The same as ``log_fields``.
    result, target = delivery.result, delivery.target
    _job_id.set(result.subject)
    _state.set(result.state)
    _route.set(target.route)
    _handler.set(target.handler)
    _attempt.set(delivery.attempt)
    function(argument)


def log_error(delivery: Delivery, error: BaseException) -> None:
    """Log where a handler raised, at level debug; its own decisions (``Retry`` and so on) need no traceback."""
    if not isinstance(error, HandlerDecision):
        log.debug("handler.raised", **log_fields(delivery), exc_info=error)


def log_settlement(settlement: Settlement, *, late: bool) -> None:
    """Log what is committed about an attempt. ``late``: another one had begun, so that this outcome was ignored."""
    fields = log_fields(settlement.delivery) | {"key": settlement.delivery.key}
    if late:
        ignored = OUTCOME_NAMES[type(settlement.outcome)]
        log.info("delivery.settled", **fields, outcome="late", ignored=ignored)
        return
    match settlement.outcome:
        case Done():
            log.debug("delivery.settled", **fields, outcome="done")
        case Offered():
            log.debug("delivery.offered", **fields)
        case RetryAfter(wait=wait, reason=reason, spent=spent, failed=failed):
            write = log.warning if failed else log.info
            write(
                "delivery.settled",
                **fields,
                outcome="retry",
                wait=wait.total_seconds(),
                reason=reason,
                spent=spent,
            )
        case Dead(reason=reason):
            log.warning("delivery.settled", **fields, outcome="dead", reason=reason)
