"""All handlers of the settings: loaded together, called while they are in use, closed together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial

import structlog

from listener.core.errors import Unavailable
from listener.core.model import JobResult, Target
from listener.core.ports import Handler
from listener.dispatch import handler_loader
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.settings.sections import RouteSettings

log = structlog.get_logger(__name__)

#: How long an asynchronous ``close()`` may take, and how long a stop waits for a close that is already under way.
CLOSE_TIMEOUT = timedelta(seconds=2)


class Handlers:
    """One generation of handlers. Safe to use from several threads.

    A generation that was replaced by a reload is retired: it is closed as soon as its last running call has returned.
    Running calls are counted, and every handler is closed exactly once.
    """

    def __init__(
        self, routes: Iterable[RouteSettings], *, runner: CoroutineRunner, timeout: timedelta | None = None
    ) -> None:
        """Load them all. Raises SettingsError, after closing those that were already loaded.

        ``timeout`` is the time limit of a coroutine; a plain function cannot be interrupted.
        """
        self._runner = runner
        self._timeout = timeout
        self._lock = threading.Lock()
        self._running = 0  #: calls
        self._retired = False
        self._closing = False
        self._closed = threading.Event()
        self._by_target: dict[Target, Handler] = {}
        try:
            self._load(routes)
        except BaseException:  # raised again, once those that were loaded are closed
            self.close()
            raise

    @property
    def targets(self) -> Sequence[Target]:
        return list(self._by_target)

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def bind(self, target: Target) -> Callable[[JobResult], None]:
        """A function that calls this handler, waits until it is done, and raises what it raises.

        It raises Unavailable, which spends no attempt, if this generation was closed before the call began; the retry
        goes to the generation that replaced it.
        """
        return partial(self._run, self._by_target[target])

    def retire(self) -> None:
        """Close it once no call is running, which may be now. Never waits for a handler."""
        with self._lock:
            self._retired = True
            unused = not self._running
        if unused:
            self._close_in_background()

    def close(self) -> None:
        """Close it now, even if calls are running: this is what ends the child processes of those calls."""
        if self._begin_close():
            self._close_all()
        else:
            self._closed.wait(CLOSE_TIMEOUT.total_seconds())

    def _load(self, routes: Iterable[RouteSettings]) -> None:
        for route in routes:
            for index, handler in enumerate(route.handlers):
                where = f"routes.{route.name}.handlers[{index}]"
                self._by_target[Target(route.name, handler.label)] = handler_loader.load(
                    handler.use, handler.options, where=where
                )

    def _run(self, handler: Handler, result: JobResult) -> None:
        with self._lock:
            if self._closing:
                raise Unavailable("the handlers were reloaded before the call began", after=timedelta(0))
            self._running += 1
        try:
            self._runner.run(handler, result, timeout=self._timeout)
        finally:
            with self._lock:
                self._running -= 1
                unused = self._retired and not self._running
            if unused:
                self._close_in_background()

    def _close_in_background(self) -> None:
        """In a thread of its own: a ``close()`` that hangs must hold up neither a worker nor the main thread."""
        if not self._begin_close():
            return
        try:
            threading.Thread(target=self._close_all, name="close-handlers", daemon=True).start()
        except RuntimeError:  # the system has no threads left
            self._close_all()

    def _begin_close(self) -> bool:
        """Whether the caller is the one that has to close them."""
        with self._lock:
            first, self._closing = not self._closing, True
        return first

    def _close_all(self) -> None:
        for target, handler in self._by_target.items():
            try:
                self._runner.close_handler(handler, timeout=CLOSE_TIMEOUT)
            # Handlers are foreign code, which may even call exit(); one failure must not keep the others open.
            except (Exception, SystemExit):
                log.exception("handler.close_failed", route=target.route, handler=target.handler)
        self._by_target = {}
        self._closed.set()


class HandlerGenerations:
    """The handlers in use, and earlier ones that are still running something. ``replace`` is for one thread."""

    def __init__(self, first: Handlers) -> None:
        self._all = [first]

    def open(self) -> Sequence[Handlers]:
        """Those that are not closed yet; the last one is in use."""
        self._all = [handlers for handlers in self._all if not handlers.closed]
        return self._all

    def replace(self, handlers: Handlers) -> None:
        """Use these from now on. Call it once no new call can go to the earlier ones."""
        for earlier in self.open():
            earlier.retire()
        self._all.append(handlers)

    def close(self) -> None:
        """Close all of them now, oldest first."""
        for handlers in self.open():
            handlers.close()
