"""The daemon: opens everything and starts every loop, reloads, and stops, each in one order.

What is connected to what: ``listener.daemon.wiring``. What a start opens, and ``check`` verifies:
``listener.daemon.start_checks``. After how long a loop counts as stalled: ``listener.daemon.health``. What SIGHUP
reloads: ``listener.daemon.reload``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from listener import __version__
from listener.aliyun.tenant_clients import TenantClients
from listener.core import clock
from listener.core.errors import DrainIncomplete, ListenerError
from listener.core.lazy_imports import lazy_imports
from listener.core.logger import get_logger
from listener.daemon import start_checks
from listener.daemon.bounded_steps import BoundedSteps
from listener.daemon.health import store_call_limit
from listener.daemon.reload import apply_reloadable, sections_needing_restart
from listener.daemon.wiring import Loop, Parts, Resources, Wiring, handler_bindings
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.dispatch.handlers import Handlers
from listener.jobs.functions import FUNCTIONS
from listener.jobs.settings_warnings import settings_warnings
from listener.runtime.clock_guard import ClockGuard
from listener.runtime.liveness import Health, LivenessMonitor
from listener.runtime.metrics import Metrics
from listener.runtime.store_health import StoreHealth
from listener.settings.sections import Settings
from listener.store.daemon_lock import DaemonLock
from listener.store.sql_store import SqlStore

with lazy_imports():  # a daemon without http.listen does not need it
    from listener.daemon import serving

if TYPE_CHECKING:
    import socket

    from listener.daemon.serving import Serving

log = get_logger(__name__)

#: In drain mode: after so many failed polls in a row of one queue, the daemon stops with an error.
DRAIN_FAILURES = 5
#: How long handlers have to close at a stop.
HANDLERS_CLOSE_TIMEOUT = timedelta(seconds=3)
#: How long coroutines have to react to their cancellation at a stop.
COROUTINE_SHUTDOWN_TIMEOUT = timedelta(seconds=1)
#: How long a stop waits for loops that may be in a call which cannot be interrupted: to MPS, or to the store.
LOOPS_SHUTDOWN_TIMEOUT = timedelta(seconds=1)
#: How long a stop may take to write the last outcomes, also where the store stands still.
SETTLE_TIMEOUT = timedelta(seconds=5)
#: How much longer than ``service.shutdown_timeout`` a stop may take to close everything.
CLOSE_TIMEOUT = timedelta(seconds=10)


class Daemon:
    """The whole listener: ``start``, then any of ``reload``, ``ready``, ``drained``, then ``stop``."""

    def __init__(
        self,
        settings: Settings,
        *,
        drain: bool = False,
        lines_dropped: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """Opens nothing and starts nothing. Raises SettingsError for settings without a queue or a route.

        ``lines_dropped``: how many lines of each output stream were dropped, for the metrics.
        """
        settings.require_work()
        self._settings = settings
        self._drain = drain
        self.liveness = LivenessMonitor()
        self.metrics = Metrics(lines_dropped=lines_dropped, functions=FUNCTIONS.keys(), version=__version__)
        self._store_health = StoreHealth(self.metrics, call_limit=store_call_limit(settings.store.timeout))
        self._stopping = threading.Event()
        self._running: _Running | None = None

    # start

    def start(self) -> None:
        """Open everything, then start every loop; ``liveness.started`` becomes true once each loop has run once.

        If a step fails, everything that the steps before it opened is closed in reverse order, and its error is
        raised: SettingsError, StoreInUse, AddressInUse or StoreUnavailable.
        """
        _log_warnings(self._settings)
        with ExitStack() as undo:
            # 1. The lock on a SQLite file, then the port, before anything else: where this daemon is running already,
            #    neither its store nor the files of its handlers may be touched.
            lock = self._lock_store(undo)
            port, tokens = self._bind_port(undo), start_checks.read_tokens(self._settings)
            # 2. The handlers: a result must not be accepted before it is known that its handlers can be called.
            runner, handlers = self._load_handlers(undo)
            # 3. The store, with its schema migrated to this release.
            store = self._open_store(undo)
            # 4. Access keys and MPS clients: a file that cannot be read or a wrong endpoint stops the start, instead of
            #    failing jobs hours later.
            clients = start_checks.make_clients(self._settings, on_mps_request=self.metrics.mps_requested)
            # 5. Connect the parts. The endpoints of the queues are checked here; nothing is sent yet.
            parts = self._connect(handlers, store, clients)
            self._expect_series()
            # 6. The threads that run handlers and settle deliveries, before anything can hand them work.
            self._running = _Running(parts, handlers, runner, lock)
            undo.callback(_close_after_failure, self.stop)
            parts.dispatcher.start()
            # 7. The loops; pollers are last, since everything else has to be there for what they receive.
            parts.presence.announce()
            for loop in parts.loops:
                self._running.start_loop(loop)
            # 8. Health, metrics and the API: until here, there was nothing to report on. Requests have waited at the
            #    port.
            if port:
                self._running.serving = serving.serve(
                    self._settings, parts, port, clients=clients, tokens=tokens
                )
            undo.pop_all()

    def _lock_store(self, undo: ExitStack) -> DaemonLock | None:
        lock = start_checks.lock_store(self._settings)
        if lock:
            undo.callback(_close_after_failure, lock.release)
        return lock

    def _bind_port(self, undo: ExitStack) -> socket.socket | None:
        port = start_checks.bind_port(self._settings)
        if port:
            undo.callback(_close_after_failure, port.close)
        return port

    def _load_handlers(self, undo: ExitStack) -> tuple[CoroutineRunner, Handlers]:
        runner = CoroutineRunner()
        undo.callback(_close_after_failure, lambda: runner.close(timeout=COROUTINE_SHUTDOWN_TIMEOUT))
        handlers = start_checks.load_handlers(self._settings, runner)
        undo.callback(_close_after_failure, handlers.close)
        return runner, handlers

    def _open_store(self, undo: ExitStack) -> SqlStore:
        settings = self._settings.store
        store = SqlStore.open(settings.url, timeout=settings.timeout, observer=self._store_health)
        undo.callback(_close_after_failure, store.close)
        return store

    def _connect(self, handlers: Handlers, store: SqlStore, clients: TenantClients) -> Parts:
        resources = Resources(
            handlers=handlers,
            store=store,
            mps_of=clients.mps,
            keys={queue.tenant: clients.keys(queue.tenant) for queue in self._settings.queues},
        )
        return Wiring(
            settings=self._settings,
            resources=resources,
            stop=self._stopping,
            liveness=self.liveness,
            metrics=self.metrics,
            clock_guard=ClockGuard(on_jump=self.metrics.clock_jumped),
            store_health=self._store_health,
            drain=self._drain,
        ).parts()

    def _expect_series(self) -> None:
        """Show the series of all queues and handlers, so that an alert notices the first event of each."""
        self.metrics.expect(
            queues=[queue.label for queue in self._settings.queues],
            targets=[target for rule in self._settings.rules() for target in rule.targets],
        )

    # stop

    def stop(self) -> dict[str, int]:
        """Stop in order; returns how many handlers were ``unfinished``. Does nothing unless ``start`` succeeded.

        Takes ``stop_timeout`` at most. Raises StopTimedOut if something hangs; the process should end then.
        """
        running, self._running = self._running, None
        return {"unfinished": self._stop_in_order(running) if running else 0}

    @property
    def stop_timeout(self) -> timedelta:
        return self._settings.service.shutdown_timeout + CLOSE_TIMEOUT

    def _stop_in_order(self, running: _Running) -> int:
        now = clock.monotonic()
        deadline = now + self._settings.service.shutdown_timeout.total_seconds()
        steps = BoundedSteps(deadline=now + self.stop_timeout.total_seconds())
        database = running.parts.store.database
        # 1. Receive nothing more, and let every loop end: long polls under way are interrupted. A message whose delete
        #    has no answer by the end of the shutdown timeout is redelivered.
        self._stop_loops(running, deadline)
        # 2. Let handlers finish until the shutdown timeout is over. What has not begun goes back to pending.
        unfinished = running.parts.dispatcher.stop(_time_left(deadline))
        # 3. Close the handlers; this ends the child processes of those that did not finish.
        steps.run("handlers", running.handlers.close, limit=HANDLERS_CLOSE_TIMEOUT)
        # 4. Cancel coroutines that are still running.
        running.runner.close(timeout=COROUTINE_SHUTDOWN_TIMEOUT)
        # 5. Write the last outcomes; deliveries that did not finish go back to pending. Not before step 3, so that the
        #    child process of a handler has ended when another daemon may claim its delivery. Calls of the store that
        #    have no answer by the end of this step fail; this also ends loops that still wait for one.
        database.deadline.end_all(clock.monotonic() + SETTLE_TIMEOUT.total_seconds())
        steps.run("settler", running.parts.dispatcher.end, limit=CLOSE_TIMEOUT)
        # 6. Stop answering health checks, which have reported "stopping" so far.
        if running.serving:
            steps.run("http", running.serving.stop, limit=CLOSE_TIMEOUT)
        # 7. Wait for the other loops, whose calls of the store end with step 5 at the latest. Then close the store:
        #    everything that used it has ended by now, but for a reconciler whose call to MPS hangs, or a loop in a call
        #    of the store that cannot be cut short.
        steps.join(running.threads, limit=SETTLE_TIMEOUT + LOOPS_SHUTDOWN_TIMEOUT)
        for thread in running.may_hang:
            thread.join(min(LOOPS_SHUTDOWN_TIMEOUT, _time_left(deadline)).total_seconds())
        steps.run("store", running.parts.store.close, limit=CLOSE_TIMEOUT)
        steps.finish()
        # 8. Let another daemon use the store. Where a step hangs, the lock is held until the process ends.
        if running.lock:
            running.lock.release()
        return unfinished

    def _stop_loops(self, running: _Running, deadline: float) -> None:
        self._stopping.set()
        running.parts.dispatcher.wake()
        running.parts.wake_verifiers()
        running.parts.wake_submitters()
        running.parts.pull_waiting.close()
        for queue in tuple(running.parts.queues):  # extra pollers may still add theirs
            queue.interrupt()
        for thread in running.threads:
            thread.join(_time_left(deadline).total_seconds())
        for queue in tuple(running.parts.queues):
            queue.abort()

    # while it runs

    def describe(self) -> dict[str, Any]:
        """The fields of the first log line."""
        parts = self._started.parts
        return {
            "version": __version__,
            "store": parts.store.database.display_url,
            "queues": [group.name for group in parts.poller_groups],
            "routes": [route.name for route in self._settings.routes],
            "concurrency": self._settings.dispatch.concurrency,
            "http": self._settings.http.listen,
            "api": self._settings.http.serves_api,
        }

    def check_store(self) -> None:
        """Report a store that stands still; to be called now and then. Never waits."""
        self._store_health.check()

    def ready(self) -> Health:
        """What ``/readyz`` answers."""
        return self._started.parts.health.ready()

    def drained(self) -> bool:
        """Whether every queue was found empty and nothing is left to do.

        Never waits. Raises the last UnavailableError of a queue whose polls keep failing, or that of the store, and
        DrainIncomplete if only deliveries without a handler are left. False unless the daemon was made to ``drain``.
        """
        parts = self._started.parts
        drain = parts.drain
        for poller in (group.first for group in parts.poller_groups):
            if poller.failures >= DRAIN_FAILURES:
                raise poller.last_error or ListenerError(f"queue {poller.name}: polling fails; see the log")
        if drain is None:
            return False
        if drain.error is not None:
            raise drain.error
        if drain.drained and drain.left:
            raise DrainIncomplete({(to.route, to.handler): count for to, count in drain.left.items()})
        return drain.drained

    def reload(self, settings: Settings) -> list[str]:
        """Use the reloadable sections of these settings from now on; returns the changed sections that need a restart.

        Raises SettingsError, and then nothing has changed.
        """
        settings.require_work()
        running = self._started
        merged = apply_reloadable(self._settings, settings)
        handlers = running.handlers
        handlers.use(handlers.load(merged.routes))
        running.parts.dispatcher.use(
            handler_bindings(merged, handlers, running.parts.enricher), merged.retry.policy()
        )
        # Last, so that new routes get results only when their handlers can be called.
        running.parts.recorder.use(merged.rules(), merged.correlation_rules())
        self._settings = merged
        if running.serving:
            running.serving.use(merged)
        _log_warnings(merged)
        self._expect_series()
        return sections_needing_restart(merged, settings)

    @property
    def _started(self) -> _Running:
        if self._running is None:
            raise RuntimeError("the daemon is not running")
        return self._running


class _Running:
    """What there is between start and stop."""

    def __init__(
        self, parts: Parts, handlers: Handlers, runner: CoroutineRunner, lock: DaemonLock | None
    ) -> None:
        self.parts = parts
        self.handlers = handlers
        self.runner = runner
        self.lock = lock
        self.threads: list[threading.Thread] = []
        self.may_hang: list[threading.Thread] = []
        self.serving: Serving | None = None

    def start_loop(self, loop: Loop) -> None:
        thread = threading.Thread(target=loop.run, name=loop.name, daemon=True)
        thread.start()
        (self.may_hang if loop.may_hang else self.threads).append(thread)


def _log_warnings(settings: Settings) -> None:
    for warning in settings_warnings(settings):
        log.warning("settings.suspicious", warning=warning)


def _close_after_failure(close: Callable[[], object]) -> None:
    """The error that made the start fail is the one to raise; those of closing are only logged."""
    try:
        close()
    except Exception:  # logged only: it must not hide the error of the start
        log.exception("start.cleanup_failed")


def _time_left(deadline: float) -> timedelta:
    return timedelta(seconds=max(0.0, deadline - clock.monotonic()))
