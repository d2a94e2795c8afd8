"""The words of the product as frozen values: they never ask the time and never do I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from listener.core.outputs import Outputs


class Source(StrEnum):
    """Where a result comes from."""

    CALLBACK = "callback"
    QUERY = "query"
    REPLY = "reply"  #: the reply to the submission itself
    LISTENER = "listener"  #: our own verdict: the job is lost


SUCCESS, FAIL, CANCELLED, LOST = "Success", "Fail", "Cancelled", "Lost"
TERMINAL_STATES = frozenset({SUCCESS, FAIL, CANCELLED, LOST})
#: States in which a job is known to be on its way (QueryIProductionJob, QuerySmarttagJob, QueryJobList).
PROGRESS_STATES = frozenset({"Queuing", "Analysing", "Submitted", "Processing", "Transcoding", "Running"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One arrival from the queue; the same message may well arrive again."""

    message_id: str
    receipt_handle: str
    body: str  #: as it stood on the wire: not yet base64-decoded, not yet unwrapped
    dequeue_count: int = 1  #: 1 on first arrival
    enqueued_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one callback (or one query) claims about a job.

    ``state`` is normalised (``TranscodeSuccess`` reads ``Success``); everything as the vendor wrote it is in ``raw``.
    """

    job_id: str  #: empty for a workflow, which has a run id instead, and for a lost intent, which has its token only
    state: str
    type: str = ""  #: ``IProduction``, ``Transcode``, ``Report``…; the set is open
    run_id: str = ""
    function: str = ""
    code: str = ""
    message: str = ""
    details: tuple[Any, ...] = ()
    user_data: str | None = None  #: exactly what the submitter gave, our token taken off
    token: str = ""  #: our own mark from the user data, where there was one
    activity_job_ids: tuple[str, ...] = ()  #: a workflow's activities
    activity_states: tuple[str, ...] = ()  #: theirs, normalised, in the same order
    pipeline: str = ""
    source: Source = Source.CALLBACK
    raw: str = ""  #: the callback's JSON text
    outputs: str | None = None  #: the Result of a query, as MPS wrote it; None: not asked

    @property
    def key(self) -> str:
        """What the result is about: the job id; or run id and phase of a workflow, since Start and Report are two
        results; or the token of a lost intent."""
        return self.job_id or (f"{self.run_id}/{self.type}" if self.run_id else self.token)

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL_STATES

    @property
    def terminal_id(self) -> str:
        """What ends with this result: the job id, the run id of the workflow, or the token of the lost intent.

        Empty when nothing ends with it.
        """
        started = self.run_id and self.type.casefold() == "start"
        return "" if started or not self.terminal else self.job_id or self.run_id or self.lost_intent

    @property
    def lost_intent(self) -> str:
        """The token of the intent that this result declares lost; empty for every other result.

        MPS never gave that job an id, so its token is all there is to identify it.
        """
        return self.token if self.source is Source.LISTENER and not self.job_id else ""

    @property
    def dedup_key(self) -> str:
        """Unique among all results: one key for all terminal states of a job or workflow, one per other state."""
        return self.terminal_id or (self.key if self.terminal else f"{self.key}#{self.state}")


class JobState(StrEnum):
    """Our own view of a job, before and after MPS knows it."""

    INTENT = "intent"  #: stored, the call not yet answered
    SUBMITTED = "submitted"  #: MPS gave a job id
    REFUSED = "refused"  #: MPS refused the submission; there is no job
    SUCCESS = SUCCESS
    FAIL = FAIL
    CANCELLED = CANCELLED
    LOST = LOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What we know of a submitted job."""

    # A new field needs a column of the same name in store/tables.py and a migration that adds it, with a default in
    # the database (server_default), because the previous release goes on inserting rows during a rolling upgrade.
    # store/rows.py and cli/serialize.py follow from the fields; tests/contract/test_rows.py fails on what is missing.

    token: str  #: our mark, which rides in the user data; unique
    function: str = ""
    job_id: str = ""  #: MPS' id; empty until MPS has answered
    reference: str = ""  #: the submitter's own name for the job; unique where given
    pipeline: str = ""
    input: str = ""
    output: str = ""
    params: str = ""  #: JobParams, a JSON object as text
    model: str = ""
    schedule_params: str = ""
    notify_url: str = ""
    user_data: str | None = None  #: as the submitter gave it
    state: str = JobState.INTENT
    error: str = ""
    created_at: datetime
    submitted_at: datetime | None = None
    finished_at: datetime | None = None
    tenant: str = ""  #: whose account it is in; empty for the only one
    deadline_at: datetime | None = None  #: when its callback is overdue; None: never
    queries: int = 0  #: how often MPS has been asked about it


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """Which tenants' jobs are meant: all of them, unless it says otherwise."""

    only: Sequence[str] = ()  #: these and no others
    without: Sequence[str] = ()  #: all but these


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A message that could not be decoded, kept whole."""

    id: int
    queue: str
    message: Message
    reason: str
    received_at: datetime
    copies: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What MPS says to a submission."""

    job_id: str
    outcome: Result | None = None  #: where the reply itself tells how the job ended, as for TextToSpeech


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What MPS says when asked about a job."""

    result: Result  #: its ``state`` may still be Queuing or Analysing


class ResultStatus(StrEnum):
    """What became of a result when it was recorded."""

    ROUTED = "routed"  #: it has deliveries
    WAITING = "waiting"  #: its job is not known yet; the grace runs
    PARKED = "parked"  #: no route wants it; kept and shown
    PROGRESS = "progress"  #: not an outcome; kept
    DROPPED = "dropped"  #: job unknown, and the settings say to drop such results
    REFUSED = "refused"  #: job unknown, and the settings say to make it a dead letter


@dataclass(frozen=True, slots=True)
class Target:
    """One handler of one route."""

    route: str
    handler: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingDecision:
    """What is to become of a result: decided by a pure function, carried out by the store."""

    status: ResultStatus
    targets: Sequence[Target] = ()
    wait_until: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedMessage:
    """One entry of a batch to record: a message with its result, a message that could not be decoded, or a result
    that no message brought (the answer to a query, the reply to a submission, a job declared lost)."""

    queue: str = ""  #: empty without a message
    message: Message | None = None
    result: Result | None  #: None if the message could not be decoded
    reason: str = ""  #: why it could not be decoded

    def __post_init__(self) -> None:
        if self.message is None and self.result is None:
            raise ValueError("neither a message nor a result")


class DeliveryState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"
    DROPPED = "dropped"  #: a dead letter that somebody put away


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One result on its way to one handler."""

    id: int
    target: Target
    result: Result
    job: Job | None
    queue: str  #: where the result arrived; empty when no queue brought it
    attempt: int  #: which run this is, from 1; every start counts, also those that a crash ended
    failures: int  #: attempts spent; what ``max_attempts`` limits
    state: DeliveryState
    created_at: datetime
    next_at: datetime | None = None
    settled_at: datetime | None = None
    lease_until: datetime | None = None
    owner: str = ""
    last_error: str = ""

    @property
    def key(self) -> str:
        """The idempotency key: the same for every attempt, different for every other delivery."""
        return f"{self.result.key}:{self.result.state}:{self.target.route}:{self.target.handler}"


