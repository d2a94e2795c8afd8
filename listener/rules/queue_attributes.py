"""The attributes that a queue for callbacks should have, and how a queue differs from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from listener.core.account import QueueAttributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    value: int
    unit: str
    reason: str


RECOMMENDED: Final[Mapping[str, Recommended]] = {
    "VisibilityTimeout": Recommended(
        value=60,
        unit="s",
        reason="longer than a transaction may take (store.timeout), so that a batch is not received twice meanwhile",
    ),
    "MessageRetentionPeriod": Recommended(
        value=604_800, unit="s", reason="the most that MNS allows: how long the daemon may be down"
    ),
    "PollingWaitSeconds": Recommended(
        value=30, unit="s", reason="long polls also for consumers that do not ask for them"
    ),
    "MaximumMessageSize": Recommended(
        value=65_536, unit="bytes", reason="the most that MNS allows: callbacks of workflows are long"
    ),
    "DelaySeconds": Recommended(value=0, unit="s", reason="callbacks can be received at once"),
}
WANTED: Final[QueueAttributes] = {name: each.value for name, each in RECOMMENDED.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An attribute of a queue that has not the recommended value."""

    attribute: str
    found: int
    wanted: int

    def __str__(self) -> str:
        unit = RECOMMENDED[self.attribute].unit
        return f"{self.attribute} is {self.found} {unit}, recommended {self.wanted} {unit}"


def differences(found: QueueAttributes) -> Sequence[Difference]:
    """Attributes that MNS did not report do not count."""
    return [
        Difference(attribute=name, found=found[name], wanted=wanted)
        for name, wanted in WANTED.items()
        if name in found and found[name] != wanted
    ]
