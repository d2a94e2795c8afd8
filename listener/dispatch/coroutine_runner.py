"""Calls handlers from worker threads, whether they are plain functions or coroutine functions."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta

from listener.core.errors import Unavailable
from listener.core.model import JobResult
from listener.core.ports import Handler


def _no_limit() -> None:
    """For a call that may take as long as it needs."""


class CoroutineRunner:
    """All coroutines share one event loop in one daemon thread, so that handlers may keep connections open between
    calls; the thread is started for the first coroutine. Safe to use from several threads.

    A coroutine runs in a copy of its caller's context: context variables set in the worker thread are visible in it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(
        self, handler: Handler, result: JobResult, *, timeout: Callable[[], timedelta | None] = _no_limit
    ) -> None:
        """Call the handler and wait until it is done. Raises what it raises, except that SystemExit becomes
        RuntimeError.

        After the time that ``timeout`` returns, a coroutine is cancelled, and TimeoutError raised once it has ended, so
        that it never runs beside the next attempt; a plain function cannot be interrupted. Raises Unavailable, which
        uses up no attempt, if the runner was closed in the meantime.
        """
        try:
            outcome = handler(result)
            if outcome is not None and inspect.isawaitable(outcome):
                self._wait_for(outcome, limit=timeout())
        except SystemExit as error:
            raise RuntimeError(f"the handler called exit({error.code!r})") from error

    def close_handler(self, handler: Handler, *, timeout: timedelta | None = None) -> None:
        """Call the handler's ``close()``, plain or asynchronous, if it has one."""
        close = getattr(handler, "close", None)
        outcome = close() if close is not None else None
        if inspect.isawaitable(outcome):
            self._wait_for(outcome, patience=timeout)

    def close(self, *, timeout: timedelta = timedelta(seconds=5)) -> None:
        """Cancel running coroutines and end the loop; after ``timeout``, abandon those that ignore the cancellation."""
        with self._lock:
            first, self._closed = not self._closed, True
        if first and self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread is not None:
            self._thread.join(timeout.total_seconds())

    def _wait_for(
        self, outcome: Awaitable[None], *, limit: timedelta | None = None, patience: timedelta | None = None
    ) -> None:
        """After ``limit`` it is cancelled; after ``patience`` too, but then its end is not waited for."""
        future = self._schedule(outcome, limit)
        try:
            future.result(None if patience is None else patience.total_seconds())
        except TimeoutError:
            if future.done():  # the handler's own TimeoutError
                raise
            future.cancel()
            raise TimeoutError(f"the handler's close() took longer than {patience}") from None
        except concurrent.futures.CancelledError:
            raise self._cancelled() from None

    def _schedule(self, outcome: Awaitable[None], limit: timedelta | None) -> concurrent.futures.Future[None]:
        # Under the lock, so that close() cannot stop the loop between the check and the scheduling.
        with self._lock:
            if self._closed:
                if inspect.iscoroutine(outcome):
                    outcome.close()  # else Python warns that it was never awaited
                raise self._cancelled()
            return asyncio.run_coroutine_threadsafe(_limited(outcome, limit), self._started())

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=_serve, args=(self._loop,), name="async-handlers", daemon=True
            )
            self._thread.start()
        return self._loop

    def _cancelled(self) -> Exception:
        if self._closed:
            return Unavailable("the listener is stopping")
        return RuntimeError("the handler cancelled itself")


async def _limited(outcome: Awaitable[None], limit: timedelta | None) -> None:
    """Wait for the outcome; after ``limit`` cancel it, and raise TimeoutError once it has ended."""
    try:
        async with asyncio.timeout(None if limit is None else limit.total_seconds()) as scope:
            await outcome
    except TimeoutError:
        if not scope.expired():  # the handler's own TimeoutError
            raise
        raise TimeoutError(f"the handler took longer than {limit}") from None


def _exited(loop: asyncio.AbstractEventLoop) -> bool:
    """Run the loop until it is stopped; True if a coroutine called exit instead, which its caller learns too."""
    try:
        loop.run_forever()
    except SystemExit:
        return True
    return False


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while _exited(loop):
        pass
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
