"""Which loops of this process still make progress. The limits themselves: ``listener.daemon.health``.

Waiting for the store is progress, as long as the call has time left: a restart would not make the store answer.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from listener.core import clock

#: How often a loop beats while it has nothing to do; far below every limit.
IDLE_BEAT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Health:
    """The answer to a health check. ``ok`` decides on the status code, ``details`` are shown."""

    ok: bool
    details: Mapping[str, Any]


class Heartbeat:
    """When one loop last made progress. It beats in its own thread; any thread may ask."""

    def __init__(self, limit: timedelta) -> None:
        self._limit = limit
        self._last: float | None = None
        self._waits_until = -math.inf

    def beat(self) -> None:
        self.expect()
        _of_thread.heartbeat = self

    def expect(self) -> None:
        """Stalled unless it beats within the limit from now on; for the thread that starts the loop's own."""
        self._last = clock.monotonic()

    def wait_until(self, limit: float) -> None:
        """The loop waits for something that ends by itself before this time (monotonic)."""
        self._waits_until = limit

    def wait_no_longer(self) -> None:
        """The loop continues, and has made progress; if it has paused, it stays so."""
        if self._last != math.inf:
            self.beat()
        self._waits_until = -math.inf

    def pause(self) -> None:
        """Not stalled, however long the next beat takes."""
        self._last = math.inf

    @property
    def started(self) -> bool:
        return self._last is not None

    @property
    def stalled(self) -> bool:
        now = clock.monotonic()
        if self._last is None or now < self._waits_until:
            return False
        return now - self._last > self._limit.total_seconds()


class LivenessMonitor:
    """The heartbeats of all loops of this process. Safe to use from several threads."""

    def __init__(self) -> None:
        self._heartbeats: dict[str, Heartbeat] = {}
        self._lock = threading.Lock()

    def heartbeat(self, name: str, *, limit: timedelta) -> Heartbeat:
        """A heartbeat that counts as stalled after ``limit`` without a beat."""
        with self._lock:
            self._heartbeats[name] = Heartbeat(limit)
            return self._heartbeats[name]

    @property
    def started(self) -> bool:
        """Whether every loop has beaten at least once."""
        with self._lock:
            return all(heartbeat.started for heartbeat in self._heartbeats.values())

    def stalled(self) -> Sequence[str]:
        """The names of the loops that have stopped making progress."""
        with self._lock:
            return [name for name, heartbeat in self._heartbeats.items() if heartbeat.stalled]


_of_thread = threading.local()  #: the heartbeat of the loop that runs in this thread


def waits_until(limit: float) -> None:
    """The loop of this thread, if it is one of a loop, begins to wait; see ``Heartbeat.wait_until``."""
    if (heartbeat := getattr(_of_thread, "heartbeat", None)) is not None:
        heartbeat.wait_until(limit)


def waits_no_longer() -> None:
    """The loop of this thread, if it is one of a loop, has stopped waiting."""
    if (heartbeat := getattr(_of_thread, "heartbeat", None)) is not None:
        heartbeat.wait_no_longer()
