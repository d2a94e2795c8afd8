"""The deliveries that this process owns, from claim to settlement, and the threads that run them."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from listener.core import clock
from listener.core.model import Delivery


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many deliveries may be taken: in all, of queues that have some already, and of each other queue."""

    total: int
    by_queue: Mapping[str, int]
    each: int


@dataclass(slots=True)
class InFlightDelivery:
    delivery: Delivery
    since: float | None = None  #: monotonic seconds at which its handler was called; None before that


def fair_share(size: int, queues: int) -> int:
    """How much of ``size`` one of several queues may take: most of it, but some is always left for the others."""
    return max(1, size - (queues - 1) * max(1, size // (2 * queues)))


class InFlight:
    """Counts what this process owns against what it may own. Safe to use from several threads.

    No queue can take all the room: however deep its backlog, the others' deliveries find a place.
    """

    def __init__(self, capacity: int, *, queues: int = 1) -> None:
        self._changed = threading.Condition()
        self._held: dict[int, InFlightDelivery] = {}
        self._by_queue: Counter[str] = Counter()
        self._queues = queues
        self._capacity = capacity
        self._capacity_each = fair_share(capacity, queues)
        self._reserved = 0
        self._closed = False

    def resize(self, capacity: int) -> None:
        """Own so many at most from now on."""
        with self._changed:
            self._capacity, self._capacity_each = capacity, fair_share(capacity, self._queues)

    def reserve(self, wanted: int) -> Capacity:
        """Set aside as much of this as there is room for; give it back through ``take``."""
        with self._changed:
            free = 0 if self._closed else self._capacity - len(self._held) - self._reserved
            total = max(0, min(free, wanted))
            self._reserved += total
            capacities = {queue: max(0, self._capacity_each - held) for queue, held in self._by_queue.items()}
            return Capacity(total, capacities, self._capacity_each)

    def take(self, claimed: Sequence[Delivery], *, reserved: int) -> None:
        with self._changed:
            self._reserved -= reserved
            self._held.update((delivery.id, InFlightDelivery(delivery)) for delivery in claimed)
            self._by_queue.update(delivery.queue for delivery in claimed)

    def begin(self, delivery: Delivery) -> bool:
        """Note that its handler is called now; False when it is not to be called any more."""
        with self._changed:
            held = self._current(delivery)
            if self._closed or held is None:
                return False
            held.since = clock.monotonic()
            return True

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """These are settled, or not ours any more."""
        with self._changed:
            for delivery in deliveries:
                if self._current(delivery):
                    del self._held[delivery.id]
                    self._by_queue[delivery.queue] -= 1
            self._changed.notify_all()

    def all(self) -> Sequence[Delivery]:
        with self._changed:
            return [held.delivery for held in self._held.values()]

    def overdue(self, limit: timedelta) -> Sequence[Delivery]:
        """Those whose handler has been running for longer than this."""
        with self._changed:
            before = clock.monotonic() - limit.total_seconds()
            return [
                held.delivery
                for held in self._held.values()
                if held.since is not None and held.since < before
            ]

    def close(self) -> Sequence[Delivery]:
        """Nothing begins from now on; returns what had not begun."""
        with self._changed:
            self._closed = True
            return [held.delivery for held in self._held.values() if held.since is None]

    def wait_until_empty(self, limit: timedelta) -> bool:
        """Whether everything was settled within the limit."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._held, limit.total_seconds())

    def _current(self, delivery: Delivery) -> InFlightDelivery | None:
        """A later attempt at the same delivery may be here by now; that one is not meant."""
        held = self._held.get(delivery.id)
        return held if held and held.delivery.attempt == delivery.attempt else None


class FairQueue:
    """Deliveries that wait for a worker, a lane for each queue, served in turn. Safe to use from several threads.

    A lane that has its share of workers busy waits until one of them is done.
    """

    def __init__(self, fair_share: int) -> None:
        self._changed = threading.Condition()
        self._fair_share = fair_share
        self._by_queue: dict[str, deque[Delivery]] = {}  #: in the order of their turns
        self._busy: Counter[str] = Counter()
        self._idle = 0  #: workers that wait
        self._waking = False  #: one of them has been woken and is not here yet
        self._closed = False

    def put(self, deliveries: Sequence[Delivery]) -> None:
        with self._changed:
            for delivery in deliveries:
                self._by_queue.setdefault(delivery.queue, deque()).append(delivery)
            self._wake_one()

    def get(self) -> Delivery | None:
        """The next one, for a worker that says ``done`` when it is; None when there will be no more."""
        with self._changed:
            while (found := self._next()) is None and not self._closed:
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
                self._waking = False
            self._wake_one()
            return found

    def done(self, delivery: Delivery) -> None:
        with self._changed:
            self._busy[delivery.queue] -= 1
            self._wake_one()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wake_one(self) -> None:
        """Each worker wakes the next one while there is work: quick handlers then need few of them, and slow ones
        get all. To wake all at once would have them fight for the interpreter."""
        if self._by_queue and self._idle and not self._waking:
            self._waking = True
            self._changed.notify()

    def _next(self) -> Delivery | None:
        for name in list(self._by_queue):
            if self._busy[name] < self._fair_share:
                waiting = self._by_queue.pop(name)
                found = waiting.popleft()
                if waiting:
                    self._by_queue[name] = waiting  # behind the others
                self._busy[name] += 1
                return found
        return None


class WorkerPool:
    """A fixed number of threads that work, plus any number that hang.

    Not a ThreadPoolExecutor: that can't replace a thread, and joins all of them at interpreter exit.
    """

    def __init__(self, size: int, work: Callable[[Delivery], None], *, queues: int = 1) -> None:
        self._size = size
        self._work = work
        self._waiting = FairQueue(fair_share(size, queues))
        self._lock = threading.Lock()
        self._busy_with: dict[threading.Thread, Delivery] = {}
        self._given_up: set[threading.Thread] = set()

    def start(self) -> None:
        for number in range(self._size):
            self._start_one(f"worker-{number}")

    def put(self, deliveries: Sequence[Delivery]) -> None:
        self._waiting.put(deliveries)

    def replace(self, delivery: Delivery) -> None:
        """Its handler hangs: leave that thread to itself and start another in its place."""
        with self._lock:
            hanging = next((one for one, busy in self._busy_with.items() if busy is delivery), None)
            if hanging is None or hanging in self._given_up:
                return
            self._given_up.add(hanging)
            self._waiting.done(delivery)  # its place belongs to the thread that takes over
        self._start_one(hanging.name)

    def stop(self) -> None:
        """Let every thread end once it is idle; none is waited for."""
        self._waiting.close()

    def _start_one(self, name: str) -> None:
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        thread = threading.current_thread()
        while thread not in self._given_up and (delivery := self._waiting.get()) is not None:
            with self._lock:
                self._busy_with[thread] = delivery
            self._work(delivery)
            with self._lock:
                del self._busy_with[thread]
                if thread not in self._given_up:
                    self._waiting.done(delivery)
        self._given_up.discard(thread)
