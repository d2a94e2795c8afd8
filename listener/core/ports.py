"""The interfaces of the engine to the outside world, with the guarantees that every implementation gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from listener.core.errors import StoreUnavailable
from listener.core.job_kinds import IPRODUCTION, JobKind
from listener.core.model import (
    Answer,
    Claim,
    ClockLag,
    DecodedMessage,
    Delivery,
    Job,
    JobResult,
    Lease,
    Message,
    NewerKind,
    Outcome,
    RecordSummary,
    Result,
    RoutingDecision,
    Settlement,
    Submitted,
    Target,
    Tenants,
    Unverified,
)

Decide = Callable[[Result, Job | None, str], RoutingDecision]
"""Decides what happens to a result: (result, its job if known, the queue it came from). Pure."""


ALL_TENANTS = Tenants()


class Queue(Protocol):
    """One MNS queue. Raises QueueUnavailable, never an error of its SDK.

    For one thread at a time, but for ``interrupt`` and ``abort``.
    """

    @property
    def name(self) -> str: ...

    def receive(self, *, limit: int, wait: timedelta, requests: int = 1) -> Sequence[Message]:
        """Wait for messages; an empty queue is an empty sequence, not an error.

        This many requests are made at the same time, each for up to ``limit`` messages. That some of them fail is an
        error only if the others bring nothing.
        """

    def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Delete those whose receipt handle is still valid; return the ones that were not deleted.

        More than a request of MNS can hold are deleted by several at the same time; it is an error only if all fail.
        """

    def interrupt(self) -> None:
        """End a receive that waits for messages in another thread; it returns an empty sequence or raises
        QueueUnavailable. One without a wait still returns what it receives, every later one nothing."""

    def abort(self) -> None:
        """End whatever call blocks in another thread: a receive as ``interrupt`` does, others with QueueUnavailable.

        Whether MNS carried out a delete that ends so is not known. Every later call ends in the same way.
        """

    def close(self) -> None:
        """Close the connection. The queue can be used again; it reconnects then."""


class Handler(Protocol):
    """React to one result. Returning means done; anything raised means not done.

    May be called more than once for the same result, and from several threads: be idempotent on ``result.key``.
    May be a coroutine function. Raise ``Retry``, ``Unavailable`` or ``Reject`` to decide; any other exception is a
    failed attempt. An optional ``close()`` is called once at the end.
    """

    def __call__(self, result: JobResult, /) -> Awaitable[None] | None: ...


# The store: what must survive a crash. One small protocol per client; ``Store`` is all of them.
#
# Every method of these protocols is one transaction: either all of it is committed when the method returns, or it
# raises StoreUnavailable or StoreRejected and nothing has changed. All methods may be called from several threads, and
# several processes may use the same database.


class ResultWriter(Protocol):
    """Records results. See above for what all methods of a store promise."""

    def record(
        self, batch: Sequence[DecodedMessage], decide: Decide, *, at: datetime, claim: Claim | None = None
    ) -> RecordSummary:
        """Write the results of one batch, their deliveries, and the messages that could not be decoded.

        A result is written at most once: later copies are only counted. The first ``claim.limit`` new deliveries are
        already claimed for ``claim.owner``.
        """


class ResultStore(ResultWriter, Protocol):
    """What intake needs."""

    def decide_waiting(
        self, decide: Decide, *, at: datetime, limit: int, only_known: bool = False
    ) -> RecordSummary:
        """Decide again about results whose wait is over, or whose job has been added in the meantime; with
        ``only_known`` only about the latter.

        The longest overdue come first, and evenly from the queues they came from.
        """

    def verify_writable(self, decide: Decide, *, at: datetime) -> None:
        """Raises StoreUnavailable if results cannot be recorded, whatever they contain, and what ``decide`` raises.

        Nothing is written.
        """

    def believe(
        self, claimed: Unverified, result: Result, decide: Decide, *, at: datetime, claim: Claim | None = None
    ) -> RecordSummary:
        """Record this result in place of the callback, unless another process has settled that already.

        Like any other result, it is a copy if the outcome of its job is recorded.
        """


