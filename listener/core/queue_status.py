"""The attributes of an MNS queue, the numbers of its messages, and how receiving from it goes."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReport:
    """How receiving from a queue goes in this process."""

    name: str
    error: str = ""  #: of the last receive; empty if it was answered
    pollers: int = 1
    last_receive: timedelta | None = None  #: how long ago one was answered, at first since when it should be
    delay: timedelta | None = None  #: how long the oldest message of the last batch had been on its way
