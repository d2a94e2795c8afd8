"""The threads that run handlers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from listener.core.logger import get_logger
from listener.core.model import Delivery
from listener.core.ports import HeartbeatSink
from listener.dispatch.delivery_log import log_fields
from listener.dispatch.fair_queue import FairQueue, fair_share

log = get_logger(__name__)


class WorkerPool:
    """A fixed number of threads that work, plus any number whose handlers hang.

    Not a ThreadPoolExecutor: that cannot replace a thread, and joins all of them at interpreter exit.
    """

    def __init__(
        self,
        size: int,
        work: Callable[[Delivery], None],
        *,
        queues: int = 1,
        make_heartbeat: Callable[[str], HeartbeatSink],
    ) -> None:
        self._size = size
        self._work = work
        self._make_heartbeat = make_heartbeat
        self._waiting = FairQueue(fair_share(size, queues))
        self._lock = threading.Lock()
        self._busy_with: dict[threading.Thread, Delivery] = {}
        self._abandoned: set[threading.Thread] = set()

    def start(self) -> None:
        for number in range(self._size):
            self._start_one(f"worker-{number}")

    def put(self, deliveries: Sequence[Delivery]) -> None:
        self._waiting.put(deliveries)

    def replace(self, delivery: Delivery) -> None:
        """Its handler hangs: abandon that thread, which cannot be interrupted, and start another in its place."""
        with self._lock:
            hanging = next((one for one, busy in self._busy_with.items() if busy is delivery), None)
            if hanging is None or hanging in self._abandoned:
                return
            self._abandoned.add(hanging)
            self._waiting.done(delivery)  # its place belongs to the new thread
        self._start_one(hanging.name)

    def stop(self) -> None:
        """Let every thread end once it is idle; does not wait for any."""
        self._waiting.close()

    def _start_one(self, name: str) -> None:
        heartbeat = self._make_heartbeat(name)  # takes the place of that of an abandoned thread
        heartbeat.expect()  # so that a thread that cannot be started counts as stalled
        threading.Thread(target=self._run, args=(heartbeat,), name=name, daemon=True).start()

    def _run(self, heartbeat: HeartbeatSink) -> None:
        thread = threading.current_thread()
        while (
            thread not in self._abandoned and (delivery := self._waiting.get(beat=heartbeat.beat)) is not None
        ):
            with self._lock:
                self._busy_with[thread] = delivery
            self._work_on(delivery, heartbeat)
            with self._lock:
                del self._busy_with[thread]
                if thread not in self._abandoned:
                    self._waiting.done(delivery)
        self._abandoned.discard(thread)
        heartbeat.pause()

    def _work_on(self, delivery: Delivery, heartbeat: HeartbeatSink) -> None:
        heartbeat.pause()  # a handler is limited by dispatch.handler_timeout
        try:
            self._work(delivery)
        except Exception:  # a bug in mns-listener must not end the thread
            log.exception("worker.crashed", **log_fields(delivery))
        finally:
            heartbeat.beat()
