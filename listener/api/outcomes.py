"""Waits for the outcomes of any number of jobs: with no thread and no poll of its own for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from listener.core.errors import ListenerError
from listener.core.logger import get_logger
from listener.runtime.log_throttle import ThrottledLog

log = get_logger(__name__)

#: How often the store is asked at least, since other processes may record outcomes.
POLL_SECONDS: Final = 1.0
#: The pause after each question, so that a process that records all the time does not ask all the time.
PAUSE_SECONDS: Final = 0.2

Finished = Callable[[Sequence[str]], Awaitable[Sequence[str]]]
"""Which of the jobs with these tokens have an outcome."""


class Outcomes:
    """One for the process. All its waiting happens in one event loop; ``notify`` may be called from any thread.

    While anything waits, one task asks the store for all of it together: once a second, and sooner when this process
    has recorded something.
    """

    def __init__(self, finished: Finished) -> None:
        self._finished = finished
        self._waiting: dict[str, set[asyncio.Future[bool]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: asyncio.Task[None] | None = None
        self._notified = asyncio.Event()
        self._closed = False
        self._warnings = ThrottledLog(log)

    def notify(self) -> None:
        """Something was recorded."""
        if (loop := self._loop) is not None and self._waiting:
            loop.call_soon_threadsafe(self._notified.set)

    async def wait(self, token: str, *, seconds: float) -> bool:
        """Whether the job has an outcome by then; returns at once when it has, and when the server stops."""
        if self._closed:
            return False
        ended = self._add(token)
        try:
            async with asyncio.timeout(seconds):
                return await ended
        except TimeoutError:
            return False
        finally:
            self._remove(token, ended)

    def close(self) -> None:
        """Let every wait return; from any thread."""
        self._closed = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._end_all)

    def _add(self, token: str) -> asyncio.Future[bool]:
        self._loop = asyncio.get_running_loop()
        ended = self._loop.create_future()
        self._waiting.setdefault(token, set()).add(ended)
        self._notified.set()  # the outcome may have been recorded since the caller looked
        if self._asking is None or self._asking.done():
            self._asking = self._loop.create_task(self._ask())
        return ended

    def _remove(self, token: str, ended: asyncio.Future[bool]) -> None:
        others = self._waiting.get(token, set())
        others.discard(ended)
        if not others:
            self._waiting.pop(token, None)

    async def _ask(self) -> None:
        """Ask the store for as long as anything waits."""
        while self._waiting:
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._notified.wait()
            except TimeoutError:
                pass
            self._notified.clear()
            for token in await self._found(list(self._waiting)):
                self._end(token, outcome=True)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _found(self, tokens: Sequence[str]) -> Sequence[str]:
        try:
            return await self._finished(tokens)
        except ListenerError as error:  # those who wait learn of it when they read their jobs
            self._warnings.warning("outcomes.unavailable", error=str(error))
            return ()

    def _end(self, token: str, *, outcome: bool) -> None:
        for ended in self._waiting.get(token, ()):
            if not ended.done():
                ended.set_result(outcome)

    def _end_all(self) -> None:
        for token in self._waiting:
            self._end(token, outcome=False)
