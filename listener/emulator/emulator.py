"""The emulator: both services with shared state, without a port."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from listener.core.lazy_imports import lazy_imports
from listener.emulator.fault_injector import Exchange, FaultInjector
from listener.emulator.faults import Faults, Occasion
from listener.emulator.messages import Reply, Request
from listener.emulator.mns import service as mns_service
from listener.emulator.mns.errors import MnsError
from listener.emulator.mns.notifier import Notifier
from listener.emulator.mns.queue import Draft, draft
from listener.emulator.mns.topics import Publication, Subscription
from listener.emulator.mns_open import service as mns_open_service
from listener.emulator.mps.callback_sender import CallbackSender
from listener.emulator.mps.engine import JobEngine
from listener.emulator.mps.errors import MpsError
from listener.emulator.mps.service import Mps
from listener.emulator.options import Options
from listener.emulator.request_log import RequestLog
from listener.emulator.rpc.call import Call, read_call
from listener.emulator.virtual_clock import VirtualClock

with lazy_imports():
    from listener.emulator.mns import http_push

if TYPE_CHECKING:
    from listener.emulator.mns.http_push import HttpPusher


class Saver(Protocol):
    """Keeps the state of an emulator beyond its process."""

    def save(self, *, operation: str = "") -> None:
        """Save all changes; without an operation that has caused them, anything may have changed."""

    def clear(self) -> None:
        """Forget all that was saved."""

    def close(self) -> None: ...


class Emulator:
    """One account with its queues, pipelines and jobs. Runs on one event loop, so it needs no locks."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.url = ""  #: where the emulator is served, once it is
        self._pusher: HttpPusher | None = None
        self.starts = 1  #: of emulators with these data
        self._saver: Saver | None = None
        self._rngs: dict[str, Random] = {}
        self.requests: Counter[str] = Counter()
        self.log = RequestLog()
        self.clock = VirtualClock(self.options.time_scale)
        self.faults = Faults(seed=self.options.seed, clock=self.clock)
        self.notifier = Notifier(
            send_to_queue=self._put,
            push_over_http=self._push_over_http,
            faults=self.faults,
            rng=self._rng("pushes"),
            clock=self.clock,
        )
        self.mns = mns_service.Mns(
            self.options, self._rng("mns"), clock=self.clock, notify=self.notifier.notify
        )
        self.mns_open = mns_open_service.MnsOpen(
            self.options, rng=self._rng("mns-open"), mns=self.mns, clock=self.clock
        )
        self.sender = CallbackSender(
            self.deliver,
            self._publish,
            faults=self.faults,
            rng=self._rng("callbacks"),
            lost_rate=self.options.lost_rate,
            clock=self.clock,
        )
        self.engine = JobEngine(
            self.options, rng=self._rng("jobs"), clock=self.clock, call_back=self.sender.call_back
        )
        self.mps = Mps(self.options, rng=self._rng("mps"), engine=self.engine, clock=self.clock)
        operations = {
            "mns": frozenset((*self.mns.operations, *self.mns_open.operations)),
            "mps": frozenset(self.mps.operations),
        }
        self._operations = frozenset[str]().union(*operations.values())
        self.faults.start(self.options.faults, operations=operations)
        self._injector = FaultInjector(self.faults, pause=self.clock.sleep)

    def _rng(self, purpose: str) -> Random:
        """One generator per purpose, so that the outcome of jobs does not depend on how often a queue was polled."""
        return self._rngs.setdefault(purpose, Random(self._seed(purpose)))

    def _seed(self, purpose: str) -> str | None:
        if self.options.seed is None:
            return None
        # Another start makes other ids, since those of the first may still be there.
        return f"{self.options.seed}/{purpose}" + (f"/{self.starts}" if self.starts > 1 else "")

    def save_by(self, saver: Saver) -> None:
        """Save everything, and from now on all changes."""
        self._saver = saver
        self.clock.after_timer = saver.save
        saver.save()

    def begin_again(self, *, starts: int) -> None:
        """Go on with the data of this many earlier emulators."""
        self.starts = starts + 1
        self._seed_all()

    def save(self) -> None:
        """Save what was changed without a request."""
        if self._saver is not None:
            self._saver.save()

    def _seed_all(self) -> None:
        for purpose, rng in self._rngs.items():
            rng.seed(self._seed(purpose))

    async def answer(self, request: Request) -> Reply:
        """Answer one request: what is meant for none of the APIs of MNS is for MPS."""
        make_exchange = self._mns_exchange if mns_service.is_meant(request) else self._rpc_exchange
        exchange = make_exchange(request)
        operation = exchange.occasion.operation
        self.requests[operation if operation in self._operations else "unknown"] += 1
        logged = self.log.add(request, exchange.occasion, at_ms=self.clock.ms())
        await self._catch_up(exchange.occasion)
        reply = await self._injector.answer(exchange)
        if self._saver is not None:
            self._saver.save(operation=exchange.occasion.operation)
        logged.answered(reply)
        return reply

    async def _catch_up(self, occasion: Occasion) -> None:
        """Bring the queues up to date that a request is about, so that nothing is left which holds up others."""
        if occasion.operation == "ListQueue":
            await self.catch_up()
        elif queue := self.mns.queues.get(occasion.queue):
            await queue.catch_up()

    async def catch_up(self) -> None:
        """Bring all queues up to date, while other requests are answered."""
        for queue in list(self.mns.queues.values()):
            await queue.catch_up()

    def _mns_exchange(self, request: Request) -> Exchange:
        operation = mns_service.identify(request)
        queue = request.path.split("/")[2] if request.path.startswith("/queues/") else ""
        topic = request.path.split("/")[2] if request.path.startswith("/topics/") else ""
        return Exchange(
            occasion=Occasion(service="mns", operation=operation, queue=queue, topic=topic),
            carry_out=lambda skew: self.mns.answer(operation, request, skew=skew),
            refuse=lambda code: self.mns.error(MnsError(code), request),
            expire_handles=lambda: self.mns.queues[queue].expire_handles() if queue in self.mns.queues else 0,
        )

    def _rpc_exchange(self, request: Request) -> Exchange:
        call = read_call(request)
        if call.version == mns_open_service.VERSION:
            return self._mns_open_exchange(call, request)
        return self._mps_exchange(call, request)

    def _mns_open_exchange(self, call: Call, request: Request) -> Exchange:
        async def carry_out(skew: timedelta) -> Reply:
            return self.mns_open.answer(call, request, skew=skew)

        queue = call.parameters.get("QueueName", "")
        return Exchange(
            occasion=Occasion(service="mns", operation=call.action, queue=queue),
            carry_out=carry_out,
            refuse=lambda code: self.mns_open.refuse(code, call=call, host=request.host),
        )

    def _mps_exchange(self, call: Call, request: Request) -> Exchange:
        jobs = len(self.engine.jobs)

        async def carry_out(skew: timedelta) -> Reply:
            return self.mps.answer(call, request, skew=skew)

        def finish_jobs() -> bool:
            """Finish the jobs that this call submitted, if any."""
            submitted = list(islice(reversed(self.engine.jobs.values()), len(self.engine.jobs) - jobs))
            for job in reversed(submitted):
                self.engine.finish_now(job)
            return bool(submitted)

        return Exchange(
            occasion=Occasion(service="mps", operation=call.action, function=self.mps.function_of(call)),
            carry_out=carry_out,
            refuse=lambda code: self.mps.error(MpsError(code), call=call, host=request.host),
            finish_jobs=finish_jobs,
        )

    def deliver(self, queue: str, text: str) -> str:
        """Put a callback into a queue, and return the id of the message; "" if the queue does not exist."""
        return self._put(queue, draft(text))

    def _put(self, queue: str, draft: Draft) -> str:
        if queue not in self.mns.queues:
            return ""
        return self.mns.queues[queue].send([draft])[0].message_id

    def _publish(self, topic: str, text: str, function: str) -> str:
        """Publish a callback to a topic, and return the id of the message; "" if the topic does not accept it."""
        try:
            return self.mns.topics.publish(topic, text, function=function).message_id
        except MnsError:
            return ""

    async def pusher(self) -> HttpPusher:
        """What pushes to HTTP endpoints; made when it is needed."""
        # In a thread, since the first time it imports an HTTP client and cryptography.
        make = await asyncio.to_thread(lambda: http_push.HttpPusher)
        self._pusher = self._pusher or make(base_url=self.url, new_id=self.mns.request_id)
        return self._pusher

    async def _push_over_http(
        self, url: str, text: str, *, publication: Publication, subscription: Subscription
    ) -> bool:
        pusher = await self.pusher()
        return await pusher.push(url, text, publication=publication, subscription=subscription)

    def wake(self) -> None:
        """Re-read the clock: for tests that have changed it."""
        self.engine.advance()
        for queue in self.mns.queues.values():
            queue.wake()

    def reset(self) -> None:
        """Reset to the initial state: no queues, no jobs, the pipelines of a new account, all counts at zero."""
        self.clock.reset()
        self.mns.reset()
        self.mns_open.reset()
        self.mps.reset()
        self.sender.deliveries.reset()
        self.notifier.reset()
        self.faults.reset()
        self.requests.clear()
        self.log.clear()
        self._seed_all()
        if self._saver is not None:
            self._saver.clear()
            self._saver.save()

    def close(self) -> None:
        """End all waiting calls, so that no task outlives the server."""
        self.clock.close()
        for queue in self.mns.queues.values():
            queue.release()
        if self._saver is not None:
            self._saver.close()
            self._saver = None
            self.clock.after_timer = lambda: None

    def state(self) -> dict[str, Any]:
        """The state of queues, jobs and counters as plain JSON values."""
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
                job.id: {
                    "kind": job.kind.api.name,
                    "function": job.function,
                    "state": job.state,
                    "pipeline": job.pipeline.id,
                    "history": job.history,
                }
                for job in self.engine.jobs.values()
            },
            "requests": dict(self.requests),
            "callbacks": self.sender.deliveries.report(),
            "topics": {
                name: {"published": topic.published, "subscriptions": sorted(topic.subscriptions)}
                for name, topic in self.mns.topics.by_name.items()
            },
            "pushes": self.notifier.report(),
        }