class JobStore(ResultWriter, Protocol):
    """What a submission needs."""

    def add_job(self, job: Job) -> None:
        """Write an intent, or an externally submitted job that has its id already.

        Raises ReferenceExists, or UsageError if its id already exists or the database cannot hold its values. A
        refused job releases its reference.
        """

    def bind_job(self, token: str, job_id: str, at: datetime) -> None:
        """Save the id that MPS assigned. Binding the same id again changes nothing."""

    def refuse_job(self, token: str, error: str, at: datetime) -> None:
        """Save that the submission was refused, unless the job has an id by now and therefore exists."""

    def find_job(self, name: str) -> Job | None:
        """The job with this job id, reference or token."""


class AcceptedStore(JobStore, Protocol):
    """What accepts jobs now, to submit them soon."""

    def accept_jobs(self, accepted: Sequence[Job]) -> Mapping[str, Job]:
        """Write accepted jobs, all of which have references, unless another job has that reference already.

        Returns the job that has each reference now. A refused job releases its reference.
        """

    def count_accepted(self) -> int:
        """How many accepted jobs wait to be submitted."""

    def accepted_jobs(self, *, limit: int, tenants: Tenants = ALL_TENANTS, after: str = "") -> Sequence[Job]:
        """Accepted jobs of these tenants, the first accepted first. They belong to whoever begins their submission.

        Those of kinds that only a newer release can submit are left out. ``after``: only those that were accepted after
        the job with this token.
        """

    def accepted_newer_kinds(self, *, release: str, at: datetime) -> Sequence[NewerKind]:
        """Accepted jobs of kinds that this release cannot submit, unless a daemon of another release runs."""

    def begin_submission(self, token: str, *, at: datetime) -> bool:
        """Make an accepted job an intent; False if it is none any more: another process submits it."""

    def accept_again(self, token: str, *, begun_at: datetime) -> None:
        """Undo the beginning, at this time, of a submission that certainly was not sent; does nothing to another one,
        which is that of another process."""

    def unserved_jobs(self, *, at: datetime, served: Collection[str] = ()) -> Mapping[str, int]:
        """How many accepted jobs wait, by tenant, that no running daemon submits; those of ``served`` are left out."""

    def refuse_tenant(self, tenant: str, error: str, *, accepted_before: datetime, at: datetime) -> int:
        """Refuse some of the jobs of a tenant that were accepted before this time and whose submission has not begun.

        Returns how many; 0: there are none.
        """


class DeliveryTimes(Protocol):
    """What shows whether deliveries are as old as they seem."""

    def delivery_times(self, *, first: int, last: int) -> Sequence[tuple[int, datetime]]:
        """The deliveries with these ids, in this order, and when each was written."""


class DeliveryStore(DeliveryTimes, Protocol):
    """What dispatch needs."""

    def claim(self, claim: Claim, *, at: datetime) -> Sequence[Delivery]:
        """Claim pending deliveries that are due: oldest first, and evenly across the queues they came from.

        No delivery is ever claimed by two owners at the same time.
        """

    def renew(self, deliveries: Sequence[Delivery], *, until: datetime) -> None:
        """Extend the leases of those attempts that are still current.

        An empty sequence still opens a transaction, so that the caller learns whether the store is available.
        """

    def rescue_expired(
        self, outcome: Callable[[Delivery], Outcome], *, at: datetime, limit: int
    ) -> Sequence[Settlement]:
        """Settle running deliveries whose lease has expired: their process crashed, or their handler hangs."""

    def leases(self, *, after: datetime, pulled_after: datetime, limit: int) -> Sequence[Lease]:
        """The leases of running deliveries that end after this time, the earliest first; those of applications that
        end after ``pulled_after``."""

    def rescue_unrenewed(
        self, leases: Sequence[Lease], outcome: Callable[[Delivery], Outcome], *, at: datetime
    ) -> Sequence[Settlement]:
        """Settle the deliveries of those leases that have not been renewed, whenever they end."""

    def settle(self, settlements: Sequence[Settlement], *, at: datetime) -> Sequence[Settlement]:
        """Write the outcomes of attempts; returns those that came too late because another attempt had started."""

    def shift_pulled_leases(self, by: timedelta, *, daemon: str) -> int:
        """Let the leases that this daemon gave to applications end so much later (or earlier), as its clock was set;
        returns how many there were."""


