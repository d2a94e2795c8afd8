"""Sends the callbacks of jobs to queues, subject to faults."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from listener.emulator.faults import FaultKind, Faults, Occasion, Strike
from listener.emulator.mps.jobs import EmulatedJob
from listener.emulator.rpc.call import Document
from listener.emulator.virtual_clock import Timer, VirtualClock
from listener.formats.wrapping import as_base64

Deliver = Callable[[str, str], str]
"""Put a text into a queue by name, and return the id of the message; "" if the queue does not exist."""


@dataclass(frozen=True, slots=True, eq=False)
class PendingCallback:
    """A callback on its way to one queue."""

    job: EmulatedJob
    queue: str
    text: str
    strikes: dict[FaultKind, Strike]


class CallbackSender:
    """Sends the callback of each job to its queues: base64, once, immediately, unless a fault applies."""

    def __init__(
        self, deliver: Deliver, *, faults: Faults, rng: Random, lost_rate: float, clock: VirtualClock
    ) -> None:
        self.sent = self.lost = self.dropped = 0
        self._deliver = deliver
        self._faults = faults
        self._rng = rng
        self._clock = clock
        self._lost_rate = lost_rate
        self._held: dict[str, list[PendingCallback]] = defaultdict(list)
        self._timers: dict[Timer, None] = {}

    def call_back(self, job: EmulatedJob, document: Document) -> None:
        text = as_base64(json.dumps(document, ensure_ascii=False, separators=(",", ":")))
        for queue in job.destinations:
            strikes = self._faults.strikes(Occasion(service="callback", queue=queue, function=job.function))
            self._bring(PendingCallback(job, queue, text, strikes))

    def stop(self) -> None:
        """Discard all scheduled callbacks."""
        for timer in list(self._timers):
            timer.cancel()
        self._timers.clear()
        self._held.clear()

    def reset(self) -> None:
        self.stop()
        self.sent = self.lost = self.dropped = 0

    def _bring(self, pending: PendingCallback) -> None:
        strikes = pending.strikes
        if FaultKind.DROP in strikes or self._rng.random() < self._lost_rate:
            self.dropped += 1
            _happened(strikes.get(FaultKind.DROP))
        elif FaultKind.LATE in strikes:
            self._later(strikes[FaultKind.LATE], lambda: self._put(pending, late=True))
        elif FaultKind.REORDER in strikes:
            self._hold(pending)
        else:
            self._put(pending)

    def _put(self, pending: PendingCallback, *, late: bool = False) -> None:
        """Put a callback into its queue, followed by those that it has overtaken."""
        strikes, text = pending.strikes, pending.text
        if FaultKind.GARBLE in strikes:
            text = text[: int(len(text) * strikes[FaultKind.GARBLE].fault.keep)]
        copies = strikes[FaultKind.DUPLICATE].fault.copies if FaultKind.DUPLICATE in strikes else 0
        ids = [self._deliver(pending.queue, text) for _ in range(1 + copies)]
        pending.job.message_id = ids[0]
        if not ids[0]:
            self.lost += 1
            return
        self.sent += 1 + copies
        for kind in (FaultKind.GARBLE, FaultKind.DUPLICATE, *([FaultKind.LATE] if late else [])):
            _happened(strikes.get(kind))
        for held in self._held.pop(pending.queue, []):
            _happened(held.strikes[FaultKind.REORDER])
            self._put(held)

    def _hold(self, held: PendingCallback) -> None:
        self._held[held.queue].append(held)

        def release() -> None:
            if held in self._held[held.queue]:
                self._held[held.queue].remove(held)
                self._put(held)

        self._later(held.strikes[FaultKind.REORDER], release)

    def _later(self, strike: Strike, action: Callable[[], None]) -> None:
        def act() -> None:
            self._timers.pop(timer, None)
            action()

        timer = self._clock.call_later(strike.fault.seconds, act)
        self._timers[timer] = None


def _happened(strike: Strike | None) -> None:
    if strike is not None:
        strike.happened += 1
