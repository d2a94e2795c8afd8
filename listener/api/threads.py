"""Runs what blocks in threads, so that the event loop of the server never waits for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


class Threads:
    """At most so many calls at a time; further ones wait for their turn, without a thread.

    A call that has begun is finished even if its client has gone.
    """

    def __init__(self, count: int) -> None:
        self._limiter = anyio.CapacityLimiter(count)

    async def run(
        self,
        call: Callable[Parameters, Returned],
        *arguments: Parameters.args,
        **named: Parameters.kwargs,
    ) -> Returned:
        return await anyio.to_thread.run_sync(partial(call, *arguments, **named), limiter=self._limiter)
