"""From which figures on something needs attention: the same for ``mns-listener status`` and for the pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

#: From this age on, a pending delivery shows that handlers do not keep up, or fail.
PENDING_OVERDUE: Final = timedelta(minutes=15)
#: If more than this share of at least so many outcomes came without a callback, callbacks get lost.
LOST_CALLBACKS: Final = 0.05
MIN_OUTCOMES: Final = 20


def is_backlog_old(oldest_pending_age: timedelta) -> bool:
    return oldest_pending_age > PENDING_OVERDUE


def callbacks_get_lost(query_share: float | None, *, outcomes: int) -> bool:
    """``query_share``: of those outcomes for which a callback was expected; None without any."""
    return (query_share or 0.0) > LOST_CALLBACKS and outcomes >= MIN_OUTCOMES
