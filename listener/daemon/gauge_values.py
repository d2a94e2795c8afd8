"""Sets the gauges from what the parts of the daemon have in memory; asks nothing that may hang."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from listener.core.model import DeliveryState, ResultStatus
from listener.daemon.statistics_loop import StatisticsLoop
from listener.runtime.gauges import Gauges
from listener.store.statistics import Totals

if TYPE_CHECKING:
    from listener.aliyun.credentials import Credentials
    from listener.dispatch.dispatcher import Dispatcher
    from listener.intake.poller_group import PollerGroup


class GaugeValues:
    """Safe to use from several threads."""

    def __init__(
        self,
        gauges: Gauges,
        *,
        poller_groups: Sequence[PollerGroup],
        dispatcher: Dispatcher,
        statistics: StatisticsLoop,
        keys: Mapping[str, Credentials],
    ) -> None:
        """``keys`` are those for the queues, by tenant: they are used all the time, so that what is known is new."""
        self._gauges = gauges
        self._poller_groups = poller_groups
        self._dispatcher = dispatcher
        self._statistics = statistics
        self._keys = keys

    def update(self, *, ready: bool) -> None:
        gauges = self._gauges
        gauges.ready.set(int(ready))
        gauges.in_flight.set(self._dispatcher.in_flight)
        for group in self._poller_groups:
            gauges.pollers.labels(group.name).set(group.pollers)
        gauges.credentials_expiry.clear()  # it may be unknown of the next key
        for tenant, keys in self._keys.items():
            if (expiry := keys.expiry) is not None:
                gauges.credentials_expiry.labels(tenant).set(expiry)
        gauges.statistics_age.set(self._statistics.age.total_seconds())
        if totals := self._statistics.totals:
            _set_totals(gauges, totals)


def _set_totals(gauges: Gauges, totals: Totals) -> None:
    for state, deliveries in (
        (DeliveryState.PENDING, totals.pending),
        (DeliveryState.RUNNING, totals.running),
        (DeliveryState.DEAD, totals.dead),
    ):
        gauges.deliveries.labels(state).set(deliveries)
    gauges.offered.set(totals.offered)
    for status, results in (
        (ResultStatus.WAITING, totals.waiting),
        (ResultStatus.VERIFYING, totals.verifying),
        (ResultStatus.PARKED, totals.parked),
    ):
        gauges.open_results.labels(status).set(results)
    gauges.oldest_pending_age.set(totals.oldest_pending_age.total_seconds())
    gauges.quarantined.set(totals.quarantined)
    gauges.accepted.set(totals.accepted)
    gauges.overdue.set(totals.overdue)
    gauges.store_size.set(totals.bytes)
