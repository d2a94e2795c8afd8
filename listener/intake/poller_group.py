"""The pollers of one queue: one that always runs, and extra ones while the queue is deep.

Only the first poller waits in long polls: MNS limits how many of those may be open, and each costs a request. A full
batch starts an extra poller, up to the setting ``max_pollers``; an extra poller ends when its batch is not full, or
when the handlers are slower than the queue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from listener.core.logger import get_logger
from listener.intake.poller import Poller
from listener.runtime.log_throttle import ThrottledLog

log = get_logger(__name__)


class PollerGroup:
    """Decides how many pollers work on a queue: at most ``max_pollers`` at a time, the first one included.

    Extra pollers are made by ``make_extra`` when they are first needed, and reused.
    """

    def __init__(self, *, first: Poller, make_extra: Callable[[], Poller], max_pollers: int) -> None:
        self.first = first
        self._make_extra = make_extra
        self._max_extra = max_pollers - 1
        self._changed = threading.Condition()
        self._unused: list[Poller] = []
        self._running = 0  #: extra pollers
        self._warnings = ThrottledLog(log)

    @property
    def name(self) -> str:
        return self.first.name

    @property
    def idle(self) -> bool:
        """Whether the queue was found empty, and no extra poller is running."""
        with self._changed:
            return self.first.idle and not self._running

    @property
    def pollers(self) -> int:
        """How many pollers are running."""
        with self._changed:
            return 1 + self._running

    def run(self) -> None:
        """Poll until the stop event is set, with extra pollers while batches are full; then wait for those to end."""
        for _turn in self.first.turns():
            if self.first.wants_more_pollers:
                self.add_poller()
        with self._changed:
            self._changed.wait_for(lambda: not self._running)

    def add_poller(self) -> None:
        """Start another extra poller, unless as many as allowed are running."""
        with self._changed:
            if self._running >= self._max_extra:
                return
            extra = self._unused.pop() if self._unused else self._make_extra()
            thread = threading.Thread(
                target=self._run_extra, args=(extra,), name=f"{extra.name} extra poller", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:  # the system allows no more threads: continue with those that run
                self._unused.append(extra)
                self._warnings.warning("poller.not_started", queue=extra.name, error=str(error))
            else:
                self._running += 1

    def _run_extra(self, extra: Poller) -> None:
        try:
            for _turn in extra.turns_while_full():
                self.add_poller()
        finally:
            with self._changed:
                self._running -= 1
                self._unused.append(extra)
                self._changed.notify_all()
