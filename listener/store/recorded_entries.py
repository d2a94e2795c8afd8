"""What a transaction did with each message and result: counted at once, made into entries only if the log asks.

Most batches are only counted, since their results are new and the log is above level debug.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from listener.core.model import (
    DecodedMessage,
    EndedJob,
    JobState,
    RecordedEntry,
    RecordKind,
    ResultStatus,
    make_ended_job,
)
from listener.store.result_rows import Recorded
from listener.store.routed_result import RoutedResult

#: The outcome of a job has one of these. What waits is no outcome yet, and what is dropped belongs to no job of ours.
_DECIDED = frozenset({ResultStatus.ROUTED, ResultStatus.PARKED, ResultStatus.REFUSED})
_KINDS = {status: RecordKind(status) for status in ResultStatus}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBatch:
    """The parts of a batch, by what was done with them."""

    new: Sequence[RoutedResult]  #: recorded, or decided about again
    copies: Sequence[RoutedResult] = ()
    recorded: Mapping[str, Recorded]  #: what the copies are copies of, by dedup key
    quarantined: Sequence[DecodedMessage] = ()

    def kinds(self) -> Mapping[RecordKind, int]:
        kinds = Counter(map(_kind_of_new, self.new))
        for copy in self.copies:
            kinds[_kind_of_copy(copy, self.recorded)] += 1
        if self.quarantined:
            kinds[RecordKind.QUARANTINED] = len(self.quarantined)
        return kinds

    def ended(self, at: datetime) -> Sequence[EndedJob]:
        """The outcomes among the new ones, recorded at this time."""
        return [_ended(entry, at) for entry in self.new if _is_outcome(entry)]

    def entries(self) -> Sequence[RecordedEntry]:
        return [
            *map(_entry_of_new, self.new),
            *(_entry_of_copy(copy, self.recorded) for copy in self.copies),
            *map(_entry_of_quarantined, self.quarantined),
        ]


def _kind_of_new(entry: RoutedResult) -> RecordKind:
    return RecordKind.CONTRADICTION if _is_too_late(entry) else _KINDS[entry.decision.status]


def _is_too_late(entry: RoutedResult) -> bool:
    """An outcome of a job that was declared lost before it had an id; it has another dedup key."""
    if entry.decision.status is not ResultStatus.DROPPED or not entry.ends:
        return False
    return entry.job is not None and entry.job.state == JobState.LOST


def _is_outcome(entry: RoutedResult) -> bool:
    return bool(entry.ends) and entry.decision.status in _DECIDED


def _ended(entry: RoutedResult, at: datetime) -> EndedJob:
    result, job = entry.result, entry.job
    submitted_at = job.submitted_at if job else None
    took = max(at - submitted_at, timedelta()) if submitted_at else None
    return make_ended_job((job.function if job else "") or result.function, result.source, took)


def _kind_of_copy(copy: RoutedResult, recorded: Mapping[str, Recorded]) -> RecordKind:
    known = recorded.get(copy.dedup_key)
    contradicts = known is not None and known.contradicts(copy.result.state)
    return RecordKind.CONTRADICTION if contradicts else RecordKind.DUPLICATE


def _entry_of_new(entry: RoutedResult) -> RecordedEntry:
    kind = _kind_of_new(entry)
    return RecordedEntry(
        kind=kind,
        queue=entry.queue,
        message_id=entry.message_id,
        result=entry.result,
        targets=entry.decision.targets,
        reason=entry.decision.reason,
        recorded_state=JobState.LOST if kind is RecordKind.CONTRADICTION else "",
        trace=entry.job.trace if entry.job else "",
    )


def _entry_of_copy(copy: RoutedResult, recorded: Mapping[str, Recorded]) -> RecordedEntry:
    kind = _kind_of_copy(copy, recorded)
    return RecordedEntry(
        kind=kind,
        queue=copy.queue,
        message_id=copy.message_id,
        result=copy.result,
        recorded_state=recorded[copy.dedup_key].state if kind is RecordKind.CONTRADICTION else "",
        trace=copy.job.trace if copy.job else "",
    )


def _entry_of_quarantined(entry: DecodedMessage) -> RecordedEntry:
    return RecordedEntry(
        kind=RecordKind.QUARANTINED,
        queue=entry.queue,
        message_id=entry.message.message_id if entry.message else "",
        result=None,
        reason=entry.reason,
    )