class PullStore(Protocol):
    """What applications need that pull their deliveries."""

    def claim_offered(self, target: Target, claim: Claim, *, at: datetime) -> Sequence[Delivery]:
        """Claim offered deliveries of this target that are due, the longest due first.

        No delivery is ever claimed by two owners at the same time.
        """

    def find_delivery(self, delivery_id: int) -> Delivery | None:
        """The delivery with this id."""

    def extend(self, delivery: Delivery, *, until: datetime) -> bool:
        """Let the lease of a pulled delivery end at this time; False if the attempt is not running any more."""

    def settle(self, settlements: Sequence[Settlement], *, at: datetime) -> Sequence[Settlement]:
        """See ``DeliveryStore``."""

    def due_targets(self, targets: Sequence[Target], *, at: datetime) -> Sequence[Target]:
        """Those of these targets of which at least one delivery can be claimed."""

    def offered_targets(self) -> Sequence[Target]:
        """The targets of all deliveries that are offered to applications, also if they are not due yet."""

    def withdraw(self, target: Target) -> int:
        """Leave some of the offered deliveries of this target to the dispatchers; returns how many. 0: there are none.

        They keep the time at which they are due.
        """


class OverdueStore(Protocol):
    """What reconciliation needs."""

    def claim_overdue(
        self, *, at: datetime, until: datetime, limit: int, tenants: Tenants = ALL_TENANTS
    ) -> Sequence[Job]:
        """Unfinished jobs of these tenants that are due for a query, longest overdue first.

        They belong to the caller until ``until``; no other process gets them before that.
        """

    def postpone(self, job: Job, *, until: datetime, asked: bool) -> None:
        """Schedule the next query about an unfinished job; ``asked`` says whether MPS has just been queried.

        Does nothing if the job has got its id in the meantime: it is due at once then.
        """


class VerificationStore(Protocol):
    """What verification needs."""

    def claim_unverified(
        self, *, at: datetime, until: datetime, limit: int, takes: Callable[[str], bool]
    ) -> Sequence[Unverified]:
        """Callbacks that MPS is to be asked about now, from those queues that ``takes`` accepts, evenly across them.

        They belong to the caller until ``until``; no other process gets them before that, unless a copy arrives.
        """

    def postpone_verification(self, claimed: Unverified, *, until: datetime) -> None:
        """Schedule the next question. Does nothing if a copy has arrived in the meantime: it is due at once then."""

    def refuse(self, claimed: Unverified, reason: str, *, at: datetime) -> bool:
        """Move the callback to quarantine; the outcome of its job is still open.

        Returns False if another process has settled that already.
        """


class OutputStore(DeliveryTimes, Protocol):
    """What enrichment needs."""

    def save_outputs(self, result: Result, outputs: str, *, output: str) -> None:
        """Save the outputs of a job with its recorded result; see ``Result.outputs`` and ``Result.output``."""


class ScheduleStore(Protocol):
    """What maintenance needs after the clock was set."""

    def reschedule_future(self, *, at: datetime, longest_query_wait: timedelta) -> int:
        """Let everything that was scheduled while the clock was ahead of ``at`` wait as long as it was meant to, from
        ``at`` on: deliveries, results that wait for their jobs, and queries. Returns how many rows were changed.

        ``longest_query_wait`` is the longest pause before the next query about an overdue job.
        """

    def newest_times(self) -> Sequence[Sequence[datetime]]:
        """When the newest rows of several tables were written, in the order in which they were."""

    def correct_past(self, lag: ClockLag) -> int:
        """Give what was written while the clock was behind its true times, so that it does not look older than it is.
        Returns how many rows were changed. To repeat this changes nothing.
        """


class Backlog(Protocol):
    """What the daemon needs to know about the remaining work."""

    def outstanding(self) -> int:
        """How much remains to be done: deliveries pending or running, and results that wait."""

    def without_handler(self) -> Mapping[Target, int]:
        """How many of the pending deliveries wait for a process with their handler, by target."""

    def left_to_applications(self) -> int:
        """How many deliveries are offered to applications, or have been pulled and not been settled yet."""


class WriteProbe(Protocol):
    """What finds out whether an outage of the store is over."""

    def probe_write(self) -> None:
        """Write something and remove it in the same transaction; returns if that is possible."""


class MaintenanceStore(ScheduleStore, WriteProbe, Protocol):
    """What housekeeping needs."""


