"""How long a client may take: to send a request, to send its body, and to read what it gets.

Apart from the parser of HTTP, of which there are two: the daemon's server and the emulator have different ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

#: How long a connection may take to send the head of a request, or to receive the rest of a response.
WAIT_SECONDS = 5.0
#: How long the body of a request may take after its head.
BODY_SECONDS = 30.0
#: The same once the server stops, which then waits for twice as long for all answers.
STOPPING_BODY_SECONDS = 1.0
#: How long a client may leave a response unread that is larger than what is buffered for it.
UNREAD_SECONDS = 30.0


class Cycle(Protocol):
    """A request and its response, as uvicorn has them."""

    more_body: bool  #: whether the request has not arrived as a whole
    response_complete: bool


class TimeLimits:
    """The time limits of one connection, which reports what happens to it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        latest: Callable[[], Cycle | None],
        abort: Callable[[], None],
    ) -> None:
        """``latest``: the request that began last; ``abort`` closes the connection now."""
        self.waiting_since = 0.0  #: the event loop's time
        self._loop = loop
        self._latest = latest
        self._abort = abort
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def expect_request(self, answered: Cycle | None, *, seconds: float) -> None:
        """The head of another request than this one must arrive within this time, and its body in time after that.

        Sending it slowly does not extend the time.
        """
        _cancel(self._timer)
        self.waiting_since = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._end_wait, answered)

    def expect_body_soon(self) -> None:
        """The server stops: what has not arrived of a request must arrive now."""
        if (latest := self._latest()) is not None:
            _cancel(self._timer)
            self._timer = self._loop.call_later(STOPPING_BODY_SECONDS, self._end_body, latest)

    def writing_paused(self) -> None:
        """The buffer is full: the application waits until the client reads, but not without end."""
        self._unread = self._loop.call_later(UNREAD_SECONDS, self._abort)

    def writing_resumed(self) -> None:
        _cancel(self._unread)

    def end(self) -> None:
        """The connection is closed."""
        _cancel(self._timer)
        _cancel(self._unread)

    def _end_wait(self, answered: Cycle | None) -> None:
        latest = self._latest()
        if latest is None or latest is answered:  # no other request has arrived
            self._abort()
        else:
            self._timer = self._loop.call_later(BODY_SECONDS, self._end_body, latest)

    def _end_body(self, received: Cycle) -> None:
        if self._latest() is received and received.more_body:
            self._abort()


class LimitedConnection(asyncio.Protocol):
    """What our connections add to those of uvicorn, whichever parser these have; to be named before them.

    It is what ``connection_limit`` closes for another one.
    """

    transport: Any  #: uvicorn's annotations of these two differ by parser
    cycle: Any
    _limits: TimeLimits

    def connection_lost(self, exc: Exception | None) -> None:
        self._limits.end()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._limits.writing_paused()

    def resume_writing(self) -> None:
        self._limits.writing_resumed()
        super().resume_writing()

    @property
    def busy(self) -> bool:
        """Whether a request is being processed that has arrived as a whole."""
        cycle: Cycle | None = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.more_body

    @property
    def waiting_since(self) -> float:
        """The event loop's time."""
        return self._limits.waiting_since

    def abort(self) -> None:
        """Close it now, without sending what is left to send."""
        self.transport.abort()

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: such a request is answered like any other, and uvicorn's advice is to install packages."""


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
