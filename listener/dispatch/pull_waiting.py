"""Applications that wait for something to pull: any number of them, without a thread for each.

One that waits is woken when this process offers a delivery to its target, and when the poll of the store, one a second
for all of them, finds one that has become due or was offered by another process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from listener.core import clock
from listener.core.errors import FailureKind, StoreUnavailable, UnavailableError
from listener.core.logger import get_logger
from listener.core.model import Delivery, Target
from listener.dispatch.pull import Pull

log = get_logger(__name__)

#: How often the store is asked for all that wait.
POLL_INTERVAL: Final = timedelta(seconds=1)


class PullWaiting:
    """``claim`` is for one event loop at a time; ``wake`` and ``close`` are for any thread."""

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        #: Those that wait, by target, in the order in which they came. Used in the event loop only.
        self._waiting: dict[Target, dict[asyncio.Event, None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poller: asyncio.Task[None] | None = None
        self._closed = threading.Event()

    @property
    def waiting(self) -> int:
        """How many applications wait."""
        return sum(map(len, self._waiting.values()))

    async def claim(
        self,
        route: str,
        *,
        handler: str,
        client: str,
        limit: int,
        lease: timedelta | None,
        wait: timedelta,
        gone: Callable[[], Awaitable[object]],
    ) -> Sequence[Delivery]:
        """What ``Pull.claim`` brings as soon as that is anything; nothing once ``wait`` is over or the daemon stops.

        ``gone`` waits until the application has gone: nothing is left with it then. Raises what ``Pull.target`` and
        ``Pull.claim`` raise, and UnavailableError if the daemon stops already.
        """
        if self._closed.is_set():  # the handlers may be closed already
            raise UnavailableError("the daemon is stopping", kind=FailureKind.REFUSED)
        target = self._pull.target(route, handler)
        deadline = clock.monotonic() + wait.total_seconds()
        leaving: asyncio.Future[Any] = asyncio.ensure_future(gone())
        woken = self._enter(target)
        try:
            while True:
                woken.clear()
                claimed = await asyncio.to_thread(
                    self._pull.claim, target, client=client, limit=limit, lease=lease
                )
                if len(claimed) == limit:
                    self._wake_next(target, after=woken)  # there may be more
                if claimed or not await self._may_claim_again(woken, leaving, deadline):
                    return await self._unless_gone(claimed, leaving)
        finally:
            leaving.cancel()
            self._leave(target, woken)

    async def _may_claim_again(
        self, woken: asyncio.Event, leaving: asyncio.Future[Any], deadline: float
    ) -> bool:
        """Wait to be woken; False if that did not happen in time, or the application or the daemon is leaving."""
        seconds = deadline - clock.monotonic()
        if seconds <= 0 or self._closed.is_set():
            return False
        waking: asyncio.Future[Any] = asyncio.ensure_future(woken.wait())
        await asyncio.wait({waking, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        waking.cancel()
        return woken.is_set() and not leaving.done() and not self._closed.is_set()

    async def _unless_gone(
        self, claimed: Sequence[Delivery], leaving: asyncio.Future[Any]
    ) -> Sequence[Delivery]:
        if not claimed or not leaving.done():
            return claimed
        await asyncio.to_thread(self._pull.give_back, claimed)
        return ()

    def wake(self, targets: Collection[Target]) -> None:
        """These have deliveries that are due."""
        if self._waiting:  # one that comes later finds them itself
            self._in_loop(targets)

    def close(self) -> None:
        """Let all that wait go at once, and refuse others."""
        self._closed.set()
        self._in_loop(())

    def _in_loop(self, targets: Collection[Target]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended, and with it all that waited
                self._loop.call_soon_threadsafe(self._wake, targets)

    # In the event loop

    def _enter(self, target: Target) -> asyncio.Event:
        self._loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        self._waiting.setdefault(target, {})[woken] = None
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        return woken

    def _leave(self, target: Target, woken: asyncio.Event) -> None:
        if woken.is_set():
            self._wake_next(target, after=woken)  # it was woken in vain: it leaves without having looked
        del self._waiting[target][woken]
        if not self._waiting[target]:
            del self._waiting[target]
        if not self._waiting and self._poller:
            self._poller.cancel()
            self._poller = None

    def _wake(self, targets: Collection[Target]) -> None:
        if self._closed.is_set():
            targets = list(self._waiting)
        for target in targets:
            self._wake_next(target)

    def _wake_next(self, target: Target, *, after: asyncio.Event | None = None) -> None:
        """Wake one: if it finds more than it may take, it wakes the next one. After ``close`` all of them."""
        for woken in self._waiting.get(target, {}):
            if woken is not after and not woken.is_set():
                woken.set()
                if not self._closed.is_set():
                    return

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_INTERVAL.total_seconds())
            try:
                due = await asyncio.to_thread(self._pull.due_targets, list(self._waiting))
            except StoreUnavailable:  # logged by the store's observer
                continue
            except Exception:  # a bug in mns-listener must not end the loop
                log.exception("pull.poll_crashed")
                continue
            self._wake(due)
