"""Liveness, readiness and metrics of the daemon, and after how long a loop counts as stalled.

While a loop is stalled, ``/healthz`` is 503 and systemd's watchdog receives nothing. All answers come from memory:
neither the store nor anything else that may hang is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from listener.aliyun.mns_connection import CONNECT_TIMEOUT, REPLY_TIMEOUT
from listener.core.errors import QueueUnavailable
from listener.core.queue_status import QueueReport
from listener.daemon.gauge_values import GaugeValues
from listener.jobs.reconciler import CLAIM_DURATION
from listener.rules.backoff import MPS_BACKOFF
from listener.runtime.liveness import Health, LivenessMonitor
from listener.runtime.metrics import Metrics
from listener.runtime.store_health import StoreHealth

if TYPE_CHECKING:
    from listener.intake.poller_group import PollerGroup

#: After so long without a heartbeat, a loop that only uses the store counts as stalled. Waiting for the store does not
#: count, see below.
STORE_LOOP_STALLED_AFTER = timedelta(seconds=30)
#: The same for a verifier: the slowest turn, and the longest pause after it.
VERIFIER_STALLED_AFTER = timedelta(minutes=5) + MPS_BACKOFF.maximum
#: The same for a submitter: the slowest turn, whose calls may wait for the lowest rate limit, and the longest pause.
SUBMITTER_STALLED_AFTER = timedelta(minutes=5) + MPS_BACKOFF.maximum
#: What a call may take in addition to its timeouts: waiting for a lock of SQLite's, or connecting to the server.
STORE_CALL_MARGIN = timedelta(seconds=30)


def store_call_limit(timeout: timedelta) -> timedelta:
    """A loop that waits for one call of the store for longer counts as stalled.

    A call may wait for other threads' transactions before its own begins, each of which ends after ``timeout``.
    """
    return 3 * timeout + STORE_CALL_MARGIN


def poller_stalled_after(wait: timedelta) -> timedelta:
    """The limit for a poller: one long poll with its timeouts, and what the store may take for a batch."""
    return wait + CONNECT_TIMEOUT + REPLY_TIMEOUT + STORE_LOOP_STALLED_AFTER


def reconciler_stalled_after(interval: timedelta) -> timedelta:
    """The limit for a reconciler: the slowest turn, and the longest pause after it."""
    return CLAIM_DURATION + max(interval, MPS_BACKOFF.maximum)


class HealthChecks:
    """What the HTTP endpoints report. Safe to use from several threads."""

    def __init__(
        self,
        *,
        daemon: str,
        liveness: LivenessMonitor,
        metrics: Metrics,
        gauges: GaugeValues,
        poller_groups: Sequence[PollerGroup],
        store: StoreHealth,
        stopping: threading.Event,
    ) -> None:
        self.daemon = daemon
        self._liveness = liveness
        self._metrics = metrics
        self._gauges = gauges
        self._poller_groups = poller_groups
        self._store = store
        self._stopping = stopping

    def alive(self) -> Health:
        """Whether every loop makes progress; if not, the process should be restarted.

        ``daemon`` is the name that is known to the store, so that ``check`` recognizes who listens there.
        """
        stalled = self._liveness.stalled()
        return Health(ok=not stalled, details={"daemon": self.daemon, "stalled": list(stalled)})

    def ready(self) -> Health:
        """Whether everything has started, nothing has stalled, and the store answers and can be written to.

        The state of the queues is shown, but does not affect readiness: a restart would not bring a queue back.
        """
        details: dict[str, Any] = {
            "started": self._liveness.started,
            "stopping": self._stopping.is_set(),
            "stalled": list(self._liveness.stalled()),
            "queues": {group.name: _error_of(group) or "ok" for group in self._poller_groups},
            "store": self._store.state,
        }
        ok = (
            details["started"]
            and not details["stopping"]
            and not details["stalled"]
            and details["store"] == "ok"
        )
        return Health(ok=bool(ok), details=details)

    def queues(self) -> Sequence[QueueReport]:
        """How receiving from each queue goes."""
        return [
            QueueReport(
                name=group.name,
                error=_error_of(group),
                pollers=group.pollers,
                last_receive=self._metrics.gauges.receive_age(group.name),
                delay=self._metrics.gauges.delay(group.name),
            )
            for group in self._poller_groups
        ]

    def exposition(self) -> bytes:
        """All metrics, for a Prometheus server."""
        self._gauges.update(ready=self.ready().ok)
        return self._metrics.exposition()


def _error_of(group: PollerGroup) -> str:
    error = group.first.last_error
    return str(error) if isinstance(error, QueueUnavailable) else ""
