"""The deliveries that wait for a worker, taken in turn from the queues that brought them."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence

from listener.core.model import Delivery
from listener.runtime.liveness import IDLE_BEAT


def fair_share(size: int, queues: int) -> int:
    """How much of ``size`` one of several queues may use: most of it, but some is always left for the others."""
    return max(1, size - (queues - 1) * max(1, size // (2 * queues)))


class FairQueue:
    """One FIFO for each MNS queue, served in turn. Safe to use from several threads.

    A queue whose deliveries occupy ``fair_share`` workers waits until one of these workers is done.
    """

    def __init__(self, fair_share: int) -> None:
        self._lock = threading.Lock()  # entered as such, since a condition does that in Python, more slowly
        self._changed = threading.Condition(self._lock)
        self._fair_share = fair_share
        self._by_queue: dict[str, deque[Delivery]] = {}  #: in the order of their turns
        self._busy: Counter[str] = Counter()
        self._idle = 0  #: workers that wait
        self._waking = False  #: one of them was notified and has not resumed yet
        self._closed = False

    def put(self, deliveries: Sequence[Delivery]) -> None:
        with self._lock:
            for delivery in deliveries:
                waiting = self._by_queue.get(delivery.queue)
                if waiting is None:
                    waiting = self._by_queue[delivery.queue] = deque()
                waiting.append(delivery)
            self._wake_one()

    def get(self, *, done: Delivery | None = None, beat: Callable[[], None]) -> Delivery | None:
        """The next delivery, once there is one; the worker must call ``done``, or this with it, after it. None after
        ``close``.

        Until then, ``beat`` is called at least every ``IDLE_BEAT``.
        """
        with self._lock:
            if done is not None:
                self._busy[done.queue] -= 1
            while (found := self._next()) is None and not self._closed:
                beat()
                self._idle += 1
                self._changed.wait(IDLE_BEAT.total_seconds())
                self._idle -= 1
                self._waking = False
            self._wake_one()
            return found

    def done(self, delivery: Delivery) -> None:
        """Its worker takes no other one."""
        with self._lock:
            self._busy[delivery.queue] -= 1
            self._wake_one()

    def close(self) -> None:
        """Let ``get`` return None once nothing can be taken."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()

    def _wake_one(self) -> None:
        """Each worker wakes the next one while there is work: fast handlers then need few workers, and slow ones
        get all. If all were woken at once, they would compete for the interpreter lock."""
        if self._by_queue and self._idle and not self._waking:
            self._waking = True
            self._changed.notify()

    def _next(self) -> Delivery | None:
        name = next((name for name in self._by_queue if self._busy[name] < self._fair_share), None)
        if name is None:
            return None
        waiting = self._by_queue[name]
        found = waiting.popleft()
        if not waiting:
            del self._by_queue[name]
        elif len(self._by_queue) > 1:  # behind the others
            self._by_queue[name] = self._by_queue.pop(name)
        self._busy[name] += 1
        return found
