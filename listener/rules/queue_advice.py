"""Whether the attributes of a queue suit this listener, as pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from listener.core.check_result import CheckKind, CheckResult, Level
from listener.core.queue_status import QueueStatus
from listener.formats.durations import duration_text
from listener.rules.queue_attributes import RECOMMENDED

#: A message that is not received for so long is deleted, so a daemon must not be down for longer.
MIN_RETENTION: Final = timedelta(days=1)
#: A batch is received, recorded and deleted in much less time; a slow disk or a busy store may need this long.
MIN_VISIBILITY: Final = timedelta(seconds=10)
#: What a process had received when it was killed is redelivered only after the visibility timeout.
MAX_VISIBILITY: Final = timedelta(minutes=10)
#: While the store is unavailable, messages are received again and again, with pauses of some seconds.
MIN_RECEIVE_COUNT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueNeeds:
    """What of the settings decides whether a queue is suitable."""

    store_retention: timedelta  #: how long completed records are kept; 0: no limit
    reconciled: bool  #: whether MPS is asked about jobs whose callback does not come


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unsuitable:
    detail: str
    advice: str


def queue_advice(name: str, status: QueueStatus, needs: QueueNeeds) -> Iterator[CheckResult]:
    """A warning for each attribute that does not suit. What MNS does not report is not judged.

    PollingWaitSeconds does not matter, since every receive names its own wait, nor does LoggingEnabled.
    """
    for kind, found in (
        (CheckKind.QUEUE_RETENTION, _retention(status, needs)),
        (CheckKind.QUEUE_DELAY, _delay(status)),
        (CheckKind.QUEUE_VISIBILITY, _visibility(status)),
        (CheckKind.QUEUE_MESSAGE_SIZE, _message_size(status)),
        (CheckKind.QUEUE_DEAD_LETTERS, _dead_letters(status)),
    ):
        for each in found:
            yield CheckResult(
                level=Level.WARNING, kind=kind, subject=name, detail=each.detail, advice=each.advice
            )


def queue_summary(status: QueueStatus) -> str:
    """The numbers of messages, and the attributes that are known."""
    known = {
        "kept for": _text(status.retention),
        "visible again after": _text(status.visibility_timeout),
        "at most": f"{status.maximum_message_size} bytes" if status.maximum_message_size else "",
    }
    counts = (
        f"about {_number(status.active)} messages waiting, {_number(status.inactive)} received and not "
        f"deleted, {_number(status.delayed)} delayed"
    )
    return "; ".join([counts, *(f"{label} {value}" for label, value in known.items() if value)])


def _retention(status: QueueStatus, needs: QueueNeeds) -> Iterator[_Unsuitable]:
    retention = status.retention
    if retention is None:
        return
    if retention < MIN_RETENTION:
        then = "its outcome is learned from MPS after its deadline" if needs.reconciled else "its job is Lost"
        yield _Unsuitable(
            detail=f"MNS deletes a callback that is not received within {duration_text(retention)} "
            f"(MessageRetentionPeriod); {then}",
            advice=_set("MessageRetentionPeriod"),
        )
    if timedelta(0) < needs.store_retention < retention:
        yield _Unsuitable(
            detail=f"a message may be redelivered for {duration_text(retention)} (MessageRetentionPeriod), but the "
            f"store forgets completed records after {duration_text(needs.store_retention)}: late copies are handled "
            "again",
            advice=f"set store.retention to more than {duration_text(retention)}",
        )


def _delay(status: QueueStatus) -> Iterator[_Unsuitable]:
    if status.delay:
        yield _Unsuitable(
            detail=f"every callback becomes visible {duration_text(status.delay)} after it was sent (DelaySeconds)",
            advice=_set("DelaySeconds"),
        )


def _visibility(status: QueueStatus) -> Iterator[_Unsuitable]:
    timeout = status.visibility_timeout
    if timeout is not None and timeout < MIN_VISIBILITY:
        yield _Unsuitable(
            detail=f"a message becomes visible again {duration_text(timeout)} after it was received "
            "(VisibilityTimeout), which may be before its batch is recorded and deleted: it would be received twice",
            advice=_set("VisibilityTimeout"),
        )
    if timeout is not None and timeout > MAX_VISIBILITY:
        yield _Unsuitable(
            detail=f"what a process has received when it is killed is redelivered only after {duration_text(timeout)} "
            "(VisibilityTimeout)",
            advice=_set("VisibilityTimeout"),
        )


def _message_size(status: QueueStatus) -> Iterator[_Unsuitable]:
    size = status.maximum_message_size
    if size is not None and size < RECOMMENDED["MaximumMessageSize"].value:
        yield _Unsuitable(
            detail=f"MNS rejects callbacks of more than {size} bytes (MaximumMessageSize); those of workflows are long",
            advice=_set("MaximumMessageSize"),
        )


def _dead_letters(status: QueueStatus) -> Iterator[_Unsuitable]:
    count = status.max_receive_count
    if count is not None and count < MIN_RECEIVE_COUNT:
        yield _Unsuitable(
            detail=f"MNS moves a message to a dead-letter queue after {count} receives (MaxReceiveCount), and while "
            "the store is unavailable messages are received again and again",
            advice=f"disable the queue's dead-letter policy, or set MaxReceiveCount to {MIN_RECEIVE_COUNT} or more",
        )


def _set(attribute: str) -> str:
    wanted = RECOMMENDED[attribute]
    return f"set {attribute} of the queue to {wanted.value} {wanted.unit}, as `mns-listener setup --fix` does"


def _text(duration: timedelta | None) -> str:
    return "" if duration is None else duration_text(duration)


def _number(count: int | None) -> str:
    return "?" if count is None else str(count)
