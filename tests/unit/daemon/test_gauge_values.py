"""Gauges that are there only while their values are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from listener.aliyun.credentials import AccessKey, Credentials
from listener.daemon.gauge_values import GaugeValues
from listener.daemon.statistics_loop import StatisticsLoop
from listener.runtime.gauges import Gauges

EXPIRY = "mns_listener_credentials_expiry_timestamp_seconds"


def test_the_expiry_of_an_access_key_is_shown_while_it_is_known() -> None:
    known: dict[str, int | None] = {"": 1_900_000_000, "other": None}
    keys = {
        tenant: Credentials(lambda: AccessKey("id", "secret"), expiry=lambda tenant=tenant: known[tenant])
        for tenant in known
    }
    registry = CollectorRegistry()
    values = a_gauge_values(registry, keys)

    def shown(tenant: str) -> float | None:
        values.update(ready=True)
        return registry.get_sample_value(EXPIRY, {"tenant": tenant})

    assert (shown(""), shown("other")) == (1_900_000_000, None)
    known[""] = None
    assert shown("") is None


def a_gauge_values(registry: CollectorRegistry, keys: dict[str, Credentials]) -> GaugeValues:
    idle: Any = SimpleNamespace(in_flight=0)
    stop: Any = None
    statistics = StatisticsLoop(lambda: None, stop=stop)  # type: ignore[arg-type,return-value] # never read
    return GaugeValues(
        Gauges(registry, version="1"), poller_groups=(), dispatcher=idle, statistics=statistics, keys=keys
    )
