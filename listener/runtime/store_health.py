"""What is known about the store without asking it, so that health checks and the log never wait for it."""

from __future__ import annotations

import math
import threading
from datetime import timedelta

from listener.core import clock
from listener.core.errors import StoreFailureKind, StoreUnavailable
from listener.core.logger import get_logger
from listener.core.ports import Meter
from listener.runtime import liveness
from listener.runtime.log_throttle import ThrottledLog

log = get_logger(__name__)

#: A call that has waited for so long makes the store count as unavailable. Ordinary calls take milliseconds.
SLOW_AFTER = timedelta(seconds=5)
#: A call that fails for having waited tells nothing of the time after the outage in which it began.
WAITED_IN_VAIN = frozenset({StoreFailureKind.TIMEOUT, StoreFailureKind.LOCKED})


class StoreHealth:
    """Implements ``listener.core.ports.StoreObserver``: remembers, counts and logs what happens to the store's calls.

    A failure stays until something was written again: ``recovered``. May be used from several threads.
    """

    def __init__(self, meter: Meter, *, call_limit: timedelta) -> None:
        """``call_limit``: a loop that waits for the store for longer counts as stalled."""
        self._meter = meter
        self._call_limit = call_limit.total_seconds()
        self._lock = threading.Lock()
        self._calls: dict[int, float] = {}  #: when each thread that waits for the store began to
        self._failed_at = 0.0
        self._recovered_at = -math.inf
        self._warnings = ThrottledLog(log)
        self.fault: StoreUnavailable | None = None  #: what the last failed call failed with

    @property
    def state(self) -> str:
        """``ok``, or why the store is unavailable."""
        fault = self.fault or self._slow_call()
        return str(fault) if fault else "ok"

    def began(self) -> None:
        now = clock.monotonic()
        with self._lock:
            self._calls[threading.get_ident()] = now
        liveness.waits_until(now + self._call_limit)

    def ended(self, error: StoreUnavailable | None) -> None:
        with self._lock:
            began = self._calls.pop(threading.get_ident(), math.inf)
            belated = began < self._recovered_at
        liveness.waits_no_longer()
        if error is None:
            return
        if belated and error.kind in WAITED_IN_VAIN:
            self._meter.store_failed(error.kind)
        else:
            self._failed(error)

    def check(self) -> None:
        """To be called now and then: a store that stands still lets no call fail for a while."""
        slow = self._slow_call()
        if slow is not None and self.fault is None:
            self._failed(slow)

    def recovered(self, fault: StoreUnavailable) -> None:
        """The store was written to after this fault."""
        with self._lock:
            if self.fault is not fault:
                return  # there was another one in the meantime
            self.fault, self._recovered_at = None, clock.monotonic()
            seconds = self._recovered_at - self._failed_at
        self._warnings.reset()
        log.info("store.recovered", seconds=round(seconds, 1))

    def _failed(self, error: StoreUnavailable) -> None:
        with self._lock:
            if self.fault is None:
                self._failed_at = clock.monotonic()
            self.fault = error
        self._meter.store_failed(error.kind)
        self._warnings.warning(
            "store.unavailable", thread=threading.current_thread().name, kind=error.kind, error=str(error)
        )

    def _slow_call(self) -> StoreUnavailable | None:
        with self._lock:
            # Calls of an outage may still wait for one another when it is over.
            began = max(min(self._calls.values(), default=math.inf), self._recovered_at)
        waited = clock.monotonic() - began
        if waited < SLOW_AFTER.total_seconds():
            return None
        return StoreUnavailable(
            f"the store has not answered for {waited:.0f} s", kind=StoreFailureKind.TIMEOUT
        )
