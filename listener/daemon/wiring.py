"""Builds the parts of a daemon and connects them. Does no I/O: what has to be opened is given as ``Resources``.

::

    pollers ──▶ Recorder ──▶ store ──▶ Dispatcher ──▶ Enricher ──▶ handlers
                  ▲            ▲
      reconcilers, verifiers   submitters
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property, partial

from listener import __version__
from listener.aliyun.credentials import Credentials
from listener.aliyun.mns_queue import MnsQueue, queue_from
from listener.core import clock
from listener.core.model import Delivery, Target, Tenants
from listener.core.ports import HeartbeatSink, JobSubmitter, MpsOf
from listener.daemon.gauge_values import GaugeValues
from listener.daemon.health import (
    STORE_LOOP_STALLED_AFTER,
    SUBMITTER_STALLED_AFTER,
    VERIFIER_STALLED_AFTER,
    HealthChecks,
    poller_stalled_after,
    reconciler_stalled_after,
)
from listener.daemon.maintenance import DrainLoop, Housekeeping, NotifierLoop, Presence, PrunerLoop
from listener.daemon.statistics_loop import StatisticsLoop
from listener.dispatch.attempt import HandlerBinding
from listener.dispatch.dispatcher import Dispatcher
from listener.dispatch.enricher import Enricher
from listener.dispatch.handlers import Handlers
from listener.dispatch.lease_keeper import CallTimeouts
from listener.dispatch.pull import Pull
from listener.dispatch.pull_waiting import PullWaiting
from listener.dispatch.unused_offers import UnusedOffers
from listener.intake.poller import Poller
from listener.intake.poller_group import PollerGroup
from listener.intake.recorder import Recorder
from listener.jobs.reconciler import CLAIM_DURATION, Reconciler, tenant_shards
from listener.jobs.submitter import Submitter
from listener.jobs.unserved_tenants import UnservedTenants
from listener.jobs.verifier import Verifier
from listener.runtime.broadcast import Broadcast
from listener.runtime.clock_guard import ClockGuard
from listener.runtime.lease_owner import host_name, owner_name
from listener.runtime.liveness import Heartbeat, LivenessMonitor
from listener.runtime.metrics import Metrics
from listener.runtime.store_health import StoreHealth
from listener.settings.sections import QueueSettings, Settings
from listener.store.daemons import Daemons, RunningDaemon
from listener.store.notifier import Notifier
from listener.store.pruner import Pruner
from listener.store.sql_store import SqlStore
from listener.store.statistics import Statistics

#: The long poll in drain mode: how long an empty queue is given to bring another message.
DRAIN_WAIT = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What ``Daemon.start`` has opened for the parts to use."""

    handlers: Handlers
    store: SqlStore
    mps_of: MpsOf
    keys: Mapping[str, Credentials]  #: the access keys of queues, by tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """What one thread of the daemon does until the stop event is set."""

    name: str
    run: Callable[[], None]
    may_hang: bool = False  #: in a call that a stop cannot interrupt: a stop waits for it last, and briefly


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The connected parts of a daemon."""

    store: SqlStore
    recorder: Recorder
    enricher: Enricher
    dispatcher: Dispatcher
    pull: Pull
    pull_waiting: PullWaiting
    poller_groups: Sequence[PollerGroup]
    queues: Sequence[MnsQueue]  #: one for each poller; grows when extra pollers are made
    health: HealthChecks
    statistics: StatisticsLoop
    presence: Presence
    drain: DrainLoop | None  #: in drain mode
    loops: Sequence[Loop]
    wake_verifiers: Callable[[], None]
    wake_submitters: Callable[[], None]
    recorded: Broadcast  #: notifies after each transaction of the recorder


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """Builds the parts, each in one method."""

    settings: Settings
    resources: Resources
    stop: threading.Event
    liveness: LivenessMonitor
    metrics: Metrics
    clock_guard: ClockGuard
    store_health: StoreHealth
    drain: bool = False
    _queues: list[MnsQueue] = field(default_factory=list, init=False)
    _verifiers_woken: dict[str, threading.Event] = field(default_factory=dict, init=False)  #: by tenant
    _submitters_woken: dict[str, threading.Event] = field(default_factory=dict, init=False)  #: by tenant
    _pull_waiting: list[PullWaiting] = field(default_factory=list, init=False)
    _owner: str = field(default_factory=owner_name, init=False)
    _recorded: Broadcast = field(default_factory=Broadcast, init=False)

    def parts(self) -> Parts:
        """Raises SettingsError for the endpoint of a queue that cannot be used."""
        enricher = self._enricher()
        dispatcher = self._dispatcher(enricher)
        pull = self._pull(dispatcher)
        self._pull_waiting.append(PullWaiting(pull))
        recorder = self._recorder(dispatcher)
        poller_groups = [self._poller_group(queue, recorder) for queue in self.settings.queues]
        drain = self._drain_loop(poller_groups, dispatcher) if self.drain else None
        return Parts(
            store=self.resources.store,
            recorder=recorder,
            enricher=enricher,
            dispatcher=dispatcher,
            pull=pull,
            pull_waiting=self._pull_waiting[0],
            poller_groups=poller_groups,
            queues=self._queues,
            health=self._health(poller_groups, dispatcher),
            statistics=self._statistics,
            presence=self._presence,
            drain=drain,
            loops=list(self._loops(dispatcher, recorder, poller_groups, drain)),
            wake_verifiers=self._wake_verifiers,
            wake_submitters=self._wake_submitters,
            recorded=self._recorded,
        )

    def _enricher(self) -> Enricher:
        return Enricher(
            store=self.resources.store,
            mps_of=self.resources.mps_of,
            tenant_of=self._tenant_of,
            max_wait=self.settings.enrich.max_wait,
            clock_check=self.clock_guard,
        )

    def _tenant_of(self, delivery: Delivery) -> str:
        return self.settings.tenant_of(delivery.job, delivery.queue)

    def _dispatcher(self, enricher: Enricher) -> Dispatcher:
        settings = self.settings
        return Dispatcher(
            store=self.resources.store,
            bindings=handler_bindings(settings, self.resources.handlers, enricher),
            fallback=settings.retry.policy(),
            meter=self.metrics,
            clock_check=self.clock_guard,
            owner=self._owner,
            concurrency=settings.dispatch.concurrency,
            # Results of queries come from no queue. With tenants, they count as one more queue for fair shares.
            queues=len(settings.queues) + bool(settings.tenants),
            lease=settings.dispatch.lease,
            timeouts=CallTimeouts(
                handler=settings.dispatch.handler_timeout, overrun=settings.dispatch.overrun_timeout
            ),
            no_handler_timeout=settings.dispatch.no_handler_timeout,
            may_run_elsewhere=self._may_run_elsewhere,
            on_offered=self._wake_applications,
            make_heartbeat=self._heartbeat,
        )

    def _pull(self, dispatcher: Dispatcher) -> Pull:
        return Pull(
            store=self.resources.store,
            handlers=lambda: self.resources.handlers.pulled,
            policy=dispatcher.policy,
            lease_time=dispatcher.lease_time,
            meter=self.metrics,
            daemon=self._owner,
            on_offered=self._wake_applications,
        )

    def _wake_applications(self, targets: Set[Target]) -> None:
        for waiting in self._pull_waiting:
            waiting.wake(targets)

    def _may_run_elsewhere(self, target: Target) -> bool:
        running = Daemons(self.resources.store.database).running(clock.now())
        return any(daemon.may_have(target) for daemon in running)

    def _recorder(self, dispatcher: Dispatcher) -> Recorder:
        return Recorder(
            store=self.resources.store,
            rules=self.settings.rules(),
            correlation=self.settings.correlation_rules(),
            sink=dispatcher,
            on_unverified=self._wake_verifiers,
            on_decided=self.metrics.decided,
            on_recorded=self._recorded.notify,
            on_ended=self.metrics.ended,
        )

    def _wake_verifiers(self) -> None:
        for event in self._verifiers_woken.values():
            event.set()

    def _wake_submitters(self) -> None:
        for event in self._submitters_woken.values():
            event.set()

    def _poller_group(self, settings: QueueSettings, recorder: Recorder) -> PollerGroup:
        wait = DRAIN_WAIT if self.drain else settings.wait
        heartbeat = self.liveness.heartbeat(f"poll {settings.label}", limit=poller_stalled_after(wait))
        return PollerGroup(
            first=self._poller(settings, recorder, wait=wait, heartbeat=heartbeat),
            make_extra=lambda: self._extra_poller(settings, recorder),
            max_pollers=settings.max_pollers,
        )

    def _extra_poller(self, settings: QueueSettings, recorder: Recorder) -> Poller:
        name = f"poll {settings.label} extra {len(self._queues)}"
        heartbeat = self.liveness.heartbeat(name, limit=poller_stalled_after(timedelta(0)))
        heartbeat.pause()  # until it is needed
        return self._poller(settings, recorder, wait=timedelta(0), heartbeat=heartbeat)

    def _poller(
        self, settings: QueueSettings, recorder: Recorder, *, wait: timedelta, heartbeat: HeartbeatSink
    ) -> Poller:
        queue = queue_from(
            settings,
            self.resources.keys[settings.tenant],
            on_date=self.clock_guard.confirm,
            on_request=self.metrics.mns_requested,
        )
        self._queues.append(queue)
        return Poller(
            queue=queue,
            recorder=recorder,
            stop=self.stop,
            meter=self.metrics,
            heartbeat=heartbeat,
            wait=wait,
            batch=settings.batch,
        )

    def _health(self, poller_groups: Sequence[PollerGroup], dispatcher: Dispatcher) -> HealthChecks:
        return HealthChecks(
            daemon=self._owner,
            liveness=self.liveness,
            metrics=self.metrics,
            gauges=GaugeValues(
                self.metrics.gauges,
                poller_groups=poller_groups,
                dispatcher=dispatcher,
                statistics=self._statistics,
                keys=self.resources.keys,
            ),
            poller_groups=poller_groups,
            store=self.store_health,
            stopping=self.stop,
        )

    @cached_property
    def _statistics(self) -> StatisticsLoop:
        statistics = Statistics(self.resources.store.database)
        return StatisticsLoop(
            statistics.totals,
            stop=self.stop,
            read_activity=statistics.activity if self.settings.http.serves_api else None,
        )

    def _drain_loop(self, poller_groups: Sequence[PollerGroup], dispatcher: Dispatcher) -> DrainLoop:
        return DrainLoop(
            idle=lambda: all(group.idle for group in poller_groups),
            backlog=self.resources.store,
            has_handler=dispatcher.has_handler,
            stop=self.stop,
        )

    def _unused_offers(self, dispatcher: Dispatcher) -> UnusedOffers:
        return UnusedOffers(
            store=self.resources.store,
            is_pulled=lambda target: target in self.resources.handlers.pulled,
            has_handler=dispatcher.has_handler,
            may_run_elsewhere=self._may_run_elsewhere,
        )

    def _unserved_tenants(self) -> UnservedTenants:
        return UnservedTenants(
            store=self.resources.store,
            served=self.settings.tenants_with_mps,
            clock_check=self.clock_guard,
        )

    def _loops(
        self,
        dispatcher: Dispatcher,
        recorder: Recorder,
        poller_groups: Sequence[PollerGroup],
        drain: DrainLoop | None,
    ) -> Iterator[Loop]:
        """Every loop of the daemon, in the order in which they are started."""
        yield Loop(name="claims", run=partial(dispatcher.run_claims, self.stop, self._heartbeat("claim")))
        yield self._housekeeping(dispatcher, recorder)
        yield Loop(name="statistics", run=partial(self._statistics.run, self._heartbeat("statistics")))
        if self.settings.store.retention:
            yield self._pruner(poller_groups)
        for tenant, jobs in tenant_shards(self.settings.tenants).items():
            yield self._reconciler(tenant, jobs, recorder)
            yield self._verifier(tenant, recorder)
        for tenant in self.settings.tenants_with_mps:
            if mps := self.resources.mps_of(tenant):
                yield self._submitter(tenant, mps)
        if self.resources.store.database.is_postgres:
            yield self._notifier(dispatcher)
        for group in poller_groups:
            yield Loop(name="poller", run=group.run)
        if drain:
            yield Loop(name="drain", run=partial(drain.run, self._heartbeat("drain")))

    def _housekeeping(self, dispatcher: Dispatcher, recorder: Recorder) -> Loop:
        housekeeping = Housekeeping(
            dispatcher=dispatcher,
            recorder=recorder,
            store=self.resources.store,
            store_health=self.store_health,
            presence=self._presence,
            unused_offers=self._unused_offers(dispatcher),
            unserved_tenants=self._unserved_tenants(),
            lease=self.settings.dispatch.lease,
            longest_query_wait=max(self.settings.reconcile.max_backoff, CLAIM_DURATION),
            clock_guard=self.clock_guard,
            stop=self.stop,
        )
        return Loop(name="housekeeping", run=partial(housekeeping.run, self._heartbeat("housekeeping")))

    @cached_property
    def _presence(self) -> Presence:
        now = clock.now()
        daemon = RunningDaemon(
            owner=self._owner,
            host=host_name(),
            version=__version__,
            queues=tuple(queue.label for queue in self.settings.queues),
            tenants=tuple(self.settings.tenants_with_mps),
            started_at=now,
            seen_at=now,
        )
        return Presence(
            Daemons(self.resources.store.database), daemon, targets=lambda: self.resources.handlers.targets
        )

    def _pruner(self, poller_groups: Sequence[PollerGroup]) -> Loop:
        pruner = PrunerLoop(
            Pruner(self.resources.store.database, keep=self.settings.store.retention),
            idle=lambda: all(group.idle for group in poller_groups),
            clock_check=self.clock_guard,
            stop=self.stop,
        )
        return Loop(name="prune", run=partial(pruner.run, self._heartbeat("prune")))

    def _reconciler(self, tenant: str, jobs: Tenants, recorder: Recorder) -> Loop:
        interval = self.settings.reconcile.interval
        reconciler = Reconciler(
            store=self.resources.store,
            recorder=recorder,
            mps_of=self.resources.mps_of,
            backoff=self.settings.reconcile.backoff(),
            timeout=self.settings.reconcile.timeout,
            clock_check=self.clock_guard,
            tenants=jobs,
            stop=self.stop,
        )
        heartbeat = self.liveness.heartbeat(
            f"reconcile {tenant}".strip(), limit=reconciler_stalled_after(interval)
        )
        # A call to MPS that hangs must not use up the time that handlers have to finish, and a job whose query was cut
        # off is queried again.
        return Loop(
            name="reconcile", run=partial(reconciler.run, heartbeat, interval=interval), may_hang=True
        )

    def _verifier(self, tenant: str, recorder: Recorder) -> Loop:
        settings = self.settings
        woken = self._verifiers_woken[tenant] = threading.Event()
        verifier = Verifier(
            store=self.resources.store,
            recorder=recorder,
            mps_of=self.resources.mps_of,
            tenant_of=settings.tenant_of,
            takes=lambda queue: settings.tenant_of(None, queue) == tenant,
            max_wait=settings.enrich.max_wait,
            clock_check=self.clock_guard,
            meter=self.metrics,
            woken=woken,
            stop=self.stop,
        )
        heartbeat = self.liveness.heartbeat(f"verify {tenant}".strip(), limit=VERIFIER_STALLED_AFTER)
        # A call to MPS that hangs must not use up the time that handlers have to finish.
        return Loop(name="verify", run=partial(verifier.run, heartbeat), may_hang=True)

    def _submitter(self, tenant: str, mps: JobSubmitter) -> Loop:
        woken = self._submitters_woken[tenant] = threading.Event()
        submitter = Submitter(
            store=self.resources.store,
            mps=mps,
            tenant=tenant,
            rate_limit=self.settings.tenant(tenant).mps.rate_limit,
            woken=woken,
            stop=self.stop,
        )
        heartbeat = self.liveness.heartbeat(f"submit {tenant}".strip(), limit=SUBMITTER_STALLED_AFTER)
        # A call to MPS that hangs must not use up the time that handlers have to finish.
        return Loop(name="submit", run=partial(submitter.run, heartbeat), may_hang=True)

    def _notifier(self, dispatcher: Dispatcher) -> Loop:
        notifier = NotifierLoop(
            Notifier(self.resources.store.database), notify=dispatcher.wake, stop=self.stop
        )
        return Loop(name="notifier", run=partial(notifier.run, self._heartbeat("notifier")))

    def _heartbeat(self, name: str) -> Heartbeat:
        return self.liveness.heartbeat(name, limit=STORE_LOOP_STALLED_AFTER)


def handler_bindings(
    settings: Settings, handlers: Handlers, enricher: Enricher
) -> dict[Target, HandlerBinding]:
    """Each handler with the retry policy of its route, and with the enricher where the route enables it and MPS can be
    asked."""
    policies = {rule.name: rule.retry for rule in settings.rules()}
    enriched = {route.name for route in settings.routes if route.enrich and settings.tenants_with_mps}
    return {
        target: HandlerBinding(
            run=handlers.bind(target),
            policy=policies[target.route],
            enrich=enricher.enrich if target.route in enriched else None,
        )
        for target in handlers.targets
    }
