"""The deliveries that wait for a worker, taken in turn from the queues that brought them."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from listener.core import clock
from listener.core.model import Delivery
from listener.runtime.liveness import IDLE_BEAT

#: Workers that take so many deliveries within so many seconds keep up: no other one is needed.
MANY, STANDBY = 5, 0.001
#: A worker that had its last delivery for fewer seconds leaves the next one to another active worker.
QUICK = STANDBY / MANY


def fair_share(size: int, queues: int) -> int:
    """How much of ``size`` one of several queues may use: most of it, but some is always left for the others."""
    return max(1, size - (queues - 1) * max(1, size // (2 * queues)))


@dataclass(slots=True, eq=False)
class Turn:
    """A delivery that a worker has taken; not frozen, which would take thrice as long to make."""

    delivery: Delivery
    number: int  #: of all that were taken
    since: float  #: monotonic seconds


class FairQueue:
    """One FIFO for each MNS queue, served in turn. Safe to use from several threads.

    A queue whose deliveries occupy ``fair_share`` workers waits until one of these workers is done. As few workers as
    keep up are given work, since more of them would compete for the interpreter lock: a drain with handlers that return
    at once costs a quarter more CPU time if all take part.
    """

    def __init__(self, fair_share: int) -> None:
        self._lock = threading.Lock()  # entered as such, since a condition does that in Python, more slowly
        self._changed = threading.Condition(self._lock)
        self._fair_share = fair_share
        self._by_queue: dict[str, deque[Delivery]] = {}  #: in the order of their turns
        self._busy: defaultdict[str, int] = defaultdict(int)  #: workers, by queue
        self._active = 0  #: workers that have taken one
        self._taken = 0  #: how many were
        self._idle = 0  #: workers that wait
        self._waking = False  #: one of them was notified and has not resumed yet
        self._standing_by = False  #: one of them looks after a moment whether the active ones keep up
        self._closed = False

    def put(self, deliveries: Sequence[Delivery]) -> None:
        with self._lock:
            for delivery in deliveries:
                waiting = self._by_queue.get(delivery.queue)
                if waiting is None:
                    waiting = self._by_queue[delivery.queue] = deque()
                waiting.append(delivery)
            self._wake_one()

    def get(self, *, after: Turn | None = None, beat: Callable[[], None]) -> Turn | None:
        """The next delivery, once there is one; the worker must call ``done``, or this with it, after it. None after
        ``close``.

        Until then, ``beat`` is called at least every ``IDLE_BEAT``.
        """
        with self._lock:
            keeps_up = after is not None and self._others_keep_up(after)
            if after is not None:
                self._return(after)
            while (found := self._next(unless=keeps_up and self._active > 0)) is None and not self._closed:
                beat()
                keeps_up = self._wait()
            self._wake_one()
            return found

    def done(self, turn: Turn) -> None:
        """Its worker takes no other one."""
        with self._lock:
            self._return(turn)
            self._wake_one()

    def close(self) -> None:
        """Let ``get`` return None once nothing can be taken."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()

    def _return(self, turn: Turn) -> None:
        self._busy[turn.delivery.queue] -= 1
        self._active -= 1

    def _others_keep_up(self, turn: Turn) -> bool:
        """Whether a worker that had this turn is not needed for the moment."""
        return self._taken > turn.number and clock.monotonic() - turn.since < QUICK

    def _wait(self) -> bool:
        """Wait until there may be something to take; returns whether the active workers keep up with it."""
        stands_by = not self._standing_by and self._next_queue() is not None
        if stands_by:
            self._standing_by = True
        taken = self._taken
        self._idle += 1
        self._changed.wait(STANDBY if stands_by else IDLE_BEAT.total_seconds())
        self._idle -= 1
        self._waking = False
        if stands_by:
            self._standing_by = False
        return self._taken - taken >= MANY

    def _wake_one(self) -> None:
        """Each worker wakes the next one while there is work, to stand by: slow handlers soon get all workers."""
        needed = not self._standing_by or not self._active
        if self._by_queue and self._idle and not self._waking and needed and self._next_queue() is not None:
            self._waking = True
            self._changed.notify()

    def _next(self, *, unless: bool) -> Turn | None:
        name = self._next_queue()
        if name is None or (unless and not self._closed):
            return None
        waiting = self._by_queue[name]
        found = waiting.popleft()
        if not waiting:
            del self._by_queue[name]
        elif len(self._by_queue) > 1:  # behind the others
            self._by_queue[name] = self._by_queue.pop(name)
        self._busy[name] += 1
        self._active += 1
        self._taken += 1
        return Turn(found, self._taken, clock.monotonic())

    def _next_queue(self) -> str | None:
        for name in self._by_queue:
            if self._busy[name] < self._fair_share:
                return name
        return None
