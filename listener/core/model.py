"""The data model as frozen values, which never read the clock and never do I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self

from listener.core import clock
from listener.core.documents import from_plain, to_plain
from listener.core.event_types import ends_job
from listener.core.idempotency_key import idempotency_key
from listener.core.index_key import index_key
from listener.core.job_kinds import IPRODUCTION, JobKind, kind_of_type
from listener.core.outputs import Activity, Outputs
from listener.core.quick_init import maker, quick_init


class Source(StrEnum):
    """Where a result comes from."""

    CALLBACK = "callback"
    QUERY = "query"
    REPLY = "reply"  #: the reply to the submission itself
    LISTENER = "listener"  #: our own result: the job is Lost


SUCCESS, FAIL, CANCELLED, LOST = "Success", "Fail", "Cancelled", "Lost"
TERMINAL_STATES = frozenset({SUCCESS, FAIL, CANCELLED, LOST})
RUNNING = "Running"
#: States of a job that is still in progress, as the queries of the kinds of jobs and a workflow's run spell them.
PROGRESS_STATES = frozenset(
    {"Queuing", "Analysing", "Analyzing", "Submitted", "Processing", "Transcoding", "Snapshoting", RUNNING}
)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message received from the queue; the same message may be received again."""

    message_id: str
    receipt_handle: str
    body: str  #: as received: not base64-decoded, not unwrapped
    dequeue_count: int = 1  #: 1 on first receipt
    enqueued_at: datetime | None = None


