"""One result on its way into the store: with its job, where that is known, and the decision about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from listener.core.model import Job, Result, RoutingDecision
from listener.core.quick_init import maker, quick_init


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job with the id of its row."""

    id: int
    job: Job


make_known_job = maker(KnownJob)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedResult:
    """A result and everything that is written because of it."""

    result: Result
    queue: str
    message_id: str
    known: KnownJob | None
    decision: RoutingDecision
    dedup_key: str
    ends: str  #: the ``terminal_id`` of the result
    unverified: bool = False  #: whether MPS has to confirm it before anything follows from it
    activities: Sequence[tuple[KnownJob, str]] = ()  #: jobs that ended within this workflow, and their states

    @property
    def job(self) -> Job | None:
        return self.known.job if self.known else None


make_routed_result = maker(RoutedResult)
