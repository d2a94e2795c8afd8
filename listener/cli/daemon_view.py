"""What a daemon says about itself at its ``http.listen``: whether it is ready, and about its queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from listener.http.health_query import daemon_at, document_at, text_at


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """One of its queues."""

    name: str
    fault: str = ""  #: what the last poll failed with
    receive_age: timedelta | None = None  #: how long ago MNS last answered a receive
    pollers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonView:
    """A daemon that was asked."""

    owner: str  #: the name under which the store knows it
    unready: str = ""  #: why it is not ready
    queues: Sequence[QueueView] = ()
    in_flight: int | None = None


def daemon_view(listen: str) -> DaemonView | None:
    """None if no daemon answers there."""
    owner = daemon_at(listen) if listen else ""
    if not owner:
        return None
    ready = document_at(listen, "/readyz")
    values = _values(text_at(listen, "/metrics"))
    return DaemonView(
        owner=owner,
        unready=_unready(ready),
        queues=[_queue(name, state, values) for name, state in _members(ready.get("queues")).items()],
        in_flight=_whole(values.get(("mns_listener_in_flight_deliveries", ""))),
    )


def _members(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _unready(ready: Mapping[str, Any]) -> str:
    if ready.get("ok") is True:
        return ""
    reasons = [
        "" if ready.get("started") else "it has not started completely",
        "it is stopping" if ready.get("stopping") else "",
        f"stalled: {', '.join(map(str, stalled))}" if (stalled := ready.get("stalled")) else "",
        str(store) if (store := ready.get("store", "ok")) != "ok" else "",
    ]
    return "; ".join(filter(None, reasons))


def _queue(name: str, state: Any, values: Mapping[tuple[str, str], float]) -> QueueView:
    age = values.get(("mns_listener_last_receive_age_seconds", name))
    return QueueView(
        name=name,
        fault="" if state == "ok" else str(state),
        receive_age=None if age is None else timedelta(seconds=age),
        pollers=_whole(values.get(("mns_listener_pollers", name))),
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _values(text: str) -> Mapping[tuple[str, str], float]:
    """The values by name and queue; those of other labels are left out."""
    try:
        samples = [sample for each in text_string_to_metric_families(text) for sample in each.samples]
    except ValueError:
        return {}
    return {
        (sample.name, sample.labels.get("queue", "")): sample.value
        for sample in samples
        if sample.labels.keys() <= {"queue"}
    }