make_message = maker(Message)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The content of one callback (or one query) about a job, or of one event of IMS or VOD.

    ``state`` is normalised (``TranscodeSuccess`` becomes ``Success``, and that of a workflow's successful ``Start``
    becomes ``Running``); the vendor's original text is in ``raw``.
    """

    #: Empty for a workflow, which has a run id instead, for an event about a medium, which has its media id, and for
    #: a lost intent, which has its token only.
    job_id: str
    state: str
    type: str = ""  #: ``IProduction``, ``Transcode``, ``Report``…; the set is open
    run_id: str = ""
    media_id: str = ""  #: the video, image or other medium of an event
    #: What identifies an event among all others: its id, type, time and content; empty for callbacks.
    event: str = ""
    function: str = ""
    code: str = ""
    message: str = ""
    details: tuple[Any, ...] = ()
    user_data: str | None = None  #: the exact text of the submitter, without our token
    token: str = ""  #: our token from the user data, if any
    activity_job_ids: tuple[str, ...] = ()  #: the activities of a workflow
    activity_states: tuple[str, ...] = ()  #: their normalised states, in the same order
    pipeline: str = ""
    source: Source = Source.CALLBACK
    raw: str = ""  #: the callback's JSON text
    #: What a query reported about the outputs, as text: of smart production its Result ("null" if there is none), of
    #: other kinds the job itself. "": MPS was asked, but does not tell; None: it was not asked.
    outputs: str | None = None
    output: str = ""  #: the Output of the job, an OSS URL, if a query reported it

    @property
    def subject(self) -> str:
        """What the result is about, as people know it: the job id; or run id and phase of a workflow, since Start and
        Report are two results; or the id of a medium, or the token of a lost intent."""
        run = f"{self.run_id}/{self.type}" if self.run_id else ""
        return self.job_id or run or self.media_id or self.token or self.event

    @property
    def key(self) -> str:
        """Identifies what this result reports: an event (a job may have several), or else its subject."""
        return self.event or self.subject

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL_STATES

    @property
    def terminal_id(self) -> str:
        """What ends with this result: the job id, the run id of the workflow, or the token of the lost intent.

        Empty when nothing ends with it.
        """
        if self.state not in TERMINAL_STATES:
            return ""
        if self.event:
            return self.job_id if ends_job(self.type) else ""
        if not self.run_id and self.job_id:  # as nearly always
            return self.job_id
        started = self.run_id and self.type.casefold() == "start"
        return "" if started else self.job_id or self.run_id or self.lost_intent

    @property
    def lost_intent(self) -> str:
        """The token of the intent that this result declares lost; empty for every other result.

        MPS never gave that job an id, so its token is all there is to identify it.
        """
        return self.token if self.source is Source.LISTENER and not self.job_id else ""

    @property
    def dedup_key(self) -> str:
        """Unique among all results: one key for all terminal states of a job or workflow, one per other state, and one
        for each event.

        Ids, type and state come from the callback: together they may be longer than an index allows.
        """
        return index_key(
            self.event or self.terminal_id or (self.key if self.terminal else f"{self.key}#{self.state}")
        )

    @property
    def unverified_key(self) -> str:
        """Unique among all results: the key of a job's callbacks as long as MPS has not confirmed them.

        It ends with a blank, which nothing in a callback that is part of a key does: no forged id can equal it. That of
        a run's start ends with two. All other reports of a run share one, whatever their types are, so that one
        question is asked about all of them.
        """
        start = f"{self.run_id} " if self.run_id and not self.job_id else ""
        return index_key(f"{self.terminal_id or start or self.key} ")


make_result = maker(Result)


class JobState(StrEnum):
    """The state of a job in our store, before and after MPS knows it."""

    ACCEPTED = "accepted"  #: stored; a daemon submits it as soon as it can
    INTENT = "intent"  #: stored; no reply to the submission yet
    SUBMITTED = "submitted"  #: MPS returned a job id
    REFUSED = "refused"  #: by MPS, or since it could not be submitted, as ``error`` says; there is no job
    SUCCESS = SUCCESS
    FAIL = FAIL
    CANCELLED = CANCELLED
    LOST = LOST


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A submitted job in our store."""

    # A new field needs a column of the same name in store/tables.py and a migration that adds it, with a default in
    # the database (server_default), because the previous release goes on inserting rows during a rolling upgrade.
    # store/rows.py and api/serialize.py follow from the fields; tests/contract/test_rows.py fails on what is missing.

    token: str  #: our token, part of the user data; unique
    function: str = ""
    job_id: str = ""  #: the id from MPS; empty until MPS has replied
    reference: str = ""  #: the submitter's own name for the job; unique if given
    pipeline: str = ""
    input: str = ""
    output: str = ""
    params: str = ""  #: JobParams, a JSON object as text; empty if it was submitted externally
    model: str = ""
    schedule_params: str = ""
    notify_url: str = ""
    user_data: str | None = None  #: as given by the submitter
    state: JobState = JobState.INTENT
    error: str = ""
    created_at: datetime
    submitted_at: datetime | None = None  #: of an intent that was accepted before: when its call began
    finished_at: datetime | None = None
    tenant: str = ""  #: the tenant of its account; empty for the default one
    deadline_at: datetime | None = None  #: when its callback becomes overdue; None: never
    queries: int = 0  #: how often MPS was queried for it
    kind: str = ""  #: a name of ``core.job_kinds``; empty if it is not known
    trace: str = ""  #: the ``traceparent`` of its submission (W3C Trace Context); empty if it was not traced

    @property
    def overdue_since(self) -> datetime | None:
        """From when on its callback is overdue; its submission may have waited beyond its deadline."""
        if self.deadline_at is None or self.submitted_at is None:
            return self.deadline_at
        return max(self.deadline_at, self.submitted_at)

    @property
    def queried_kind(self) -> JobKind | None:
        """How MPS can be asked about it; None if its kind is unknown. Only smart production has functions."""
        if self.kind:
            return kind_of_type(self.kind)
        return IPRODUCTION if self.function else None

    @property
    def has_newer_kind(self) -> bool:
        """Whether only a newer release, which shares the store during an upgrade, knows how MPS is asked about it."""
        return bool(self.kind) and kind_of_type(self.kind) is None

    @property
    def queryable(self) -> bool:
        """Whether MPS can be asked about it, by this release or a newer one."""
        return self.has_newer_kind or self.queried_kind is not None

    @property
    def kind_name(self) -> str:
        """Its kind by name; empty if that is unknown."""
        return self.queried_kind.name if self.queried_kind else ""

    @property
    def has_events(self) -> bool:
        """Whether it may be a job of IMS or VOD, so that their events can be about it. MPS sends none, and a forged
        one must not get past the verification of callbacks. Kinds are those of MPS, also if only a newer release knows
        them."""
        return not (self.submitted_here or self.kind or self.function)

    @property
    def submitted_here(self) -> bool:
        """Whether this listener submitted it: then it has JobParams, which every submission needs."""
        return bool(self.params)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """A selection of tenants: all, unless restricted."""

    only: Sequence[str] = ()  #: only these
    without: Sequence[str] = ()  #: all except these