class Store(
    ResultStore,
    AcceptedStore,
    DeliveryStore,
    PullStore,
    OverdueStore,
    VerificationStore,
    OutputStore,
    MaintenanceStore,
    Backlog,
    Protocol,
):
    """All of the store, for those who open and close it."""

    def close(self) -> None:
        """Close all connections."""


class StoreObserver(Protocol):
    """Learns of every call of the store, in the thread that makes the call. Its methods neither wait nor raise."""

    def began(self) -> None:
        """This thread calls the store, and waits until it answers or the call's time is over."""

    def ended(self, error: StoreUnavailable | None) -> None:
        """The call has ended, with this error if it failed."""


class JobSubmitter(Protocol):
    """Submits jobs to MPS. Raises MpsUnavailable (can be retried) and MpsRejected (permanent)."""

    def submit(
        self, job: Job, *, user_data: str | None, on_turn: Callable[[], None] | None = None
    ) -> Submitted:
        """Submit; returns the job's id, and its outcome where the reply contains one.

        ``on_turn`` is called just before the call, after the wait for the rate limit; what it raises is raised, and
        nothing is sent.
        """


class MediaProcessing(JobSubmitter, Protocol):
    """The MPS API. Raises MpsUnavailable and MpsRejected."""

    def query(self, job_id: str, *, kind: JobKind = IPRODUCTION) -> Answer:
        """Ask for the state of a job. MpsRejected: MPS does not know the job, or no longer."""

    def query_all(self, job_ids: Sequence[str], *, kind: JobKind) -> Mapping[str, Answer]:
        """Ask for the states of jobs of one kind by one call, at most ``kind.ids_per_query``, by their ids.

        Jobs that MPS does not know, or no longer, are missing. MpsRejected: for one of them at least, or for another
        reason, it refused to answer.
        """


MpsOf = Callable[[str], MediaProcessing | None]
"""The MPS client of a tenant; None where MPS is not configured."""


class Meter(Protocol):
    """What the engine counts."""

    def polled(self, queue: str, *, messages: int, seconds: float) -> None: ...

    def queue_failed(self, queue: str, kind: str) -> None: ...

    def store_failed(self, kind: str) -> None: ...

    def recorded(self, queue: str, summary: RecordSummary, *, delays: Sequence[timedelta]) -> None:
        """``delays``: how long its messages took from being sent to the queue until they were recorded."""

    def decided(self, summary: RecordSummary) -> None: ...

    def verified(self, queue: str, outcome: str) -> None: ...

    def deleted(self, queue: str, *, messages: int, failed: int) -> None: ...

    def settled(self, settlements: Sequence[Settlement], *, late: bool) -> None:
        """These attempts have ended; ``late``: without effect, since others had begun."""


class ClockCheck(Protocol):
    """What is known about the wall clock."""

    @property
    def confirmed(self) -> bool:
        """Whether the clock agrees with that of a service: only then may a decision that cannot be undone use it."""

    @property
    def wrong(self) -> bool:
        """Whether the clock disagrees with that of a service."""


class AgeCheck(ClockCheck, Protocol):
    """What is known about the wall clock, and about what it has shown."""

    def confirms(self, at: datetime) -> bool:
        """Whether the clock is confirmed, and is not known to have been behind when it showed this time: only then is
        what was written at this time certainly as old as it seems."""

    @property
    def steps_forward(self) -> int:
        """How often the clock is known to have jumped forward since the start of this process."""


class HeartbeatSink(Protocol):
    """A loop reports each iteration here; one that is silent for too long counts as stalled."""

    def beat(self) -> None:
        """To be called in the loop's own thread."""

    def expect(self) -> None:
        """Expect the first beat: a thread for the loop is being started."""

    def pause(self) -> None:
        """Expect no beat until the next one: the loop has ended, or is in a call that something else limits."""


class DeliverySink(Protocol):
    """Runs deliveries in this process: intake hands over what it has just recorded."""

    def claim(self, wanted: int) -> Claim | None:
        """A claim for at most this many deliveries; None when there is no capacity. ``take`` must follow."""

    def take(self, claim: Claim, claimed: Sequence[Delivery]) -> None:
        """Run these deliveries, which were claimed with this claim."""

    def wake(self) -> None:
        """There may be something to claim."""

    @property
    def falls_behind(self) -> bool:
        """Whether deliveries come faster than they are settled, so that the capacity will soon be used up."""
