"""Log lines about deliveries, and the fields that they have."""

from __future__ import annotations

import structlog

from listener.core.model import Dead, Delivery, Done, RetryAt, Settlement

log = structlog.get_logger(__name__)


def log_fields(delivery: Delivery) -> dict[str, object]:
    """The fields of every log line about a delivery."""
    result, target = delivery.result, delivery.target
    return {
        "job_id": result.key,
        "state": result.state,
        "route": target.route,
        "handler": target.handler,
        "attempt": delivery.attempt,
    }


def log_settlement(settlement: Settlement, *, late: bool) -> None:
    """Log what became of an attempt. ``late``: another attempt had begun, so that this outcome was ignored."""
    if isinstance(settlement.outcome, Done):
        delivery = settlement.delivery
        log.debug("delivery.settled", outcome="done", late=late, key=delivery.key, attempt=delivery.attempt)
        return
    fields = log_fields(settlement.delivery) | {"late": late}
    match settlement.outcome:
        case RetryAt(at=at, reason=reason, spent=spent):
            log.info(
                "delivery.settled", outcome="again", at=at.isoformat(), reason=reason, spent=spent, **fields
            )
        case Dead(reason=reason):
            log.warning("delivery.settled", outcome="dead", reason=reason, **fields)
