"""All handlers of the settings: loaded together, kept or replaced at a reload, closed when they are no longer used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from listener.core import clock
from listener.core.call_deadline import time_left
from listener.core.errors import SettingsError, Unavailable
from listener.core.logger import get_logger
from listener.core.model import JobResult, Target
from listener.core.ports import Handler
from listener.core.pull import PullHandler
from listener.dispatch import handler_loader
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.dispatch.handler_loader import Installed
from listener.runtime.file_version import FileVersion, file_version
from listener.runtime.orphans import may_start_processes
from listener.settings.file_paths import file_named
from listener.settings.sections import HandlerSettings, RouteSettings

log = get_logger(__name__)

#: How long an asynchronous ``close()`` may take, and how long a stop waits for closes that are already under way.
CLOSE_TIMEOUT = timedelta(seconds=2)
#: Options with this ending name a file that is read when the handler is built.
FILE_OPTION = "_file"


@dataclass(frozen=True, slots=True)
class HandlerSpec:
    """What a handler was built from. A reload keeps the handler if this is unchanged."""

    use: str
    options: Mapping[str, Any]
    files: Mapping[str, FileVersion | None]  #: of the files that options name

    @classmethod
    def of(cls, settings: HandlerSettings) -> HandlerSpec:
        files = {
            name: file_version(file_named(value))
            for name, value in settings.options.items()
            if name.endswith(FILE_OPTION)
        }
        return cls(settings.use, settings.options, files)


@dataclass(slots=True, eq=False)
class LoadedHandler:
    """One handler. ``calls`` is guarded by the lock of ``Handlers``."""

    target: Target
    spec: HandlerSpec
    handler: Handler
    calls: int = 0  #: running now


LoadedHandlers = Mapping[Target, LoadedHandler]


class Handlers:
    """The handlers in use, and replaced ones that are still running something. Safe to use from several threads.

    Running calls are counted. A handler that a reload replaced or removed is closed as soon as its last running call
    has returned, and every handler is closed exactly once.
    """

    def __init__(self, routes: Iterable[RouteSettings], *, runner: CoroutineRunner) -> None:
        """Load and use them all. Raises SettingsError, after closing those that were already loaded."""
        self._runner = runner
        self._lock = threading.Lock()
        self._current: LoadedHandlers = {}
        self._retired: set[LoadedHandler] = set()  #: with running calls
        self._closing: list[threading.Thread] = []
        self.use(self.load(routes))

    @property
    def targets(self) -> Sequence[Target]:
        return list(self._current)

    @property
    def pulled(self) -> Mapping[Target, PullHandler]:
        """Those that leave their deliveries to applications."""
        return {
            target: loaded.handler
            for target, loaded in self._current.items()
            if isinstance(loaded.handler, PullHandler)
        }

    def bind(self, target: Target) -> Callable[[JobResult], None]:
        """A function that calls the handler which is in use then, waits until it is done, and raises what it raises.

        It raises Unavailable, which spends no attempt, if the handler was removed before the call began.
        """
        return partial(self._run, target)

    def load(self, routes: Iterable[RouteSettings]) -> LoadedHandlers:
        """Handlers for these routes, to be passed to ``use``: those in use whose specification is unchanged, and new
        ones. Raises SettingsError with a message for each that cannot be built, after closing the new ones; nothing has
        changed then.
        """
        installed, loaded, problems = Installed(), dict[Target, LoadedHandler](), list[str]()
        try:
            for route in routes:
                for index, settings in enumerate(route.handlers):
                    where = f"routes.{route.name}.handlers[{index}]"
                    target = Target(route.name, settings.label)
                    try:
                        loaded[target] = self._kept_or_new(target, settings, installed, where)
                    except SettingsError as error:
                        problems += error.messages
            if problems:
                raise SettingsError(*problems)
        except BaseException:  # raised again, once those that were loaded are closed
            self._close_all(set(loaded.values()) - set(self._current.values()))
            raise
        return loaded

    def use(self, loaded: LoadedHandlers) -> None:
        """Use these for every call that begins from now on, and retire the others. Never waits for a handler."""
        with self._lock:
            replaced = set(self._current.values()) - set(loaded.values())
            self._current = loaded
            idle = [handler for handler in replaced if not handler.calls]
            self._retired |= replaced.difference(idle)
        self._close_in_background(idle)

    def close(self) -> None:
        """Close all of them now, even if calls are running: this is what ends the child processes of those calls."""
        with self._lock:
            left = [*self._retired, *self._current.values()]
            self._retired, self._current = set(), {}
        self._close_all(left)
        deadline = clock.monotonic() + CLOSE_TIMEOUT.total_seconds()
        for thread in self._closing:
            thread.join(max(0.0, deadline - clock.monotonic()))

    def _kept_or_new(
        self, target: Target, settings: HandlerSettings, installed: Installed, where: str
    ) -> LoadedHandler:
        spec = HandlerSpec.of(settings)
        kept = self._current.get(target)
        if kept is not None and kept.spec == spec:
            return kept
        with may_start_processes():
            handler = handler_loader.load(spec.use, spec.options, where=where, installed=installed)
        return LoadedHandler(target, spec, handler)

    def _run(self, target: Target, result: JobResult) -> None:
        loaded = self._begin(target)
        try:
            self._runner.run(loaded.handler, result, timeout=time_left)
        finally:
            self._end(loaded)

    def _begin(self, target: Target) -> LoadedHandler:
        with self._lock:
            loaded = self._current.get(target)
            if loaded is None:
                raise Unavailable("the handler was removed before the call began", after=timedelta(0))
            loaded.calls += 1
            return loaded

    def _end(self, loaded: LoadedHandler) -> None:
        with self._lock:
            loaded.calls -= 1
            unused = loaded in self._retired and not loaded.calls
            if unused:
                self._retired.remove(loaded)
        if unused:
            self._close_in_background([loaded])

    def _close_in_background(self, handlers: Collection[LoadedHandler]) -> None:
        """In a thread of its own: a ``close()`` that hangs must hold up neither a worker nor the main thread."""
        if not handlers:
            return
        thread = threading.Thread(
            target=self._close_all, args=(handlers,), name="close-handlers", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system has no threads left
            self._close_all(handlers)
            return
        with self._lock:
            self._closing = [one for one in self._closing if one.is_alive()] + [thread]

    def _close_all(self, handlers: Iterable[LoadedHandler]) -> None:
        for loaded in handlers:
            try:
                self._runner.close_handler(loaded.handler, timeout=CLOSE_TIMEOUT)
            # Handlers are foreign code, which may even call exit(); one failure must not keep the others open.
            except (Exception, SystemExit):
                log.exception(
                    "handler.close_failed", route=loaded.target.route, handler=loaded.target.handler
                )
