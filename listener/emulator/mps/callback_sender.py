"""Sends the callbacks of jobs to queues and topics, subject to faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from listener.emulator.faults import Faults, Occasion
from listener.emulator.faulty_delivery import FaultyDelivery
from listener.emulator.mps.jobs import EmulatedJob
from listener.emulator.rpc.call import Document
from listener.emulator.virtual_clock import VirtualClock
from listener.formats.wrapping import as_base64

Deliver = Callable[[str, str], str]
"""Put a text into a queue by name, and return the id of the message; "" if the queue does not exist."""

Publish = Callable[[str, str, str], str]
"""Publish a text to a topic by name, for a function; returns the id of the message, "" if the topic refuses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a callback of a job goes: to a queue or to a topic, the other is empty."""

    job: EmulatedJob
    queue: str = ""
    topic: str = ""


class CallbackSender:
    """Sends the callback of each job once to each of its queues, in base64, and to its topic as it is.

    Faults apply to callbacks to queues; those to topics meet them where the topic pushes them to.
    """

    def __init__(
        self,
        deliver: Deliver,
        publish: Publish,
        *,
        faults: Faults,
        rng: Random,
        lost_rate: float,
        clock: VirtualClock,
    ) -> None:
        self.deliveries: FaultyDelivery[Destination] = FaultyDelivery(
            self._hand_over, faults=faults, clock=clock
        )
        self._deliver = deliver
        self._publish = publish
        self._rng = rng
        self._lost_rate = lost_rate

    def call_back(self, job: EmulatedJob, document: Document) -> None:
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        for queue in job.destinations:
            occasion = Occasion(service="callback", queue=queue, function=job.function)
            self._send(Destination(job=job, queue=queue), as_base64(text), occasion)
        if job.topic:
            self._send(Destination(job=job, topic=job.topic), text, None)

    def _send(self, to: Destination, text: str, occasion: Occasion | None) -> None:
        unlucky = self._rng.random() < self._lost_rate
        self.deliveries.deliver(to, text, destination=to.queue, occasion=occasion, unlucky=unlucky)

    def _hand_over(self, to: Destination, text: str, copies: int) -> bool:
        if to.topic:
            ids = [self._publish(to.topic, text, to.job.function)]
        else:
            ids = [self._deliver(to.queue, text) for _ in range(copies)]
        to.job.message_id = ids[0]
        return bool(ids[0])
