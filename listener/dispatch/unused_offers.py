"""Offered deliveries that no application can pull any more, since the settings have changed: dispatchers get them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from listener.core.logger import get_logger
from listener.core.model import Target
from listener.core.ports import PullStore

log = get_logger(__name__)

#: How many transactions one turn uses at most for each target.
STEPS_PER_TURN: Final = 20


class UnusedOffers:
    """One turn is ``withdraw``. For one thread."""

    def __init__(
        self,
        *,
        store: PullStore,
        is_pulled: Callable[[Target], bool],
        has_handler: Callable[[Target], bool],
        may_run_elsewhere: Callable[[Target], bool],
    ) -> None:
        """``is_pulled``: by the settings of this process. ``may_run_elsewhere``: by those of another that runs."""
        self._store = store
        self._is_pulled = is_pulled
        self._has_handler = has_handler
        self._may_run_elsewhere = may_run_elsewhere

    def withdraw(self) -> int:
        """Withdraw the offers to targets that now have a handler of another kind, or that no running process has.

        In the latter case ``dispatch.no_handler_timeout`` applies from then on. Returns how many deliveries were
        withdrawn. Raises StoreUnavailable.
        """
        return sum(map(self._withdraw, self._store.offered_targets()))

    def _withdraw(self, target: Target) -> int:
        if self._is_pulled(target):
            return 0
        if not self._has_handler(target) and self._may_run_elsewhere(target):
            return 0
        count = 0
        for _ in range(STEPS_PER_TURN):
            step = self._store.withdraw(target)
            count += step
            if not step:
                break
        log.info("offers.withdrawn", route=target.route, handler=target.handler, count=count)
        return count
