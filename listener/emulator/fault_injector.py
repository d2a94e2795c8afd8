"""Injects faults into requests, before and after the service executes them.

A reply's ``transmission`` tells the server how to handle the connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from listener.emulator.faults import Fault, FaultKind, Faults, Occasion, Strike
from listener.emulator.messages import Reply, Transmission

HTML = b"<html><head><title>503</title></head><body><center><h1>Service Unavailable</h1></center></body></html>\n"
NO_SKEW = timedelta(0)

ENDINGS = {
    FaultKind.STALL: Transmission.STALLED,
    FaultKind.RESET: Transmission.RESET,
    FaultKind.HANG_UP: Transmission.HUNG_UP,
}
#: Error codes of rejections, per service.
REFUSALS = {
    FaultKind.THROTTLE: {"mns": "TooManyRequests", "mps": "Throttling.User"},
    FaultKind.REJECT_SIGNATURE: {"mns": "SignatureDoesNotMatch", "mps": "SignatureDoesNotMatch"},
    FaultKind.ERROR: {"mns": "InternalError", "mps": "ServiceUnavailable"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and how its service executes it."""

    occasion: Occasion
    carry_out: Callable[[timedelta], Awaitable[Reply]]  #: executes the request, with this clock skew
    refuse: Callable[[str], Reply]  #: the reply for an error code
    expire_handles: Callable[[], int] = lambda: 0  #: returns how many handles there were
    finish_jobs: Callable[[], bool] = lambda: False  #: finishes the submitted jobs; False if there is none


class Strikes:
    """The faults that apply to one request, and those that have had an effect."""

    def __init__(self, struck: dict[FaultKind, Strike]) -> None:
        self._struck = struck
        self.happened: list[FaultKind] = []

    def __contains__(self, kind: FaultKind) -> bool:
        return kind in self._struck

    def fault(self, kind: FaultKind) -> Fault:
        return self._struck[kind].fault

    def happens(self, kind: FaultKind) -> Fault:
        strike = self._struck[kind]
        strike.happened += 1
        self.happened.append(kind)
        return strike.fault


class FaultInjector:
    """Executes requests, subject to faults."""

    def __init__(self, faults: Faults, *, pause: Callable[[float], Awaitable[None]]) -> None:
        self._faults = faults
        self._pause = pause

    async def answer(self, exchange: Exchange) -> Reply:
        struck = self._faults.strikes(exchange.occasion)
        if not struck:
            return await exchange.carry_out(NO_SKEW)
        strikes = Strikes(struck)
        return replace(await self._answer(strikes, exchange), faults=tuple(strikes.happened))

    async def _answer(self, strikes: Strikes, exchange: Exchange) -> Reply:
        late = FaultKind.LATENCY in strikes and strikes.fault(FaultKind.LATENCY).after
        if FaultKind.LATENCY in strikes and not late:
            await self._pause(strikes.happens(FaultKind.LATENCY).seconds)
        if instead := _instead(strikes, exchange):
            return instead
        reply = await self._carried_out(strikes, exchange)
        if late:
            await self._pause(strikes.happens(FaultKind.LATENCY).seconds)
        return reply

    async def _carried_out(self, strikes: Strikes, exchange: Exchange) -> Reply:
        skew = NO_SKEW
        if FaultKind.CLOCK_SKEW in strikes:
            skew = timedelta(seconds=strikes.happens(FaultKind.CLOCK_SKEW).seconds)
        if FaultKind.EXPIRE_HANDLES in strikes and exchange.expire_handles():
            strikes.happens(FaultKind.EXPIRE_HANDLES)
        reply = replace(await exchange.carry_out(skew), skew=skew)
        if FaultKind.EARLY in strikes and exchange.finish_jobs():
            await self._pause(strikes.happens(FaultKind.EARLY).seconds)
        return _damaged(reply, strikes)


def _instead(strikes: Strikes, exchange: Exchange) -> Reply | None:
    """The reply instead of executing the request, if any."""
    for kind, transmission in ENDINGS.items():
        if kind in strikes and not strikes.fault(kind).after:
            strikes.happens(kind)
            return Reply(status=500, transmission=transmission)
    for kind, codes in REFUSALS.items():
        if kind in strikes:
            return _refused(strikes.happens(kind), exchange, codes[exchange.occasion.service])
    if FaultKind.EMPTY_POLL in strikes and "Receive" in exchange.occasion.operation:
        strikes.happens(FaultKind.EMPTY_POLL)
        return exchange.refuse("MessageNotExist")
    return None


def _refused(fault: Fault, exchange: Exchange, code: str) -> Reply:
    if fault.kind != FaultKind.ERROR:
        return exchange.refuse(code)
    if fault.body == "xml":
        return replace(exchange.refuse(code), status=fault.status)
    return Reply(status=fault.status, body=HTML if fault.body == "html" else b"", content_type="text/html")


def _damaged(reply: Reply, strikes: Strikes) -> Reply:
    """The reply to an executed request, after faults that affect replies."""
    if FaultKind.DROP_REPLY in strikes:
        strikes.happens(FaultKind.DROP_REPLY)
        return replace(reply, transmission=Transmission.HUNG_UP)
    for kind, transmission in ENDINGS.items():
        if kind in strikes:
            strikes.happens(kind)
            return replace(reply, transmission=transmission)
    if FaultKind.TRUNCATE in strikes and reply.body:
        keep = int(len(reply.body) * strikes.happens(FaultKind.TRUNCATE).keep)
        return replace(reply, transmission=Transmission.TRUNCATED, keep=keep)
    if FaultKind.UNASKED in strikes:
        strikes.happens(FaultKind.UNASKED)
        return replace(reply, transmission=Transmission.UNASKED)
    return reply
