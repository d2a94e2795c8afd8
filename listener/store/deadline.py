"""Until when a transaction may take: verified on this side, because a database that stands still enforces nothing."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from listener.core import clock

#: How many seconds a transaction without a deadline waits for a connection at most, while others use all of them.
POOL_TIMEOUT = 30.0


class Deadline:
    """The deadline of each thread's transaction. The drivers check it while they wait or compute."""

    def __init__(self, timeout: timedelta | None) -> None:
        """Without a timeout, transactions may take as long as they need."""
        self.timeout = math.inf if timeout is None else timeout.total_seconds()
        self._of_thread = threading.local()
        self._of_all = math.inf

    @property
    def pool_timeout(self) -> float:
        """How many seconds to wait for a connection that other threads use."""
        return min(POOL_TIMEOUT, self.timeout)

    @contextmanager
    def limited(self) -> Iterator[None]:
        """What this thread does within this context must end within the timeout, and within that of a context around
        it."""
        around = getattr(self._of_thread, "at", math.inf)
        self._of_thread.at = min(around, clock.monotonic() + self.timeout)
        try:
            yield
        finally:
            self._of_thread.at = around

    def end_all(self, at: float) -> None:
        """From this time (monotonic) on, no transaction of any thread may continue or begin."""
        self._of_all = at

    @property
    def seconds_left(self) -> float:
        """How long this thread's transaction may still take; infinite without a deadline, negative once it passed."""
        return min(getattr(self._of_thread, "at", math.inf), self._of_all) - clock.monotonic()

    def passed(self) -> bool:
        return self.seconds_left <= 0
