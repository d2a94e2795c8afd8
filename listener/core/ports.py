"""The seams: what the engine asks of the outside world, with the promises that every implementation keeps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from listener.core.model import (
    Answer,
    Claim,
    DecodedMessage,
    Delivery,
    Job,
    JobResult,
    Message,
    Outcome,
    RecordSummary,
    Result,
    RoutingDecision,
    Settlement,
    Submitted,
    Tenants,
)

Decide = Callable[[Result, Job | None, str], RoutingDecision]
"""Says what is to become of a result: (result, its job if known, the queue it came from). Pure."""


EVERYBODY = Tenants()


class Queue(Protocol):
    """One MNS queue. Raises QueueUnavailable, and nothing of its SDK's. One thread at a time, except interrupt()."""

    @property
    def name(self) -> str: ...

    def receive(self, *, limit: int, wait: timedelta) -> Sequence[Message]:
        """Wait for messages; an empty queue is an empty sequence, not an error."""

    def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Delete those whose handle is still good; return the ones that were not deleted."""

    def interrupt(self) -> None:
        """End a receive that is parked in another thread; it returns an empty sequence or raises QueueUnavailable."""

    def close(self) -> None:
        """Give the connection back. The queue may be used again; it then connects anew."""


class Handler(Protocol):
    """React to one result. Returning means done; anything raised means not done.

    May be called more than once for the same result, and from several threads: be idempotent on ``result.key``.
    May be a coroutine function. Raise ``Retry``, ``Unavailable`` or ``Reject`` to decide; any other exception is a
    failed attempt. An optional ``close()`` is called once at the end.
    """

    def __call__(self, result: JobResult, /) -> Awaitable[None] | None: ...


class Store(Protocol):
    """What must survive a crash. Every method is one transaction: it happened wholly, or it raises StoreUnavailable
    and nothing of it did. Safe to use from several threads and several processes."""

    def add_job(self, job: Job) -> None:
        """Write an intent, or a job of somebody else's that has its id already. Raises UsageError if its reference
        or its id is taken; a refused job gives up its reference."""

    def bind_job(self, token: str, job_id: str, at: datetime) -> None:
        """Note the id that MPS gave. Binding again with the same id changes nothing."""

    def refuse_job(self, token: str, error: str, at: datetime) -> None:
        """Note that MPS refused the submission, unless the job turned out to exist after all."""

    def find_job(self, name: str) -> Job | None:
        """The job with this job id, reference or token."""

    def claim_overdue(
        self, *, at: datetime, until: datetime, limit: int, tenants: Tenants = EVERYBODY
    ) -> Sequence[Job]:
        """Unfinished jobs of these tenants whose time for a query has come, longest overdue first. They are the
        caller's until ``until``: no other process gets them before."""

    def postpone(self, job: Job, *, until: datetime, asked: bool) -> None:
        """Let an unfinished job be until then; ``asked`` tells whether MPS was asked about it.

        Nothing happens to a job that has got its id meanwhile: there is something new to ask.
        """

    def save_outputs(self, result: Result, outputs: str) -> None:
        """Keep the Result of a query, as MPS wrote it, with a recorded result."""

    def record(
        self, batch: Sequence[DecodedMessage], decide: Decide, *, at: datetime, claim: Claim | None = None
    ) -> RecordSummary:
        """Write results, their deliveries and the quarantine of one batch, each result at most once for ever.

        Up to ``claim.limit`` of the new deliveries belong to ``claim.owner`` from the start.
        """

    def decide_waiting(self, decide: Decide, *, at: datetime, limit: int) -> RecordSummary:
        """Decide again about results whose grace has ended, or whose job has become known meanwhile."""

    def claim(self, claim: Claim, *, at: datetime) -> Sequence[Delivery]:
        """Take pending deliveries that are due, oldest first and evenly over the queues they came from. No
        delivery is ever claimed twice at the same time."""

    def renew(self, deliveries: Sequence[Delivery], *, until: datetime) -> None:
        """Keep the leases of attempts that are still the current ones. Asks the store even if there are none."""

    def rescue_expired(
        self, outcome: Callable[[Delivery], Outcome], *, at: datetime, limit: int
    ) -> Sequence[Settlement]:
        """Settle running deliveries whose lease has ended: their process crashed or their handler hangs."""

    def settle(self, settlements: Sequence[Settlement], *, at: datetime) -> Sequence[Settlement]:
        """Write what became of attempts; returns those that came too late because another attempt had begun."""

    def next_due(self) -> datetime | None:
        """When the earliest pending delivery is due; None if there is none."""

    def outstanding(self) -> int:
        """How much is still to be done: deliveries pending or running, results waiting for their jobs."""

    def close(self) -> None: ...


class JobSubmitter(Protocol):
    """Takes jobs for MPS. Raises MpsUnavailable (may be tried again) and MpsRejected (may not)."""

    def submit(self, job: Job, *, user_data: str | None) -> Submitted:
        """Submit; returns the job's id, and its outcome where the reply tells one."""


class MediaProcessing(JobSubmitter, Protocol):
    """The MPS API. Raises MpsUnavailable and MpsRejected."""

    def query(self, job_id: str) -> Answer:
        """Ask what has become of a job. MpsRejected: MPS does not know it, or knows it no more."""


MpsOf = Callable[[str], MediaProcessing | None]
"""The MPS client of a tenant; None where MPS is not configured."""


class Meter(Protocol):
    """What the engine counts."""

    def polled(self, queue: str, *, messages: int, seconds: float) -> None: ...

    def queue_failed(self, queue: str, kind: str) -> None: ...

    def recorded(self, queue: str, recorded: RecordSummary) -> None: ...

    def deleted(self, queue: str, *, messages: int, failed: int) -> None: ...

    def settled(self, settlement: Settlement, *, seconds: float, late: bool) -> None: ...


class HeartbeatSink(Protocol):
    """A loop says here that it turned; one that is silent for too long is taken for dead."""

    def beat(self) -> None: ...


class DeliverySink(Protocol):
    """Who runs deliveries in this process: intake gives it what it has just recorded."""

    def claim(self, wanted: int) -> Claim | None:
        """A claim for at most this many deliveries; None when there is no room. ``take`` must follow."""

    def take(self, claim: Claim, claimed: Sequence[Delivery]) -> None:
        """Run these, which the claim brought."""

    def wake(self) -> None:
        """There may be something to claim."""
