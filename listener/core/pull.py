"""The handler of deliveries that applications pull, and for how long they may keep them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from listener.core.errors import Offer
from listener.core.model import JobResult

#: How long an application has a delivery, unless it asks for more or less.
DEFAULT_LEASE: Final = timedelta(minutes=1)
MIN_LEASE, MAX_LEASE = timedelta(seconds=1), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class PullHandler:
    """Leaves every delivery to applications. See ``listener.core.ports.Handler``."""

    lease: timedelta = DEFAULT_LEASE

    def __call__(self, result: JobResult, /) -> None:
        raise Offer
