"""Which callbacks are recorded only once MPS has confirmed them, and what follows from the answer of MPS.

Decided here as values, carried out by ``listener/jobs/verifier.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from listener.core.model import Job, Result, Source, Unverified, VerificationOutcome
from listener.rules.job_facts import is_own, kind_of

#: Between two questions about a callback: as long as it has waited already, within these bounds.
MIN_PAUSE, MAX_PAUSE = timedelta(seconds=1), timedelta(minutes=1)


class VerifyPolicy(StrEnum):
    """The callbacks that are verified."""

    NEVER = "never"
    KNOWN = "known"  #: those of jobs in the store
    ALWAYS = "always"


def _default_tenant(_job: Job | None, _queue: str) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Which callbacks are verified."""

    policy: str = VerifyPolicy.NEVER
    tenants: frozenset[str] = frozenset()  #: those whose MPS can be asked
    tenant_of: Callable[[Job | None, str], str] = _default_tenant  #: of a job, if known, and a queue
    done: bool = False  #: whether the results were verified before, as far as the policy asks for it

    def needed(self, result: Result, job: Job | None, queue: str) -> bool:
        """Whether MPS is to be asked before this result is believed."""
        return not self.exemption(result, job, queue)

    def exemption(self, result: Result, job: Job | None, queue: str) -> str:
        """Why MPS is not to be asked; empty if it is."""
        if self.policy == VerifyPolicy.NEVER:
            return "correlation.verify is never"
        if self.done:
            return "it was asked before"
        if result.source is not Source.CALLBACK:
            return f"the result is not a callback; its source is {result.source}"
        if not result.terminal:
            return "the result does not report that the job has ended"
        own = job if job is not None and is_own(result, job) else None
        if own is None and self.policy != VerifyPolicy.ALWAYS:
            return f"the job is not in the store, and correlation.verify is {self.policy}"
        askable = kind_of(result, own) is not None or (own is not None and own.has_newer_kind)
        if result.event or not askable:
            return "it has no query for this kind of job"
        return "" if self.tenant_of(own, queue) in self.tenants else "it is not configured for the tenant"

    def is_about(self, result: Result, job: Job) -> bool:
        """Whether the result is routed and handled with what the store knows about this job.

        A result that only lists the job as an activity of a workflow is not, if MPS can be asked about the job: whoever
        may send to the queue can list any job.
        """
        return is_own(result, job) or not job.queryable or job.tenant not in self.tenants_asked

    @property
    def tenants_asked(self) -> frozenset[str]:
        """The tenants about whose jobs only MPS is believed."""
        return frozenset() if self.policy == VerifyPolicy.NEVER else self.tenants


@dataclass(frozen=True, slots=True)
class Believe:
    """Record this result, like a callback that needs no verification."""

    result: Result
    outcome: VerificationOutcome


@dataclass(frozen=True, slots=True)
class Refuse:
    """Quarantine the callback with this reason; the job may still get an outcome."""

    reason: str
    outcome: VerificationOutcome = VerificationOutcome.REFUSED


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Ask once more at this time."""

    at: datetime
    outcome: VerificationOutcome = VerificationOutcome.PENDING


Step = Believe | Refuse | AskAgain


def after_answer(unverified: Unverified, answer: Result, *, now: datetime, max_wait: timedelta) -> Step:
    """What follows from the state that MPS reports."""
    claimed = unverified.result
    if not answer.terminal:
        reason = f"verify: MPS still reports the state {answer.state!r} instead of {claimed.state!r}"
        return _again(unverified, now=now, max_wait=max_wait) or Refuse(reason)
    if answer.state != claimed.state:
        return Believe(answer, VerificationOutcome.CONTRADICTED)
    return Believe(_confirmed(claimed, answer), VerificationOutcome.CONFIRMED)


def after_rejection(unverified: Unverified, error: str, *, now: datetime, max_wait: timedelta) -> Step:
    """What follows if MPS does not know the job. If MPS itself gave us its id, it is asked again."""
    known = unverified.job is not None and unverified.job.submitted_here
    again = _again(unverified, now=now, max_wait=max_wait) if known else None
    return again or Refuse(f"verify: MPS does not know the job: {error}")


def after_outage(unverified: Unverified, *, now: datetime, max_wait: timedelta) -> Step:
    """What follows if MPS is unavailable."""
    again = _again(unverified, now=now, max_wait=max_wait)
    return again or Believe(unverified.result, VerificationOutcome.UNVERIFIED)


def _again(unverified: Unverified, *, now: datetime, max_wait: timedelta) -> AskAgain | None:
    """None once the callback has waited for ``max_wait``."""
    waited = now - unverified.received_at
    if waited >= max_wait:
        return None
    return AskAgain(now + min(max(waited, MIN_PAUSE), MAX_PAUSE, max_wait - max(waited, timedelta(0))))


def _confirmed(claimed: Result, answer: Result) -> Result:
    """The answer, with what only the callback has.

    The start of a workflow that failed is not the report of its run, which follows.
    """
    if answer.run_id and not claimed.terminal_id:
        return claimed
    return replace(
        answer,
        code=answer.code or claimed.code,
        message=answer.message or claimed.message,
        details=claimed.details,
        raw=claimed.raw,
        source=claimed.source,
    )
