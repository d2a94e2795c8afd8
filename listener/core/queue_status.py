"""The attributes of an MNS queue and the numbers of its messages, as far as they matter here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """What MNS reports about a queue. None: the reply does not say. The numbers of messages are approximate."""

    retention: timedelta | None = None  #: MessageRetentionPeriod, counted from sending
    visibility_timeout: timedelta | None = None
    delay: timedelta | None = None  #: DelaySeconds of messages that are sent without one
    polling_wait: timedelta | None = None  #: PollingWaitSeconds of a receive that names no wait
    maximum_message_size: int | None = None  #: bytes
    max_receive_count: int | None = None  #: of an enabled dead-letter policy
    active: int | None = None  #: waiting
    inactive: int | None = None  #: received, and neither deleted nor visible again
    delayed: int | None = None  #: not visible yet
