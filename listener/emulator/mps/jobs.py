"""Jobs of the emulated MPS, the pipelines they wait in, and what a kind of job is to the emulator."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from listener.emulator.mps.call import Call, Document
from listener.emulator.options import Options

BAD_CONTENT = "InvalidParameter.ResourceContentBad"
BAD_CONTENT_TEXT = "The resource operated cannot be used, because its content is bad."


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
    """What a call asks for: one job. ``parameters`` are those of the call that queries show again."""

    parameters: Mapping[str, str]
    function: str  #: by which faults and durations are chosen: the function, else the kind
    input_key: str  #: the object that is processed; one with ``fail`` in it makes the job fail
    notify_queue: str = ""  #: the queue that the call itself names
    answered_at_once: bool = False  #: the job ends before its submission is answered


@dataclass(kw_only=True, eq=False)
class EmulatedJob:
    """A job of the emulated MPS."""

    id: str
    number: int
    kind: EmulatedKind
    pipeline: Pipeline
    submission: Submission
    fails: bool
    forgotten: bool = False  #: queries do not find the job
    state: str = ""
    result: Any = None
    code: str = ""  #: of the failure
    message: str = ""
    due: float = 0.0
    finished: float = 0.0  #: seconds since 1970
    history: list[str] = field(default_factory=list)  #: all states, in order

    @property
    def function(self) -> str:
        return self.submission.function

    @property
    def over(self) -> bool:
        return self.state in {self.kind.states.success, self.kind.states.fail}

    @property
    def destinations(self) -> list[str]:
        """The queues for the callback, without duplicates: that of the submission and that of the pipeline."""
        queues = [self.submission.notify_queue, self.pipeline.notify.get("QueueName", "")]
        return [queue for queue in dict.fromkeys(queues) if queue]

    def enter(self, state: str) -> None:
        self.state = state
        self.history.append(state)


Accept = Callable[[Submission], EmulatedJob]
"""Accept a job into the pipeline that the call names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """The states of one kind of jobs, as queries name them."""

    waiting: str
    running: str
    success: str = "Success"
    fail: str = "Fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedKind:
    """One kind of jobs: its operations, its states, and what is said about a job of it."""

    name: str
    submitted_by: str  #: the operation
    queried_by: str  #: the operation
    ids: str  #: the parameter of the query
    states: States
    submit: Callable[[Call, Accept], Document]
    describe: Callable[[EmulatedJob], Document]  #: for queries
    result: Callable[[EmulatedJob, Options], Any]  #: of a job that ends
    callback: Callable[[EmulatedJob, Options], Document | None]  #: None: it is not called back