@dataclass(frozen=True, slots=True, kw_only=True)
class NewerKind:
    """Accepted jobs of a kind that this release cannot submit."""

    kind: str
    jobs: int  #: how many of them wait
    reference: str  #: of the first one


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A message that could not be decoded, stored verbatim."""

    id: int
    queue: str
    message: Message
    reason: str
    received_at: datetime
    copies: int = 1


#: Functions whose outcome is in the reply to the submission; they need no callback.
ANSWERED_AT_ONCE = frozenset({"TextToSpeech"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The reply of MPS to a submission."""

    job_id: str
    outcome: Result | None = None  #: the outcome, if the reply contains it, as for TextToSpeech


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The reply of MPS to a query for a job."""

    result: Result  #: its ``state`` may still be Queuing or Analysing


class ResultStatus(StrEnum):
    """How a result was handled when it was recorded."""

    ROUTED = "routed"  #: it has deliveries
    WAITING = "waiting"  #: its job is not known yet; it waits for ``correlation.wait``
    VERIFYING = "verifying"  #: MPS is being asked whether it is true; see ``correlation.verify``
    PARKED = "parked"  #: no route matches; stored and listed
    PROGRESS = "progress"  #: not a terminal state; stored
    DROPPED = "dropped"  #: job unknown, and dropped according to the settings; or a test message of `setup`
    REFUSED = "refused"  #: job unknown; a dead letter according to the settings


class RecordKind(StrEnum):
    """What recording one message, or one result that no message brought, led to: exactly one of these."""

    # The status of a new result:
    ROUTED = ResultStatus.ROUTED
    WAITING = ResultStatus.WAITING
    VERIFYING = ResultStatus.VERIFYING
    PARKED = ResultStatus.PARKED
    PROGRESS = ResultStatus.PROGRESS
    DROPPED = ResultStatus.DROPPED
    REFUSED = ResultStatus.REFUSED
    # No new result, or one that changes nothing:
    DUPLICATE = "duplicate"  #: a copy of a recorded result
    CONTRADICTION = "contradiction"  #: another terminal state for a job that already has one
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Target:
    """One handler of one route."""

    route: str
    handler: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingDecision:
    """How to handle a result: decided by a pure function, carried out by the store."""

    status: ResultStatus
    targets: Sequence[Target] = ()
    wait_until: datetime | None = None
    reason: str = ""
    #: Tenants about whose jobs MPS itself is asked, rather than believing the report of a workflow.
    tenants_asked: frozenset[str] = frozenset()
    #: Whether the job that was found is only an activity, and the result is recorded as one of an unknown job.
    ignores_job: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unverified:
    """A callback that MPS has not confirmed yet; it belongs to the caller for a while, who asks MPS."""

    id: int
    result: Result
    job: Job | None
    queue: str
    message_id: str
    received_at: datetime  #: of its last copy
    claimed_until: datetime


class VerificationOutcome(StrEnum):
    """What asking MPS about a callback led to."""

    CONFIRMED = "confirmed"  #: MPS reports the same state
    CONTRADICTED = "contradicted"  #: MPS reports another terminal state, which is recorded instead
    PENDING = "pending"  #: the job is still running, or MPS is unavailable: ask again later
    REFUSED = "refused"  #: quarantined: MPS does not know the job, or still reports it as running
    UNVERIFIED = "unverified"  #: believed, since MPS could not be asked for too long


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


make_decoded_message = maker(DecodedMessage)


class DeliveryState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"
    DROPPED = "dropped"  #: a dead letter that was discarded


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One result on its way to one handler."""

    id: int
    target: Target
    result: Result
    job: Job | None
    received_at: datetime  #: when the result was recorded
    queue: str  #: the queue of the result; empty if it did not come from a queue
    attempt: int  #: the number of this run, from 1; every start counts, including those that a crash ended
    failures: int  #: attempts spent, limited by ``max_attempts``
    state: DeliveryState
    created_at: datetime
    next_at: datetime | None = None
    settled_at: datetime | None = None  #: when its last attempt was settled
    lease_until: datetime | None = None
    owner: str = ""
    last_error: str = ""
    no_handler_since: datetime | None = None  #: since when no process that claimed it has had its handler
    first_key: str = ""  #: its key from before a replay gave it another target; empty if none has
    replayed_at: datetime | None = None  #: when a replay gave it a new set of attempts
    #: From when on an application may pull it; None if a handler in the listener's process gets it.
    pull_at: datetime | None = None

    @property
    def due_at(self) -> datetime | None:
        """When it is due, whoever gets it; None unless it is pending."""
        return self.pull_at if self.next_at is None and self.state is DeliveryState.PENDING else self.next_at

    @property
    def attempts_since(self) -> datetime:
        """When its present set of attempts began: ``max_elapsed`` counts from then."""
        return self.replayed_at or self.created_at

    @property
    def key(self) -> str:
        """The idempotency key of this delivery."""
        result, target = self.result, self.target
        return self.first_key or idempotency_key(result.key, result.state, target.route, target.handler)


