"""The pollers of one queue: one that is always there, and helpers while the queue is deep.

Only the first one parks in long polls; MNS limits how many of those may be open, and each costs a request. A batch
that came full calls for a helper, and a helper whose batch is not full goes home.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from listener.intake.recorder import Poller
from listener.runtime.log_throttle import ThrottledLog

log = structlog.get_logger(__name__)


class PollerGroup:
    """``most`` pollers at a time, the first one included. Helpers are made once and called again."""

    def __init__(self, *, first: Poller, helper: Callable[[], Poller], most: int) -> None:
        self.first = first
        self._make_helper = helper
        self._most = most
        self._changed = threading.Condition()
        self._resting: list[Poller] = []
        self._working = 0
        self._warnings = ThrottledLog(log)

    @property
    def name(self) -> str:
        return self.first.name

    @property
    def idle(self) -> bool:
        """Whether the queue was found empty, and nobody is at work on it."""
        with self._changed:
            return self.first.idle and not self._working

    def run(self) -> None:
        """Poll until told to stop, and call for help while batches come full; then wait for the helpers."""
        for _turn in self.first.turns():
            if self.first.needs_help:
                self.call_helper()
        with self._changed:
            self._changed.wait_for(lambda: not self._working)

    def call_helper(self) -> None:
        """Start another helper, unless enough of them are at work."""
        with self._changed:
            if self._working >= self._most - 1:
                return
            helper = self._resting.pop() if self._resting else self._make_helper()
            thread = threading.Thread(
                target=self._help, args=(helper,), name=f"{helper.name} helper", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:  # the system gives no more threads: those at work go on alone
                self._resting.append(helper)
                self._warnings.warning("helper.not_started", queue=helper.name, error=str(error))
            else:
                self._working += 1

    def _help(self, helper: Poller) -> None:
        try:
            for _turn in helper.turns_while_full():
                self.call_helper()
        finally:
            with self._changed:
                self._working -= 1
                self._resting.append(helper)
                self._changed.notify_all()
