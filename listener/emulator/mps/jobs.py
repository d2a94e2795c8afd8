"""Jobs of the emulated MPS, the pipelines they wait in, and what a kind of job is to the emulator."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from listener.core.job_kinds import JobKind
from listener.emulator.mps.workflows import MediaWorkflow
from listener.emulator.options import Options
from listener.emulator.rpc.call import Call, Document

BAD_CONTENT = "InvalidParameter.ResourceContentBad"
BAD_CONTENT_TEXT = "The resource operated cannot be used, because its content is bad."

Failure = tuple[str, str]
"""Code and message."""


@dataclass(kw_only=True, eq=False)
class Pipeline:
    """A pipeline with its waiting jobs."""

    id: str
    name: str
    state: str = "Active"
    speed: str = "Standard"
    speed_level: int = 1
    role: str = ""
    notify: dict[str, str] = field(default_factory=dict)
    created: str = ""
    waiting: deque[EmulatedJob] = field(default_factory=deque)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a call asks for: one job."""

    request: Mapping[str, Any]  #: what queries show of the call again
    function: str  #: by which faults and durations are chosen: the function, else the kind
    input_key: str  #: the object that is processed; one with ``fail`` in it makes the job fail
    user_data: str = ""
    notify_queue: str = ""  #: the queue that the call itself names
    answered_at_once: bool = False  #: the job ends before its submission is answered
    failure: Failure | None = None  #: why the job must fail
    parts: Mapping[str, Part] = field(default_factory=dict)  #: by name; in the order in which they begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A job that another one consists of. It is not called back, and fails if the whole does."""

    kind: EmulatedKind
    submission: Submission
    opens: bool = False  #: it ends when the whole starts; if it fails, the other parts are skipped


@dataclass(kw_only=True, eq=False)
class EmulatedJob:
    """A job of the emulated MPS."""

    id: str
    number: int
    kind: EmulatedKind
    pipeline: Pipeline
    submission: Submission
    request_id: str  #: of the submission
    created: float  #: seconds since 1970
    fails: bool
    forgotten: bool = False  #: queries do not find the job
    state: str = ""
    result: Any = None
    code: str = ""  #: of the failure
    message: str = ""
    message_id: str | None = None  #: of its last callback; "" if the queue does not exist, None: not sent
    due: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    history: list[str] = field(default_factory=list)  #: all states, in order
    parts: dict[str, EmulatedJob] = field(default_factory=dict)  #: those that have begun

    @property
    def function(self) -> str:
        return self.submission.function

    @property
    def over(self) -> bool:
        states = self.kind.states
        return self.state in {states.success, states.fail, states.cancelled}

    @property
    def destinations(self) -> list[str]:
        """The queues for the callback, without duplicates: that of the submission and that of the pipeline."""
        queues = [self.submission.notify_queue, self.pipeline.notify.get("QueueName", "")]
        return [queue for queue in dict.fromkeys(queues) if queue]

    @property
    def topic(self) -> str:
        """The topic for the callback: that of the pipeline."""
        return self.pipeline.notify.get("Topic", "")

    def enter(self, state: str) -> None:
        if state != self.state:  # some kinds have one name for a job that waits and one that runs
            self.state = state
            self.history.append(state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a submission needs of the account that it is made for."""

    accept: Callable[[Submission], EmulatedJob]  #: accept a job into the pipeline that the call names
    workflows: Mapping[str, MediaWorkflow]  #: by id


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """The states of one kind of jobs, as queries name them."""

    waiting: str
    running: str
    success: str = "Success"
    fail: str = "Fail"
    cancelled: str = "Cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedKind:
    """One kind of jobs: its operations, its states, and what is said about a job of it."""

    api: JobKind
    states: States
    missing: tuple[str, str] = ("NonExistIds", "String")  #: where the reply to a query has unknown ids
    lists_all: bool = False  #: the query without ids lists all jobs
    cancelled_by: str = ""  #: the operation, if there is one
    reports_start: bool = False  #: it is called back when a job starts, too
    #: The job of an activity of a workflow, by its input and the name of the activity.
    activity: Callable[[Document, str], Submission] | None = None
    #: Other queries for one job, by operation.
    details: Mapping[str, Callable[[EmulatedJob], Document]] = field(default_factory=dict)
    submit: Callable[[Call, Account], Document]
    describe: Callable[[EmulatedJob], Document]  #: for queries
    callback: Callable[[EmulatedJob, Options], Document | None]  #: None: it is not called back
    result: Callable[[EmulatedJob, Options], Any] = lambda job, options: None  #: of a job that ends