make_delivery = maker(Delivery)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockLag:
    """A period in which the wall clock was behind, and which is over: times that were written in it are too early.

    It is at most half as long as ``at_least``: a time that has been moved, by that or more, is outside of it.
    """

    begin: datetime  #: by that clock
    end: datetime  #: by that clock
    by: timedelta  #: how far it was behind; perhaps a little less
    at_least: timedelta  #: it was behind by this or more

    def __contains__(self, at: datetime) -> bool:
        return self.begin <= at <= self.end


@dataclass(frozen=True, slots=True)
class Done:
    """The handler returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAfter:
    """Back to pending, to be retried when this time has passed since it was settled. ``spent``: an attempt was.

    Not a point in time: the clock may be set between the decision and the moment when it is written.
    """

    wait: timedelta
    reason: str
    spent: bool = True
    no_handler_since: datetime | None = None  #: see ``Delivery``
    failed: bool = True  #: False if it did not fail, but was cut short by a stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """Failed permanently: a dead letter."""

    reason: str


@dataclass(frozen=True, slots=True)
class Offered:
    """Ready, and pending until an application pulls it: its pull continues this attempt."""


Outcome = Done | RetryAfter | Dead | Offered
#: How the log, the metrics and traces name the outcome of an attempt.
OUTCOME_NAMES: Final[Mapping[type[Outcome], str]] = {
    Done: "done",
    RetryAfter: "retry",
    Dead: "dead",
    Offered: "offered",
}


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The outcome of one attempt at a delivery; ignored if the attempt is no longer the current one."""

    delivery: Delivery
    outcome: Outcome
    started_at: datetime | None = None  #: None if its handler was not called, or by a process that crashed
    seconds: float | None = None  #: how long it took; None as for ``started_at``


make_settlement = maker(Settlement)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt that failed, or that followed one which did, as the store keeps it for a timeline."""

    delivery_id: int
    attempt: int  #: its number, from 1
    outcome: str  #: a value of OUTCOME_NAMES
    error: str  #: why it failed; of one that was done all the same, why it had counted as failed
    owner: str  #: the process that made it
    started_at: datetime | None  #: None if the handler was not called, or if that is not known
    seconds: float | None  #: how long it took; None as for ``started_at``
    settled_at: datetime  #: when it was settled, or found to have been lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """Which dead letters were replayed, and why others were not; ids of anything else are in neither."""

    ids: Sequence[int] = ()
    targets: Mapping[int, Sequence[Target]] = field(default_factory=dict)  #: where each one went
    refused: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim for deliveries: the owner, the lease, and the maximum number."""

    owner: str
    until: datetime
    limit: int
    #: The maximum per queue, for queues with deliveries in flight; ``capacity`` applies to all others.
    capacities: Mapping[str, int] = field(default_factory=dict)
    capacity: int | None = None
    #: The time since boot at which the lease begins.
    made: timedelta = field(default_factory=lambda: clock.uptime())

    def capacity_for(self, queue: str) -> int:
        return self.capacities.get(queue, self.limit if self.capacity is None else self.capacity)


@dataclass(frozen=True, slots=True)
class Lease:
    """How long the lease of a running delivery lasts; every renewal changes ``until``."""

    delivery_id: int
    until: datetime
    pulled: bool = False  #: by an application, which need not renew it


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEntry:
    """What was committed about one message, or about one result that no message brought: for the log."""

    kind: RecordKind
    queue: str
    message_id: str
    result: Result | None  #: None if the message could not be decoded
    targets: Sequence[Target] = ()  #: of a routed result: one delivery for each
    reason: str = ""  #: of everything but routed results and copies
    recorded_state: str = ""  #: of a contradiction: the state that the job already has
    trace: str = ""  #: that of its job


