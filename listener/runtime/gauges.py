"""Gauges: what there is at the moment. They are set just before they are shown, by ``listener.daemon.gauge_values``."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from prometheus_client import CollectorRegistry, Gauge

from listener.core import clock


class Gauges:
    """May be used from several threads."""

    def __init__(self, registry: CollectorRegistry, *, version: str) -> None:
        gauge = partial(Gauge, registry=registry)
        self.ready = gauge("mns_listener_ready", "1 if ready, else 0")
        self.pollers = gauge("mns_listener_pollers", "Pollers that are receiving from a queue", ["queue"])
        self.in_flight = gauge(
            "mns_listener_in_flight_deliveries",
            "Deliveries that this process has claimed and not settled yet",
        )
        self._receive_age = gauge(
            "mns_listener_last_receive_age_seconds",
            "Time since a receive from the queue was last answered, with messages or without",
            ["queue"],
        )
        self._received = dict[str, float]()
        self._delays = dict[str, timedelta]()
        self.credentials_expiry = gauge(
            "mns_listener_credentials_expiry_timestamp_seconds",
            "Unix time at which the access key in use expires, where that is known",
            ["tenant"],
        )
        # Of the store
        self.deliveries = gauge("mns_listener_deliveries", "Open deliveries in the store", ["state"])
        self.offered = gauge(
            "mns_listener_offered_deliveries", "Pending deliveries that applications may pull"
        )
        self.oldest_pending_age = gauge(
            "mns_listener_oldest_pending_age_seconds", "For how long the oldest pending delivery has waited"
        )
        self.open_results = gauge(
            "mns_listener_open_results", "Results in the store that have no delivery yet", ["status"]
        )
        self.quarantined = gauge("mns_listener_quarantined_messages", "Messages in quarantine")
        self.accepted = gauge("mns_listener_accepted_jobs", "Accepted jobs that wait to be submitted to MPS")
        self.overdue = gauge("mns_listener_overdue_jobs", "Jobs without an outcome whose deadline is over")
        self.store_size = gauge("mns_listener_store_size_bytes", "Size of the store on disk")
        self.statistics_age = gauge(
            "mns_listener_statistics_age_seconds",
            "Age of the gauges of the store, or of the process until they are read for the first time",
        )
        build = gauge("mns_listener_build_info", "Always 1; the labels say what runs", ["version", "python"])
        build.labels(version, platform.python_version()).set(1)

    def expect(self, queue: str) -> None:
        """Show how long ago a receive from this queue was answered, at first since when it should have been."""
        if queue not in self._received:
            self.received(queue)
            self._receive_age.labels(queue).set_function(lambda: clock.monotonic() - self._received[queue])

    def receive_age(self, queue: str) -> timedelta | None:
        """How long ago a receive from this queue was answered, at first since when it should have been."""
        received = self._received.get(queue)
        return None if received is None else timedelta(seconds=clock.monotonic() - received)

    def delay(self, queue: str) -> timedelta | None:
        """How long the oldest message of the last batch had been on its way; None if there was none."""
        return self._delays.get(queue)

    def recorded(self, queue: str, delays: Sequence[timedelta]) -> None:
        """Messages of this queue were recorded, so long after they were sent."""
        if delays:
            self._delays[queue] = max(delays)

    def received(self, queue: str) -> None:
        """A receive was answered."""
        self._received[queue] = clock.monotonic()