@dataclass(frozen=True, slots=True)
class Done:
    """The handler returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAt:
    """Back to pending, to be run at ``at``. ``spent`` tells whether an attempt was used up."""

    at: datetime
    reason: str
    spent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """Given up: a dead letter."""

    reason: str


Outcome = Done | RetryAt | Dead


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of one attempt at one delivery; void if the attempt is no longer the current one."""

    delivery: Delivery
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who takes deliveries, until when, and how many at most."""

    owner: str
    until: datetime
    limit: int
    #: How many of one queue at most, where it has been given some already; ``capacity`` holds for all the others.
    capacities: Mapping[str, int] = field(default_factory=dict)
    capacity: int | None = None

    def capacity_for(self, queue: str) -> int:
        return self.capacities.get(queue, self.limit if self.capacity is None else self.capacity)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSummary:
    """What one batch did to the store."""

    new: int = 0
    duplicates: int = 0  #: copies of what was known
    contradictions: int = 0  #: another terminal state for a job that already has one
    quarantined: int = 0
    waiting: int = 0
    parked: int = 0
    deliveries: int = 0
    claimed: Sequence[Delivery] = ()  #: deliveries that the caller owns already


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What a handler gets: one result, with what we know about its job and its delivery.

    ``key`` stays the same for every attempt at this delivery and differs from every other delivery's: use it to
    make an effect happen once.
    """

    key: str
    attempt: int
    route: str
    job_id: str
    type: str
    function: str
    state: str
    code: str
    message: str
    details: tuple[Any, ...] = ()
    user_data: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)  #: user data, where it is a JSON object
    reference: str = ""
    run_id: str = ""
    pipeline: str = ""
    queue: str = ""
    input: str = ""
    output: str = ""
    source: str = Source.CALLBACK
    outputs: Outputs | None = None  #: what the job made, by a query; None where MPS was not asked
    raw: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON values; keys in the order of the fields."""
        return {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value.as_dict() if isinstance(value, Outputs) else value