@dataclass(frozen=True, slots=True)
class EndedJob:
    """An outcome that was recorded: for the metrics."""

    function: str
    source: Source
    took: timedelta | None  #: from the submission until it was recorded; None if the job is not known


make_ended_job = maker(EndedJob)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSummary:
    """The effect of one batch on the store."""

    new: int = 0
    duplicates: int = 0  #: copies of recorded results
    contradictions: int = 0  #: another terminal state for a job that already has one
    quarantined: int = 0
    waiting: int = 0
    verifying: int = 0
    parked: int = 0
    decided: int = 0  #: waiting results that were decided about
    deliveries: int = 0
    claimed: Sequence[Delivery] = ()  #: deliveries that are already leased to the caller
    #: How many messages and results had which effect. A declaration of our own (``Lost``) that came too late has none.
    kinds: Mapping[RecordKind, int] = field(default_factory=dict, compare=False)
    ended: Sequence[EndedJob] = field(default=(), compare=False)
    #: One entry for each of these, made when this is called.
    entries: Callable[[], Sequence[RecordedEntry]] = field(default=tuple, compare=False)

    @classmethod
    def total(cls, parts: Sequence[RecordSummary]) -> RecordSummary:
        """The effect of several transactions."""
        return cls(
            new=sum(each.new for each in parts),
            duplicates=sum(each.duplicates for each in parts),
            contradictions=sum(each.contradictions for each in parts),
            quarantined=sum(each.quarantined for each in parts),
            waiting=sum(each.waiting for each in parts),
            verifying=sum(each.verifying for each in parts),
            parked=sum(each.parked for each in parts),
            decided=sum(each.decided for each in parts),
            deliveries=sum(each.deliveries for each in parts),
            claimed=[delivery for each in parts for delivery in each.claimed],
            kinds=sum((Counter(each.kinds) for each in parts), Counter()),
            ended=[job for each in parts for job in each.ended],
            entries=lambda: [entry for each in parts for entry in each.entries()],
        )


#: The version of the document that ``JobResult.to_document`` makes. It changes if a member is removed or changes its
#: meaning; new members may be added at any time.
DOCUMENT_SCHEMA: Final = 1


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """The argument of a handler: one result, with data of its job and delivery.

    ``key`` is the same for every attempt at this delivery and different for every other delivery: use it as an
    idempotency key.
    """

    key: str = ""
    attempt: int = 1
    route: str = ""
    job_id: str
    type: str = ""
    function: str = ""
    state: str
    code: str = ""
    message: str = ""
    details: tuple[Any, ...] = ()
    user_data: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)  #: user data, if it is a JSON object
    reference: str = ""
    run_id: str = ""
    media_id: str = ""  #: of an event of IMS or VOD: the video, image or other medium
    pipeline: str = ""
    queue: str = ""
    input: str = ""
    output: str = ""
    submitted_at: datetime | None = None  #: when MPS returned the job id; None if the job is not known
    received_at: datetime | None = None  #: when this result was recorded; None if it was made up
    #: When the outcome of the job was recorded; None while it is in progress.
    finished_at: datetime | None = None
    source: str = Source.CALLBACK
    #: What the job produced; None if that is not known, since MPS was not queried.
    outputs: Outputs | None = None
    activities: tuple[Activity, ...] = ()  #: of a workflow: its steps, in chronological order
    raw: str = ""
    traceparent: str = ""  #: that of this attempt, or else of the submission (W3C Trace Context)

    def to_document(self) -> dict[str, Any]:
        """The JSON object that handlers in other languages get: plain values, with the version of its schema."""
        return {"schema": DOCUMENT_SCHEMA, **to_plain(self)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The inverse of ``to_document``. Members that this release does not know are ignored.

        Raises ValueError if the document has another schema version, or no ``job_id`` or ``state``.
        """
        version = document.get("schema")
        if version != DOCUMENT_SCHEMA:
            raise ValueError(f"schema = {version!r} is not supported; expected {DOCUMENT_SCHEMA}")
        missing = [name for name in ("job_id", "state") if name not in document]
        if missing:
            raise ValueError(f"the document has no member {missing[0]!r}")
        return from_plain(cls, document)
