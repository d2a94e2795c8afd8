"""Lets faults strike at requests: around the request as the services would carry it out.

A reply's ``fate`` tells the server what to do with the connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from listener.emulator.faults import Fault, Faults, Kind, Occasion, Strike
from listener.emulator.messages import Fate, Reply

HTML = b"<html><head><title>503</title></head><body><center><h1>Service Unavailable</h1></center></body></html>\n"
NO_SKEW = timedelta(0)

Strikes = dict[Kind, Strike]
ENDINGS = {Kind.STALL: Fate.STALLED, Kind.RESET: Fate.RESET, Kind.HANG_UP: Fate.HUNG_UP}
#: Refusals by their name of the error: of MNS, of MPS.
REFUSALS = {
    Kind.THROTTLE: {"mns": "TooManyRequests", "mps": "Throttling.User"},
    Kind.REJECT_SIGNATURE: {"mns": "SignatureDoesNotMatch", "mps": "SignatureDoesNotMatch"},
    Kind.ERROR: {"mns": "InternalError", "mps": "ServiceUnavailable"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One request on its way to its service."""

    occasion: Occasion
    carry_out: Callable[[timedelta], Awaitable[Reply]]  #: with the service's clock off by so much
    refuse: Callable[[str], Reply]  #: the reply for an error code
    expire_handles: Callable[[], int] = lambda: 0  #: how many of them there were
    finish_job: Callable[[], bool] = lambda: False  #: end the job that was submitted; False if none was


class Saboteur:
    """Carries errands out, faults permitting."""

    def __init__(self, faults: Faults, *, pause: Callable[[float], Awaitable[None]]) -> None:
        self._faults = faults
        self._pause = pause

    async def answer(self, errand: Errand) -> Reply:
        strikes = self._faults.strikes(errand.occasion)
        if not strikes:
            return await errand.carry_out(NO_SKEW)
        if Kind.LATENCY in strikes:
            await self._pause(_happens(strikes[Kind.LATENCY]).seconds)
        if instead := _instead(strikes, errand):
            return instead
        return await self._carried_out(strikes, errand)

    async def _carried_out(self, strikes: Strikes, errand: Errand) -> Reply:
        skew = NO_SKEW
        if Kind.CLOCK_SKEW in strikes:
            skew = timedelta(seconds=_happens(strikes[Kind.CLOCK_SKEW]).seconds)
        if Kind.EXPIRE_HANDLES in strikes and errand.expire_handles():
            _happens(strikes[Kind.EXPIRE_HANDLES])
        reply = replace(await errand.carry_out(skew), skew=skew)
        if Kind.EARLY in strikes and errand.finish_job():
            await self._pause(_happens(strikes[Kind.EARLY]).seconds)
        return _damaged(reply, strikes)


def _instead(strikes: Strikes, errand: Errand) -> Reply | None:
    """What is answered instead of carrying the request out, if anything."""
    for kind, fate in ENDINGS.items():
        if kind in strikes and not strikes[kind].fault.after:
            _happens(strikes[kind])
            return Reply(status=500, fate=fate)
    for kind, codes in REFUSALS.items():
        if kind in strikes:
            return _refused(strikes[kind], errand, codes[errand.occasion.service])
    if Kind.EMPTY_POLL in strikes and "Receive" in errand.occasion.operation:
        _happens(strikes[Kind.EMPTY_POLL])
        return errand.refuse("MessageNotExist")
    return None


def _refused(strike: Strike, errand: Errand, code: str) -> Reply:
    fault = _happens(strike)
    if fault.kind != Kind.ERROR:
        return errand.refuse(code)
    if fault.body == "xml":
        return replace(errand.refuse(code), status=fault.status)
    return Reply(status=fault.status, body=HTML if fault.body == "html" else b"", content_type="text/html")


def _damaged(reply: Reply, strikes: Strikes) -> Reply:
    """What becomes of the reply to a request that was carried out."""
    if Kind.DROP_REPLY in strikes:
        _happens(strikes[Kind.DROP_REPLY])
        return replace(reply, fate=Fate.HUNG_UP)
    for kind, fate in ENDINGS.items():
        if kind in strikes:
            _happens(strikes[kind])
            return replace(reply, fate=fate)
    if Kind.TRUNCATE in strikes and reply.body:
        keep = int(len(reply.body) * _happens(strikes[Kind.TRUNCATE]).keep)
        return replace(reply, fate=Fate.TRUNCATED, keep=keep)
    return reply


def _happens(strike: Strike) -> Fault:
    strike.happened += 1
    return strike.fault
