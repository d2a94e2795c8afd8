"""The daemon's own loops: leases, waiting results, deletion of old rows, and notifications from other processes.

One turn of a loop is a method; ``run`` only repeats it until the stop event is set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta

from listener.core import clock
from listener.core.errors import StoreUnavailable
from listener.core.logger import get_logger
from listener.core.model import Target
from listener.core.ports import Backlog, ClockCheck, HeartbeatSink, MaintenanceStore
from listener.dispatch.dispatcher import Dispatcher
from listener.dispatch.lease_keeper import renewal_interval
from listener.dispatch.unused_offers import UnusedOffers
from listener.intake.recorder import Recorder
from listener.jobs.unserved_tenants import UnservedTenants
from listener.runtime.clock_guard import ClockGuard
from listener.runtime.rate_limit import IntervalTimer
from listener.runtime.store_health import StoreHealth
from listener.store.daemons import REPORT_INTERVAL, Daemons, RunningDaemon
from listener.store.notifier import Notifier
from listener.store.pruner import Pruner

log = get_logger(__name__)

#: The longest pause between two turns of housekeeping, and between two deletions of old rows.
HOUSEKEEPING_INTERVAL = timedelta(seconds=1)
#: How often to decide about waiting results that other processes recorded.
FOREIGN_WAITING_INTERVAL = timedelta(seconds=3)
#: The fraction of the time that deleting old rows may take: while the queues are empty, and while they are not.
#: ROWS_PER_STEP and PASS_INTERVAL, the size of a step and the pause between two passes, are in ``store/pruner.py``.
PRUNE_FRACTION_IDLE, PRUNE_FRACTION_BUSY = 0.2, 0.05
#: How often to look whether a drain is complete.
DRAIN_INTERVAL = timedelta(milliseconds=100)
#: How long to wait for one notification. A stop waits for it.
NOTIFIER_WAIT = timedelta(milliseconds=300)


class Presence:
    """Tells the store that this daemon runs, so that commands and other replicas know."""

    def __init__(
        self, daemons: Daemons, daemon: RunningDaemon, *, targets: Callable[[], Sequence[Target]]
    ) -> None:
        """``targets``: what it has handlers for at the moment."""
        self._daemons = daemons
        self._daemon = daemon
        self._targets = targets
        self._timer = IntervalTimer(REPORT_INTERVAL)

    def report_if_due(self) -> None:
        """Raises StoreUnavailable."""
        if self._timer.due():
            self._daemons.report(replace(self._daemon, seen_at=clock.now(), targets=tuple(self._targets())))

    def announce(self) -> None:
        """At the start, so that whoever sees the daemon at work also finds it in the store."""
        with suppress(StoreUnavailable):  # logged by the store's observer, and repeated later
            self.report_if_due()

    def sign_off(self) -> None:
        """At a stop. An unavailable store does not matter: the daemon stops being reported all the same."""
        with suppress(StoreUnavailable):  # logged by the store's observer
            self._daemons.sign_off(self._daemon.owner, at=clock.now())


class Housekeeping:
    """Watches the clock, maintains leases, decides about waiting results, finds out when an outage of the store
    is over, reports that this daemon runs, and how large floods of lines were.
    """

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        recorder: Recorder,
        store: MaintenanceStore,
        store_health: StoreHealth,
        presence: Presence,
        unused_offers: UnusedOffers,
        unserved_tenants: UnservedTenants,
        lease: timedelta,
        longest_query_wait: timedelta,
        clock_guard: ClockGuard,
        stop: threading.Event,
    ) -> None:
        self._store = store
        self._longest_query_wait = longest_query_wait
        self._clock_guard = clock_guard
        #: After how many steps back of the clock rows were rescheduled; not yet at the start.
        self._steps_back = -1
        self._dispatcher = dispatcher
        self._recorder = recorder
        self._store_health = store_health
        self._presence = presence
        self._unused_offers = unused_offers
        self._unserved_tenants = unserved_tenants
        self._stop = stop
        renewal = renewal_interval(lease)
        self._pause = min(HOUSEKEEPING_INTERVAL, renewal)
        self._lease_timer = IntervalTimer(renewal)
        self._foreign_timer = IntervalTimer(FOREIGN_WAITING_INTERVAL)
        # What the other daemons report is as recent.
        self._offers_timer = IntervalTimer(REPORT_INTERVAL)
        self._tenants_timer = IntervalTimer(REPORT_INTERVAL)
        self._more_waiting = False  #: whether the last decisions left waiting results that were due as well

    def run(self, heartbeat: HeartbeatSink) -> None:
        while not self._stop.is_set():
            heartbeat.beat()
            if not self.turn():
                self._stop.wait(self._pause.total_seconds())
        self._presence.sign_off()

    def turn(self) -> bool:
        """Do what is due; returns whether more waiting results are due already. Never raises."""
        steps = (
            self._clock_guard.watch,
            self._correct_past,  # first: a process that starts now takes those rows for as old as they seem
            self._maintain,
            self._probe_store,
            self._presence.report_if_due,
            self._withdraw_unused,
            self._look_for_unserved,
            self._recorder.report_counts,
        )
        succeeded = [self._succeeds(step) for step in steps]
        return all(succeeded) and self._more_waiting

    def _succeeds(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except StoreUnavailable:
            return False  # logged by the store's observer
        except Exception:  # a bug in mns-listener must not end the loop
            log.exception("housekeeping.crashed")
            return False
        return True

    def _maintain(self) -> None:
        if self._lease_timer.due():
            self._dispatcher.maintain_leases()
        if self._more_waiting or self._recorder.has_waiting or self._foreign_timer.due():
            sure = self._clock_guard.confirmed or self._clock_guard.cannot_be_confirmed
            self._more_waiting = self._recorder.decide_waiting(only_known=not sure)
        if self._steps_back != self._clock_guard.steps_back:
            self._reschedule()

    def _probe_store(self) -> None:
        if fault := self._store_health.fault:
            self._store.probe_write()
            self._store_health.recovered(fault)

    def _reschedule(self) -> None:
        """At the start, and after each step back: the clock may have been ahead when the rows were written."""
        steps_back = self._clock_guard.steps_back
        changed = self._store.reschedule_future(at=clock.now(), longest_query_wait=self._longest_query_wait)
        self._steps_back = steps_back
        if changed:
            log.warning("clock.rows_rescheduled", count=changed)
            self._dispatcher.wake()

    def _correct_past(self) -> None:
        """The clock was behind when some rows were written, perhaps before this process started."""
        if not self._clock_guard.knows_past:
            self._clock_guard.learn(self._store.newest_times())
        for lag in self._clock_guard.lags_to_correct():
            changed = self._store.correct_past(lag)
            self._clock_guard.corrected(lag)
            if changed:
                log.warning("clock.rows_corrected", count=changed, seconds=round(lag.by.total_seconds(), 1))

    def _withdraw_unused(self) -> None:
        if self._stop.is_set():  # the handlers may be closed already: nothing would seem to be pulled
            return
        if self._offers_timer.due() and self._unused_offers.withdraw():
            self._dispatcher.wake()

    def _look_for_unserved(self) -> None:
        if self._tenants_timer.due():
            self._unserved_tenants.turn()


class PrunerLoop:
    """Deletes old rows in small steps, with pauses in which others can use the store."""

    def __init__(
        self, pruner: Pruner, *, idle: Callable[[], bool], clock_check: ClockCheck, stop: threading.Event
    ) -> None:
        """``idle`` tells whether all queues are empty: then there is more time for it."""
        self._pruner = pruner
        self._clock_check = clock_check
        self._idle = idle
        self._stop = stop

    def run(self, heartbeat: HeartbeatSink) -> None:
        while not self._stop.is_set():
            heartbeat.beat()
            self._stop.wait(self.turn().total_seconds())

    def turn(self) -> timedelta:
        """Delete a few rows; returns how long to pause after that. Never raises.

        Nothing is deleted unless the clock is known to be right: with a clock that is ahead, everything looks old.
        """
        now = clock.now()  # before the clock is confirmed, so that it is also known to have been right here
        if not self._clock_check.confirmed:
            return HOUSEKEEPING_INTERVAL
        began = clock.monotonic()
        try:
            self._pruner.step(now)
        except StoreUnavailable:  # logged by the store's observer
            return HOUSEKEEPING_INTERVAL
        except Exception:  # a bug in mns-listener must not end the loop
            log.exception("prune.crashed")
            return HOUSEKEEPING_INTERVAL
        if self._pruner.paused:
            return HOUSEKEEPING_INTERVAL
        fraction = PRUNE_FRACTION_IDLE if self._idle() else PRUNE_FRACTION_BUSY
        # The time includes waiting for the store, which must not make the pause arbitrarily long.
        return min(timedelta(seconds=(clock.monotonic() - began) / fraction), HOUSEKEEPING_INTERVAL)


class NotifierLoop:
    """Claims at once what other processes record; without it, a claim comes up to a second later."""

    def __init__(self, notifier: Notifier, *, notify: Callable[[], None], stop: threading.Event) -> None:
        self._notifier = notifier
        self._notify = notify
        self._stop = stop

    def run(self, heartbeat: HeartbeatSink) -> None:
        with closing(self._notifier):
            while not self._stop.is_set():
                heartbeat.beat()
                self.turn()

    def turn(self) -> None:
        """Wait for one notification; pauses if that is not possible. Never raises."""
        try:
            if self._notifier.wait(NOTIFIER_WAIT):
                self._notify()
        except StoreUnavailable:  # the other loops' calls fail too, and are logged
            self._stop.wait(HOUSEKEEPING_INTERVAL.total_seconds())
        except Exception:  # a bug in mns-listener must not end the loop
            log.exception("notifier.crashed")
            self._stop.wait(HOUSEKEEPING_INTERVAL.total_seconds())


class DrainLoop:
    """Finds out when a drain is complete; the main thread, which feeds the watchdog, must not wait for the store.

    Deliveries for which this process has no handler do not hold it up: they are ``left``. Nor do those that are left to
    applications, which may pull them from another process.
    """

    def __init__(
        self,
        *,
        idle: Callable[[], bool],
        backlog: Backlog,
        has_handler: Callable[[Target], bool],
        stop: threading.Event,
    ) -> None:
        self._idle = idle
        self._backlog = backlog
        self._has_handler = has_handler
        self._stop = stop
        self.drained = False
        self.left: Mapping[Target, int] = {}  #: how many deliveries to each target are left
        self.error: StoreUnavailable | None = None  #: why this cannot be found out

    def run(self, heartbeat: HeartbeatSink) -> None:
        while not self._stop.is_set() and not self.drained:
            heartbeat.beat()
            self.turn()
            self._stop.wait(DRAIN_INTERVAL.total_seconds())

    def turn(self) -> None:
        """Look once whether the queues were found empty and nothing is left to do. Never raises."""
        try:
            self.drained = self._idle() and self._is_done()
        except StoreUnavailable as error:
            self.error = error
        except Exception:  # a bug in mns-listener must not end the loop
            log.exception("drain.crashed")

    def _is_done(self) -> bool:
        outstanding = self._backlog.outstanding()
        waiting = self._backlog.without_handler() if outstanding else {}
        self.left = {target: count for target, count in waiting.items() if not self._has_handler(target)}
        if outstanding == sum(self.left.values()):
            return True
        # What applications are to pull waits for them, however long this process runs.
        return outstanding == sum(self.left.values()) + self._backlog.left_to_applications()
