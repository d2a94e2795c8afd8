"""Loops that call MPS: turn after turn, without a pause while there is work, with growing pauses after failures."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

from listener.core.ports import HeartbeatSink
from listener.rules.backoff import MPS_BACKOFF

#: After this many consecutive failed calls about jobs of one kind, which may be all that a key has no permission for,
#: MPS counts as unavailable for them, and the others of this kind are postponed.
MAX_FAILURES = 4


def repeat_turns(
    turn: Callable[[], bool],
    *,
    failed_turns: Callable[[], int],
    idle_interval: timedelta,
    woken: threading.Event,
    stop: threading.Event,
    heartbeat: HeartbeatSink,
) -> None:
    """Repeat a turn, which returns whether there may be more to do, until the stop event is set.

    ``failed_turns``: how many of the last ones failed in a row. ``woken`` is set when there is work, and at a stop.
    """
    while not stop.is_set():
        heartbeat.beat()
        woken.clear()
        more = turn()
        if failures := failed_turns():
            stop.wait(MPS_BACKOFF.delay(failures - 1).total_seconds())
        elif not more and not stop.is_set():
            woken.wait(idle_interval.total_seconds())
