"""``/_emulator/clock``: shows the clock of the emulator, lets it jump ahead, or lets time pass faster."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from listener.core.lazy_imports import lazy_imports
from listener.emulator.virtual_clock import ClockError, VirtualClock

with lazy_imports():
    from listener.formats import durations

USAGE = 'use {"advance": "7d"}, {"time_scale": 3600} or both'


class ClockControl:
    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def routes(self) -> list[Route]:
        return [Route("/clock", self.show), Route("/clock", self.change, methods=["POST"])]

    async def show(self, request: Request) -> Response:
        return JSONResponse(self._shown())

    async def change(self, request: Request) -> Response:
        """Change the scale, then jump ahead."""
        try:
            wanted = json.loads(await request.body())
            scale, ahead = _read(wanted)
            if scale is not None:
                self._clock.set_scale(scale)
            await self._clock.advance(ahead)
        except (ValueError, RecursionError) as error:
            reason = str(error) if isinstance(error, ClockError) else f"{error}; {USAGE}"
            return PlainTextResponse(reason, status_code=400)
        return JSONResponse(self._shown())

    def _shown(self) -> dict[str, Any]:
        return {
            "now": self._clock.now().isoformat(timespec="milliseconds"),
            "time_scale": self._clock.setting.scale,
            "ahead_seconds": round(self._clock.ahead(), 3),
        }


def _read(wanted: object) -> tuple[float | None, float]:
    """The scale and by how much to advance. Raises ValueError."""
    if not isinstance(wanted, dict) or not wanted or wanted.keys() - {"advance", "time_scale"}:
        raise ValueError("not a change of the clock")
    scale = wanted.get("time_scale")
    if scale is not None and (isinstance(scale, bool) or not isinstance(scale, int | float)):
        raise ValueError(f"time_scale = {scale!r} is not a number")
    return scale, durations.to_duration(wanted.get("advance", 0)).total_seconds()
