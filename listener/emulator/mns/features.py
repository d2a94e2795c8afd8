"""What of queues, topics and subscriptions only the OpenAPI can set: types, dead letters, limits, encryption, tags."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterPolicy:
    """When a message has been received too often, and to which queue it goes then."""

    enabled: bool
    target: str  #: the name of a queue
    max_receive_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """How many messages a second may be received or pushed; the emulator does not enforce it."""

    enabled: bool
    max_receives_per_second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """How messages are encrypted at rest; the emulator does not encrypt."""

    enabled: bool = False
    algorithm: str = ""
    type: str = ""
    kms_key_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFeatures:
    """Those of a queue. It has its type for as long as it exists."""

    fifo: bool = False
    dead_letter: DeadLetterPolicy | None = None
    rate_limit: RateLimit | None = None
    encryption: Encryption = Encryption()
    tags: tuple[tuple[str, str], ...] = ()  #: keys and values


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFeatures:
    """Those of a topic."""

    fifo: bool = False
    encryption: Encryption = Encryption()
    tags: tuple[tuple[str, str], ...] = ()  #: keys and values


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionFeatures:
    """Those of a subscription."""

    dead_letter_queue: str = ""  #: the name of the queue for what could not be pushed
    rate_limit: RateLimit | None = None


#: Those of a queue that was created over the data plane.
STANDARD = QueueFeatures()
