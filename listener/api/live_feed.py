"""Reads the event feed for all who follow it in this process.

A follower asks for the page after its position when it has sent the one before, so that a slow one needs no buffer and
does not delay the others. Followers at the same position share a page, and all wait for the same signal to look again:
at once when this process has written something, and once a second because others may have.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from listener.api.serialize import feed_event_dict
from listener.api.threads import Threads
from listener.core import clock
from listener.core.errors import FailureKind, ListenerError, UnavailableError
from listener.core.logger import get_logger
from listener.runtime.log_throttle import ThrottledLog
from listener.store.event_feed import ALL_EVENTS, EventFeed, FeedFilter
from listener.store.feed_events import FeedEvent
from listener.store.feed_position import Position

log = get_logger(__name__)

#: How often the store is read at least while anyone follows, since other processes may write.
POLL_SECONDS: Final = 1.0
#: The pause after each signal to look again, so that a process that writes all the time does not read all the time.
PAUSE_SECONDS: Final = 0.05
#: After so long without an event a comment is sent, so that proxies do not close the connection.
KEEP_ALIVE_SECONDS: Final = 15.0
#: How long clients are asked to wait before they connect again.
RETRY_MILLISECONDS: Final = 2000
MAX_FOLLOWERS: Final = 256
#: How many pages are kept for followers that are not quite as far as the first.
PAGES_KEPT: Final = 16
#: The load of one core up to which reading fills what the rest of the process leaves, and the share that it always has:
#: while a backlog is worked off, of the CPU time that the process gets, which is little on a machine with other work.
MAX_LOAD: Final = 0.9
MIN_SHARE: Final = 0.01
#: How often to look whether that allows another read.
PACE_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the feed, as text."""

    events: Sequence[tuple[FeedEvent, str]]
    position: Position
    more: bool
    cpu: float  #: seconds that it took to read
    all: str = field(repr=False)  #: the texts of all events

    def text(self, wanted: FeedFilter) -> str:
        """The events that match, and the cursor of the end of this page."""
        if not self.events:
            return ""
        matching = (text for event, text in self.events if wanted.matches(event))
        texts = self.all if wanted == ALL_EVENTS else "".join(matching)
        return f"{texts}id: {self.position}\n\n"


