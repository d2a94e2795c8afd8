"""The threads that run handlers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from listener.core.logger import get_logger
from listener.core.model import Delivery
from listener.core.ports import HeartbeatSink
from listener.dispatch.delivery_log import log_fields
from listener.dispatch.fair_queue import FairQueue, Turn, fair_share

log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class Worker:
    """What one thread does. Changed under the lock of the pool, except that it takes up a delivery."""

    name: str
    heartbeat: HeartbeatSink
    turn: Turn | None = None
    abandoned: bool = False


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
        self._workers: set[Worker] = set()

    def start(self) -> None:
        for number in range(self._size):
            self._start_one(f"worker-{number}")

    def put(self, deliveries: Sequence[Delivery]) -> None:
        self._waiting.put(deliveries)

    def replace(self, delivery: Delivery) -> None:
        """Its handler hangs: abandon that thread, which cannot be interrupted, and start another in its place."""
        with self._lock:
            hanging = next(
                (each for each in self._workers if each.turn and each.turn.delivery is delivery), None
            )
            if hanging is None or hanging.turn is None:
                return
            hanging.abandoned = True
            self._workers.remove(hanging)
            self._waiting.done(hanging.turn)  # its place belongs to the new thread
        self._start_one(hanging.name)

    def stop(self) -> None:
        """Let every thread end once it is idle; does not wait for any."""
        self._waiting.close()

    def _start_one(self, name: str) -> None:
        heartbeat = self._make_heartbeat(name)  # takes the place of that of an abandoned thread
        heartbeat.expect()  # so that a thread that cannot be started counts as stalled
        worker = Worker(name, heartbeat)
        with self._lock:
            self._workers.add(worker)
        threading.Thread(target=self._run, args=(worker,), name=name, daemon=True).start()

    def _run(self, worker: Worker) -> None:
        turn = self._waiting.get(beat=worker.heartbeat.beat)
        while turn is not None:
            worker.turn = turn
            self._work_on(turn.delivery, worker.heartbeat)
            with self._lock:
                worker.turn = None
                if worker.abandoned:
                    break
            turn = self._waiting.get(after=turn, beat=worker.heartbeat.beat)
        worker.heartbeat.pause()

    def _work_on(self, delivery: Delivery, heartbeat: HeartbeatSink) -> None:
        heartbeat.pause()  # a handler is limited by dispatch.handler_timeout
        try:
            self._work(delivery)
        except Exception:  # a bug in mns-listener must not end the thread
            log.exception("worker.crashed", **log_fields(delivery))
        except BaseException:  # raised again; that the thread ended shows as a stall
            heartbeat.beat()
            raise
