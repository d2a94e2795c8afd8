"""The emulator as a whole: both services over one state, without a port."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from listener.emulator import mns, mps
from listener.emulator.http import Reply, Request
from listener.emulator.jobs import Engine
from listener.emulator.options import Options
from listener.emulator.queues import draft


class Emulator:
    """One account with its queues, pipelines and jobs. Lives on one event loop; nothing here locks."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.rng = Random(self.options.seed)
        self.requests: Counter[str] = Counter()
        self.mns = mns.Mns(self.options, self.rng)
        self.engine = Engine(self.options, rng=self.rng, deliver=self.deliver)
        self.mps = mps.Mps(self.options, rng=self.rng, engine=self.engine)

    async def answer(self, request: Request) -> Reply:
        """Answer one request: an address below ``/queues`` or about the account is MNS, all else is MPS."""
        if request.path.startswith("/queues") or "accountmeta" in request.query:
            operation = mns.identify(request)
            self.requests[operation or "unknown"] += 1
            return await self.mns.answer(operation, request)
        call = mps.read_call(request)
        self.requests[call.action or "unknown"] += 1
        return self.mps.answer(call, request)

    def deliver(self, queue: str, text: str) -> bool:
        """Put a callback into a queue; False when the queue is not there."""
        if queue not in self.mns.queues:
            return False
        self.mns.queues[queue].send([draft(text)])
        return True

    def wake(self) -> None:
        """Look at the clock again: for a test that has moved it."""
        self.engine.advance()
        for queue in self.mns.queues.values():
            queue.wake()

    def reset(self) -> None:
        """Back to the start: no queues, no jobs, the pipelines of a new account, all counts at zero."""
        self.mns.reset()
        self.mps.reset()
        self.requests.clear()

    def close(self) -> None:
        """End what waits, so that no task outlives the server."""
        self.engine.stop()
        for queue in self.mns.queues.values():
            queue.release()

    def state(self) -> dict[str, Any]:
        """Everything a test or a curious person wants to see, as plain JSON values."""
        return {
            "queues": {
                name: {
                    **queue.counts(),
                    "sent": queue.sent,
                    "received": queue.received,
                    "deleted": queue.deleted,
                }
                for name, queue in self.mns.queues.items()
            },
            "jobs": {
                job.id: {"function": job.function, "state": job.state, "pipeline": job.pipeline.id}
                for job in self.engine.jobs.values()
            },
            "requests": dict(self.requests),
            "callbacks": {"sent": self.engine.callbacks_sent, "lost": self.engine.callbacks_lost},
        }
