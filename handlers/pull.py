"""Leave every result to applications, which pull it over the local API."""

from __future__ import annotations

from typing import Annotated

from listener.core.pull import DEFAULT_LEASE, PullHandler
from listener.formats.durations import Duration, between


def pull(*, lease: Annotated[Duration, between("1s", "1h")] = DEFAULT_LEASE) -> PullHandler:
    """``lease`` is how long an application that names no time has to settle or extend what it has pulled."""
    return PullHandler(lease=lease)
