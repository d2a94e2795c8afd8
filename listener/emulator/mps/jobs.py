"""The engine that takes submitted jobs through Queuing, Analysing and Success or Fail, and calls back.

Times are seconds since 1970 by ``clock.now()``; a timer of the event loop only brings ``advance`` about.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from listener.core import clock
from listener.emulator.mps import sample_results
from listener.emulator.options import Options

NOTIFY_URL = re.compile(r"mns://[^/]+/queues/(?P<queue>[A-Za-z0-9][A-Za-z0-9-]*)/?")
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


@dataclass(kw_only=True, eq=False)
class EmulatedJob:
    """A job of the emulated MPS; ``parameters`` are those of its submission."""

    id: str
    number: int
    pipeline: Pipeline
    parameters: dict[str, str]
    fails: bool
    forgotten: bool = False  #: queries do not find the job
    state: str = "Queuing"
    result: str = ""
    code: str = "Success"
    message: str = "success"
    due: float = 0.0
    history: list[str] = field(default_factory=list)  #: all states, in order

    @property
    def function(self) -> str:
        return self.parameters["FunctionName"]

    @property
    def over(self) -> bool:
        return self.state in {"Success", "Fail"}

    @property
    def destinations(self) -> list[str]:
        """The queues for the callback, without duplicates: that of NotifyUrl and that of the pipeline."""
        named = NOTIFY_URL.fullmatch(self.parameters.get("NotifyUrl", ""))
        queues = [named["queue"] if named else "", self.pipeline.notify.get("QueueName", "")]
        return [queue for queue in dict.fromkeys(queues) if queue]

    def enter(self, state: str) -> None:
        self.state = state
        self.history.append(state)


class JobEngine:
    """Runs at most ``concurrency`` jobs at a time, oldest first, over all pipelines that are Active."""

    def __init__(self, options: Options, *, rng: Random, call_back: Callable[[EmulatedJob], None]) -> None:
        self.jobs: dict[str, EmulatedJob] = {}
        self.pipelines: dict[str, Pipeline] = {}
        self._options = options
        self._rng = rng
        self._call_back = call_back
        self._running: list[tuple[float, int, EmulatedJob]] = []
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, pipeline: Pipeline, parameters: dict[str, str]) -> EmulatedJob:
        """Accept a job. Whether it will fail is decided here, by the seed or by its input."""
        unlucky, forgotten = (
            self._rng.random() < rate for rate in (self._options.fail_rate, self._options.unknown_rate)
        )
        job = EmulatedJob(
            id=self.new_id(),
            number=len(self.jobs),
            pipeline=pipeline,
            parameters=parameters,
            fails=unlucky or "fail" in sample_results.object_key(parameters.get("Input", "")),
            forgotten=forgotten,
        )
        job.enter("Queuing")
        self.jobs[job.id] = job
        if job.function == "TextToSpeech":
            self._finish(job)
        else:
            pipeline.waiting.append(job)
        self.soon(0)
        return job

    def finish_now(self, job: EmulatedJob) -> None:
        """Finish a job that has not started."""
        if job in job.pipeline.waiting:
            job.pipeline.waiting.remove(job)
            self._finish(job)

    def new_id(self) -> str:
        """32 lower-case hexadecimal digits, as all MPS ids."""
        return f"{self._rng.getrandbits(128):032x}"

    def advance(self) -> None:
        """Advance all jobs to the current time: finish jobs that are due, start jobs up to the concurrency limit."""
        at = _now()
        while self._running and self._running[0][0] <= at:
            self._finish(heapq.heappop(self._running)[2])
        while len(self._running) < self._options.concurrency and (job := self._next_waiting()):
            job.enter("Analysing")
            job.due = at + self._duration(job)
            heapq.heappush(self._running, (job.due, job.number, job))
        if self._running:
            self.soon(max(self._running[0][0] - at, 0.001))

    def soon(self, seconds: float) -> None:
        """Schedule ``advance`` after this many seconds; replaces the current timer."""
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.advance)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def reset(self) -> None:
        self.stop()
        self.jobs.clear()
        self.pipelines.clear()
        self._running.clear()

    def result_of(self, job: EmulatedJob) -> str:
        work = sample_results.Work(
            function=job.function,
            input=job.parameters.get("Input", ""),
            output=job.parameters.get("Output", ""),
            params=loose_object(job.parameters.get("JobParams", "")) or {},
            timestamp=int(_now()),
        )
        return sample_results.result(work, malformed=self._options.malformed)

    def _next_waiting(self) -> EmulatedJob | None:
        heads = [pipe for pipe in self.pipelines.values() if pipe.waiting and pipe.state == "Active"]
        if not heads:
            return None
        return min(heads, key=lambda pipe: pipe.waiting[0].number).waiting.popleft()

    def _duration(self, job: EmulatedJob) -> float:
        return self._options.durations.get(job.function, self._options.job_seconds)

    def _finish(self, job: EmulatedJob) -> None:
        if job.state == "Queuing":
            job.enter("Analysing")
        if job.fails:
            job.code, job.message = BAD_CONTENT, BAD_CONTENT_TEXT
            job.result = sample_results.failure(job.code, job.message)
        else:
            job.result = self.result_of(job)
        job.enter("Fail" if job.fails else "Success")
        if job.function != "TextToSpeech" or self._options.text_to_speech_callback:
            self._call_back(job)


def loose_object(text: str) -> dict[str, Any] | None:
    """Parsed JobParams; None if they are not a JSON object.

    The documentation's own samples write ``{mode:"gif"}`` and ``null``, so keys may lack their quotes and nothing
    at all is an empty object.
    """
    for form in (text, re.sub(r"([{,]\s*)([A-Za-z_]\w*)\s*:", r'\1"\2":', text)):
        try:
            value = json.loads(form or "null")
        except (ValueError, RecursionError):
            continue
        return {} if value is None else value if isinstance(value, dict) else None
    return None


def _now() -> float:
    return clock.now().timestamp()