class Pace:
    """When to read again, so that reading takes little from the rest of the process."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        """``busy``: whether a backlog is worked off."""
        self._busy = busy
        self.took(0.0)

    def took(self, cpu: float) -> None:
        """A read has ended, which took so many seconds of CPU time."""
        self._cost = cpu
        self._at, self._used = clock.monotonic(), clock.process_cpu()

    def may_read(self) -> bool:
        """Whether enough of the time, or of the CPU time that the process gets, has passed since."""
        passed, used = clock.monotonic() - self._at, clock.process_cpu() - self._used
        if self._busy():
            return used * MIN_SHARE >= self._cost
        others = used / passed if passed else 0.0
        return passed * max(MIN_SHARE, MAX_LOAD - others) >= self._cost


class LiveFeed:
    """One for the process. All of it happens in one event loop; ``notify`` and ``close`` may be called from any
    thread."""

    def __init__(self, feed: EventFeed, threads: Threads, *, busy: Callable[[], bool]) -> None:
        """``busy``: see ``Pace``."""
        self._feed = feed
        self._threads = threads
        self._pages: OrderedDict[str, Page] = OrderedDict()
        self._reads: dict[str, asyncio.Task[Page | None]] = {}
        self._reading = asyncio.Lock()
        self._pace = Pace(busy)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._followers = 0
        self._signalling: asyncio.Task[None] | None = None
        self._notified = asyncio.Event()
        self._signal = asyncio.Event()
        self._closed = False
        self._closing = asyncio.Event()  #: the same, for those who wait for a page
        self._warnings = ThrottledLog(log)

    def notify(self) -> None:
        """Something was written."""
        if self._followers and (loop := self._loop) is not None and not self._notified.is_set():
            loop.call_soon_threadsafe(self._notified.set)

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._end_all)

    def _end_all(self) -> None:
        self._closing.set()
        self._signal.set()

    async def start(self, *, cursor: str = "", since: datetime | None = None) -> Position:
        """Where a stream begins: after the event with this cursor, at a time, or at the end.

        Raises UsageError for a cursor that is none of this store.
        """
        return await self._threads.run(self._start, cursor, since)

    def stream(self, position: Position, wanted: FeedFilter, *, follow: bool) -> AsyncIterator[str]:
        """The events after this position as server-sent events, without an end, or up to the present one.

        Raises UnavailableError if too many follow already.
        """
        if self._followers >= MAX_FOLLOWERS:
            raise UnavailableError(
                f"{MAX_FOLLOWERS} clients follow events already", kind=FailureKind.THROTTLED
            )
        return self._stream(position, wanted, follow=follow)

    def _start(self, cursor: str, since: datetime | None) -> Position:
        if not cursor:
            return self._feed.end() if since is None else self._feed.since(since)
        return self._feed.known(Position.parse(cursor))

    async def _stream(self, position: Position, wanted: FeedFilter, *, follow: bool) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        with self._counted():
            yield f"retry: {RETRY_MILLISECONDS}\nid: {position}\n\n"
            sent = loop.time()
            while not self._closed:
                signal = self._signal  # before the read: what is written from now on sets it, or a later one
                page = await self._page(position)
                if page and (text := page.text(wanted)):
                    yield text
                    sent = loop.time()
                position = page.position if page else position
                if page and page.more:
                    continue
                if page and not follow:
                    return
                await signal.wait()
                if loop.time() - sent >= KEEP_ALIVE_SECONDS:
                    yield ": keep-alive\n\n"
                    sent = loop.time()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._loop = asyncio.get_running_loop()
        self._followers += 1
        if self._signalling is None or self._signalling.done():
            self._signalling = self._loop.create_task(self._signal_all())
        try:
            yield
        finally:
            self._followers -= 1

    async def _signal_all(self) -> None:
        """Let all followers look again, as long as there are any."""
        while self._followers and not self._closed:
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._notified.wait()
            except TimeoutError:
                pass
            self._notified.clear()
            signal, self._signal = self._signal, asyncio.Event()
            signal.set()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _page(self, position: Position) -> Page | None:
        """The page after this position, read once for all who ask for it; None if the store is unavailable, and when
        the streams are to end."""
        key = str(position)
        if (kept := self._pages.get(key)) is not None:
            return kept
        if key not in self._reads:
            self._reads[key] = asyncio.create_task(self._read(position))
        read, closing = self._reads[key], asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((read, closing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
        return read.result() if read.done() else None

    async def _read(self, position: Position) -> Page | None:
        key = str(position)
        try:
            async with self._reading:
                while not (self._pace.may_read() or self._closed):
                    await asyncio.sleep(PACE_SECONDS)
                page = await self._threads.run(self._read_page, position)
                self._pace.took(page.cpu)
        except ListenerError as error:
            self._warnings.warning("events.unavailable", error=str(error))
            return None
        finally:
            del self._reads[key]
        if page.events:
            self._pages[key] = page
            if len(self._pages) > PAGES_KEPT:
                self._pages.popitem(last=False)
        return page

    def _read_page(self, position: Position) -> Page:
        began = clock.thread_cpu()
        read = self._feed.after(position)
        events = [(event, _text(event)) for event in read.events]
        texts = "".join(text for _, text in events)
        return Page(events, read.position, read.more, clock.thread_cpu() - began, texts)


def _text(event: FeedEvent) -> str:
    fields = feed_event_dict(event) | {"at": event.at.isoformat()}
    return f"id: {event.cursor}\nevent: {event.event}\ndata: {json.dumps(fields, ensure_ascii=False)}\n\n"
