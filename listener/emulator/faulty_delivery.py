"""Delivers texts subject to faults: callbacks to queues, and what topics push to endpoints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from listener.emulator.faults import Fault, FaultKind, Faults, Occasion, Strike
from listener.emulator.virtual_clock import Timer, VirtualClock

Addressee = TypeVar("Addressee")


@dataclass(frozen=True, slots=True, eq=False)
class Delivery(Generic[Addressee]):
    """A text on its way."""

    addressee: Addressee
    destination: str  #: within which deliveries can be reordered
    text: str
    strikes: dict[FaultKind, Strike]


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDelivery:
    """A delivery that is late or held, as it is saved."""

    addressee: Any
    destination: str
    text: str
    faults: tuple[Fault, ...]
    due: float  #: seconds since 1970


class FaultyDelivery(Generic[Addressee]):
    """Hands each text over once and immediately, unless a fault applies."""

    def __init__(
        self, hand_over: Callable[[Addressee, str, int], bool], *, faults: Faults, clock: VirtualClock
    ) -> None:
        """``hand_over`` gets the number of copies too; it returns False if the destination does not exist."""
        self.sent = self.lost = self.dropped = 0
        self._hand_over = hand_over
        self._faults = faults
        self._clock = clock
        self.waiting: dict[Delivery[Addressee], Timer] = {}  #: those that are late or held
        self._held: dict[str, list[Delivery[Addressee]]] = defaultdict(list)

    def deliver(
        self,
        addressee: Addressee,
        text: str,
        *,
        destination: str,
        occasion: Occasion | None,
        unlucky: bool = False,
    ) -> None:
        """Deliver a text; an unlucky one is dropped even if no fault says so. Without an occasion there is none."""
        strikes = self._faults.strikes(occasion) if occasion else {}
        delivery = Delivery(addressee, destination, text, strikes)
        if FaultKind.DROP in strikes or unlucky:
            self.dropped += 1
            _happened(strikes.get(FaultKind.DROP))
        elif FaultKind.LATE in strikes:
            self._wait(delivery, strikes[FaultKind.LATE].fault.seconds)
        elif FaultKind.REORDER in strikes:
            self._wait(delivery, strikes[FaultKind.REORDER].fault.seconds)
        else:
            self._hand(delivery)

    def pending(self) -> list[PendingDelivery]:
        """Those that are late or held, to be resumed by another process."""
        return [
            PendingDelivery(
                addressee=delivery.addressee,
                destination=delivery.destination,
                text=delivery.text,
                faults=tuple(strike.fault for strike in delivery.strikes.values()),
                due=timer.due,
            )
            for delivery, timer in self.waiting.items()
        ]

    def resume(self, pending: PendingDelivery) -> None:
        strikes = {fault.kind: self._faults.revived(fault) for fault in pending.faults}
        delivery = Delivery(pending.addressee, pending.destination, pending.text, strikes)
        self._wait(delivery, max(pending.due - self._clock.seconds(), 0))

    def reset(self) -> None:
        """Discard all that are late or held, and count from zero."""
        for timer in self.waiting.values():
            timer.cancel()
        self.waiting.clear()
        self._held.clear()
        self.sent = self.lost = self.dropped = 0

    def report(self) -> dict[str, int]:
        return {"sent": self.sent, "lost": self.lost, "dropped": self.dropped}

    def _wait(self, delivery: Delivery[Addressee], seconds: float) -> None:
        """Keep a delivery that is late, or else held until it is overtaken."""
        if FaultKind.LATE not in delivery.strikes:
            self._held[delivery.destination].append(delivery)
        self.waiting[delivery] = self._clock.call_later(seconds, partial(self._end_wait, delivery))

    def _end_wait(self, delivery: Delivery[Addressee]) -> None:
        del self.waiting[delivery]
        late = FaultKind.LATE in delivery.strikes
        if not late:
            self._held[delivery.destination].remove(delivery)
        self._hand(delivery, late=late)

    def _hand(self, delivery: Delivery[Addressee], *, late: bool = False) -> None:
        """Hand a text over, followed by those that it has overtaken."""
        strikes, text = delivery.strikes, delivery.text
        if FaultKind.GARBLE in strikes:
            text = text[: int(len(text) * strikes[FaultKind.GARBLE].fault.keep)]
        copies = 1 + (strikes[FaultKind.DUPLICATE].fault.copies if FaultKind.DUPLICATE in strikes else 0)
        if not self._hand_over(delivery.addressee, text, copies):
            self.lost += 1
            return
        self.sent += copies
        for kind in (FaultKind.GARBLE, FaultKind.DUPLICATE, *([FaultKind.LATE] if late else [])):
            _happened(strikes.get(kind))
        for held in self._held.pop(delivery.destination, []):
            self.waiting.pop(held).cancel()
            _happened(held.strikes[FaultKind.REORDER])
            self._hand(held)


def _happened(strike: Strike | None) -> None:
    if strike is not None:
        strike.happened += 1
