"""Joins the parts into a daemon, starts them in order, and stops them in order."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from listener import __version__
from listener.aliyun.credentials import Credentials
from listener.aliyun.mns_connection import CONNECT_TIMEOUT, REPLY_TIMEOUT
from listener.aliyun.mns_queue import MnsQueue
from listener.aliyun.tenant_clients import TenantClients
from listener.core import clock
from listener.core.errors import ListenerError, StoreUnavailable
from listener.core.model import Delivery, JobResult, Target, Tenants
from listener.core.ports import Handler, HeartbeatSink
from listener.dispatch import handler_loader
from listener.dispatch.dispatcher import Dispatcher, HandlerBinding
from listener.dispatch.enricher import Enricher
from listener.dispatch.handler_loader import CoroutineRunner
from listener.intake.poller_group import PollerGroup
from listener.intake.recorder import Intake, Poller
from listener.jobs.reconciler import AWAY_BACKOFF, CLAIM, Reconciler, tenant_shards
from listener.runtime.liveness import Heartbeat, LivenessMonitor
from listener.runtime.log_throttle import ThrottledLog
from listener.runtime.metrics import Metrics
from listener.runtime.rate_limit import IntervalTimer
from listener.settings.sections import QueueSettings, RouteSettings, Settings
from listener.store.notifier import Notifier
from listener.store.pruner import Pruner
from listener.store.sql_store import SqlStore

if TYPE_CHECKING:
    from listener.http.app import Health
    from listener.http.server import Server

log = structlog.get_logger(__name__)

#: How often leases are tended, results whose grace is over decided, and so on.
HOUSEKEEPING = timedelta(seconds=1)
#: The share of the time that deleting old rows may take, while the queues are empty and while they are not.
IDLE_SHARE, BUSY_SHARE = 0.2, 0.05
#: How long to listen for other processes at a time: a stop waits for it.
NOTIFY_TURN = timedelta(milliseconds=300)
#: How often to look for waiting results of which other processes know.
OTHERS_WAITING = timedelta(seconds=3)
#: How long a loop may be silent beyond what it may have to wait for: a store that is locked, for example.
SLACK = timedelta(seconds=30)
#: In drain mode: how long an empty queue is given, and how many failures in a row are too many.
DRAIN_WAIT = timedelta(seconds=1)
DRAIN_FAILURES = 5
#: What a running process can't change about itself.
RESTART_SECTIONS = (
    "store",
    "mps",
    "credentials",
    "dispatch",
    "service",
    "http",
    "log",
    "queues",
    "tenants",
    "reconcile",
    "enrich",
)


class Handlers:
    """All handlers of the settings, built once and closed once."""

    def __init__(self, routes: tuple[RouteSettings, ...]) -> None:
        self._by_target: dict[Target, Handler] = {}
        for route in routes:
            for place, handler in enumerate(route.handlers):
                where = f"routes.{route.name}.handlers[{place}]"
                self._by_target[Target(route.name, handler.label)] = handler_loader.load(
                    handler.use, handler.options, where=where
                )

    def items(self) -> Mapping[Target, Handler]:
        return self._by_target

    def close(self, runner: CoroutineRunner) -> None:
        """Close all of them: children are ended, connections given back."""
        for target, handler in self._by_target.items():
            try:
                runner.close_handler(handler, timeout=timedelta(seconds=2))
            except Exception:  # one handler's trouble must not keep the others open
                log.exception("handler.close_failed", route=target.route, handler=target.handler)


class Daemon:
    """The whole listener. ``start``, then ``tick`` now and then, then ``stop``."""

    def __init__(self, settings: Settings, *, drain: bool = False) -> None:
        settings.require_work()
        self._settings = settings
        self._drain = drain
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._warnings = ThrottledLog(log)
        self.liveness = LivenessMonitor()
        self.metrics = Metrics()
        self._server = self._bound_server()
        self._handlers = Handlers(settings.routes)
        self._retired: list[Handlers] = []
        self._runner = CoroutineRunner()
        self._store = SqlStore.open(settings.store.url)
        self._pruner = Pruner(self._store.database, keep=settings.store.retention)
        # A lease that is renewed only just before its end is lost to any hiccup.
        self._lease_timer = IntervalTimer(settings.dispatch.lease / 4)
        self._waiting_timer = IntervalTimer(OTHERS_WAITING)
        self._clients = TenantClients(settings)
        for tenant in ("", *settings.tenants):
            self._clients.mps(tenant)  # a wrong endpoint stops the start, not a job hours later
        self._enricher = Enricher(
            store=self._store,
            mps_of=self._clients.mps,
            tenant_of=self._tenant_of,
            max_wait=settings.enrich.max_wait,
        )
        self._dispatcher = self._new_dispatcher()
        self._intake = Intake(
            store=self._store,
            rules=settings.rules(),
            correlation=settings.correlation.value(),
            sink=self._dispatcher,
        )
        self._reconcilers = {
            name: self._new_reconciler(tenants) for name, tenants in tenant_shards(settings.tenants).items()
        }
        self._queues: list[MnsQueue] = []
        self._crews = [self._new_crew(queue) for queue in settings.queues]

    # parts

    def _new_dispatcher(self) -> Dispatcher:
        settings = self._settings
        return Dispatcher(
            store=self._store,
            bindings=self._bindings(settings, self._handlers),
            fallback=settings.retry.policy(),
            meter=self.metrics,
            owner=owner_name(),
            concurrency=settings.dispatch.concurrency,
            # What no queue brought, but a query, is a lane of its own; where accounts are apart, it counts.
            queues=len(settings.queues) + bool(settings.tenants),
            lease=settings.dispatch.lease,
            handler_timeout=settings.dispatch.handler_timeout,
        )

    def _bindings(self, settings: Settings, handlers: Handlers) -> dict[Target, HandlerBinding]:
        policies = {rule.name: rule.retry for rule in settings.rules()}
        enriched = {route.name for route in settings.routes if route.enrich}
        return {
            target: HandlerBinding(
                run=self._runs(handler),
                policy=policies[target.route],
                enrich=self._enricher.enrich if target.route in enriched else None,
            )
            for target, handler in handlers.items().items()
        }

    def _tenant_of(self, delivery: Delivery) -> str:
        """The job's, or that of the queue which brought the result."""
        if delivery.job:
            return delivery.job.tenant
        return next((queue.tenant for queue in self._settings.queues if queue.label == delivery.queue), "")

    def _new_reconciler(self, tenants: Tenants) -> Reconciler:
        return Reconciler(
            store=self._store,
            intake=self._intake,
            mps_of=self._clients.mps,
            backoff=self._settings.reconcile.backoff(),
            timeout=self._settings.reconcile.timeout,
            tenants=tenants,
            stop=self._stop,
        )

    def _runs(self, handler: Handler) -> Callable[[JobResult], None]:
        timeout = self._settings.dispatch.handler_timeout
        return lambda result: self._runner.run(handler, result, timeout=timeout)

    def _new_crew(self, settings: QueueSettings) -> PollerGroup:
        wait = DRAIN_WAIT if self._drain else settings.wait
        limit = wait + CONNECT_TIMEOUT + REPLY_TIMEOUT + SLACK
        return PollerGroup(
            first=self._new_poller(
                settings, wait, self.liveness.heartbeat(f"poll {settings.label}", limit=limit)
            ),
            helper=lambda: self._new_poller(settings, timedelta(0), Heartbeat(limit)),
            most=settings.max_pollers,
        )

    def _new_poller(self, settings: QueueSettings, wait: timedelta, heartbeat: HeartbeatSink) -> Poller:
        queue = _queue(settings, self._clients.keys(settings.tenant))
        self._queues.append(queue)
        return Poller(
            queue=queue,
            intake=self._intake,
            stop=self._stop,
            meter=self.metrics,
            heartbeat=heartbeat,
            wait=wait,
            batch=settings.batch,
        )

    def _bound_server(self) -> Server | None:
        """Bound before anything else runs, so that a taken port stops the start."""
        if not self._settings.http.listen:
            return None
        from listener.http.app import application
        from listener.http.server import Server, bind

        app = application(alive=self.alive, ready=self.ready, metrics=self._exposition)
        return Server(app, bind(self._settings.http.listen))

    # starting

    def start(self) -> None:
        """Start every loop; ``liveness.started`` becomes true once each of them has turned."""
        self._dispatcher.start()
        claims = self.liveness.heartbeat("claim", limit=SLACK)
        self._start_thread("claims", lambda: self._dispatcher.run_claims(self._stop, claims))
        keeping = self.liveness.heartbeat("housekeeping", limit=SLACK)
        self._start_thread("housekeeping", lambda: self._run_housekeeping(keeping))
        if self._settings.store.retention:
            deleting = self.liveness.heartbeat("retention", limit=SLACK)
            self._start_thread("retention", lambda: self._run_pruner(deleting))
        for name, reconciler in self._reconcilers.items():
            self._start_reconciler(name, reconciler)
        if self._store.database.is_postgres:
            self._start_thread("news", self._run_notifier)
        for crew in self._crews:
            self._start_thread("poller", crew.run)
        if self._server:
            self._server.start()

    def _start_reconciler(self, name: str, reconciler: Reconciler) -> None:
        """Not among the threads that a stop waits for: a call to an MPS that hangs must not use up the handlers'
        grace, and a job that was being asked about is asked about again."""
        interval = self._settings.reconcile.interval
        heartbeat = self.liveness.heartbeat(
            f"reconcile {name}".strip(), limit=CLAIM + max(interval, AWAY_BACKOFF.maximum)
        )
        run = partial(reconciler.run, heartbeat, interval=interval)
        threading.Thread(target=run, name="reconcile", daemon=True).start()

    def describe(self) -> dict[str, Any]:
        """What this daemon is about, for its first log line."""
        return {
            "version": __version__,
            "store": self._store.database.display_url,
            "queues": [crew.name for crew in self._crews],
            "routes": [route.name for route in self._settings.routes],
            "concurrency": self._settings.dispatch.concurrency,
            "http": self._settings.http.listen,
        }

    def _start_thread(self, name: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    # running

    def _wait(self, limit: timedelta) -> bool:
        """Whether to stop, after at most this long."""
        return self._stop.wait(limit.total_seconds())

    def _run_notifier(self) -> None:
        """Claim at once what other processes write. Without this, it would be found within a second."""
        with closing(Notifier(self._store.database)) as notifier:
            while not self._stop.is_set():
                try:
                    if notifier.wait(NOTIFY_TURN):
                        self._dispatcher.wake()
                except StoreUnavailable as error:
                    self._warnings.warning("store.unavailable", doing="listen", error=str(error))
                    self._wait(HOUSEKEEPING)

    def _run_housekeeping(self, heartbeat: HeartbeatSink) -> None:
        while not self._stop.is_set():
            heartbeat.beat()
            self.housekeep()
            self._stop.wait(min(HOUSEKEEPING, self._settings.dispatch.lease / 4).total_seconds())

    def housekeep(self) -> None:
        """One turn of what must be done from time to time."""
        for queue in tuple(self._queues):
            queue.expire()
        if self._lease_timer.due():
            self._dispatcher.maintain_leases()
        try:
            if self._intake.has_waiting or self._waiting_timer.due():
                self._intake.decide_waiting()
        except StoreUnavailable as error:
            self._warnings.warning("store.unavailable", doing="housekeeping", error=str(error))
        except Exception:  # a defect of ours must not end the loop
            log.exception("housekeeping.crashed")

    def _run_pruner(self, heartbeat: HeartbeatSink) -> None:
        """Delete what is old, in small steps with pauses between them: nobody is to notice."""
        while not self._stop.is_set():
            heartbeat.beat()
            self._wait(self.clean())

    def clean(self) -> timedelta:
        """One step; returns how long to leave the store to others after it."""
        began = clock.monotonic()
        try:
            self._pruner.step(clock.now())
        except StoreUnavailable as error:
            self._warnings.warning("store.unavailable", doing="delete what is old", error=str(error))
            return HOUSEKEEPING
        except Exception:  # a defect of ours must not end the loop
            log.exception("retention.crashed")
            return HOUSEKEEPING
        if self._pruner.resting:
            return HOUSEKEEPING
        share = IDLE_SHARE if all(crew.idle for crew in self._crews) else BUSY_SHARE
        # What was waited for the store counts, too: it is not to count for long.
        return min(timedelta(seconds=(clock.monotonic() - began) / share), HOUSEKEEPING)

    def alive(self) -> Health:
        from listener.http.app import Health

        stalled = self.liveness.stalled()
        return Health(ok=not stalled, details={"stalled": list(stalled)})

    def ready(self) -> Health:
        from listener.http.app import Health

        details: dict[str, Any] = {
            "started": self.liveness.started,
            "stopping": self._stop.is_set(),
            "stalled": list(self.liveness.stalled()),
            "queues": {
                crew.name: str(crew.first.trouble) if crew.first.trouble else "ok" for crew in self._crews
            },
            "store": self._store_state(),
        }
        ok = (
            details["started"]
            and not details["stopping"]
            and not details["stalled"]
            and details["store"] == "ok"
        )
        return Health(ok=bool(ok), details=details)

    def _exposition(self) -> bytes:
        self.metrics.ready(self.ready().ok)
        return self.metrics.exposition()

    def _store_state(self) -> str:
        try:
            self._store.next_due()
        except StoreUnavailable as error:
            return str(error)
        return "ok"

    def drained(self) -> bool:
        """Whether every queue was found empty and nothing is left to do.

        Raises the last UnavailableError of a queue that can't be reached again and again.
        """
        for poller in (crew.first for crew in self._crews):
            if poller.failures >= DRAIN_FAILURES:
                raise poller.trouble or ListenerError(f"queue {poller.name}: polling fails; see the log")
        return all(crew.idle for crew in self._crews) and not self._store.outstanding()

    # reloading

    def reload(self, settings: Settings) -> list[str]:
        """Use these routes, retries and correlation from now on; returns the sections that need a restart.

        Raises SettingsError, and then everything stays as it was.
        """
        settings.require_work()
        handlers = Handlers(settings.routes)
        self._retired.append(self._handlers)  # what they are running goes on; they are closed at the end
        before, self._settings, self._handlers = self._settings, settings, handlers
        self._intake.use(settings.rules(), settings.correlation.value())
        self._dispatcher.use(self._bindings(settings, handlers), settings.retry.policy())
        return [name for name in RESTART_SECTIONS if getattr(before, name) != getattr(settings, name)]

    # stopping

    def stop(self) -> dict[str, int]:
        """Stop receiving; let handlers finish within the grace; give back the rest; close. Returns counts."""
        deadline = clock.monotonic() + self._settings.service.shutdown_timeout.total_seconds()
        self._stop_loops(deadline)
        unfinished = self._dispatcher.stop(_left(deadline))
        for handlers in (*self._retired, self._handlers):
            handlers.close(self._runner)
        self._runner.close(grace=timedelta(seconds=1))
        self._dispatcher.end()
        if self._server:
            self._server.stop()
        self._store.close()
        return {"unfinished": unfinished}

    def _stop_loops(self, deadline: float) -> None:
        self._stop.set()
        self._dispatcher.wake()
        for queue in tuple(self._queues):
            queue.interrupt()
        for thread in self._threads:
            thread.join(_left(deadline).total_seconds())


def check_queue(settings: QueueSettings, keys: Credentials) -> str:
    """What a look at the queue shows. Raises UnavailableError or SettingsError."""
    queue = _queue(settings, keys)
    try:
        return queue.probe()
    finally:
        queue.close()


def _queue(settings: QueueSettings, keys: Credentials) -> MnsQueue:
    return MnsQueue(endpoint=settings.endpoint, queue=settings.queue, name=settings.label, credentials=keys)


def owner_name() -> str:
    """Names this process for leases; never the same twice."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def _left(deadline: float) -> timedelta:
    return timedelta(seconds=max(0.0, deadline - clock.monotonic()))
