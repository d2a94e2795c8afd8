"""Which loops of this process still make progress. The limits themselves: ``listener.daemon.health``."""

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

    def beat(self) -> None:
        self._last = clock.monotonic()

    def pause(self) -> None:
        """Not stalled, however long the next beat takes."""
        self._last = math.inf

    @property
    def started(self) -> bool:
        return self._last is not None

    @property
    def stalled(self) -> bool:
        return self._last is not None and clock.monotonic() - self._last > self._limit.total_seconds()


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
