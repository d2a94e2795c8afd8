"""The engine that takes submitted jobs through their states and calls back.

Times are seconds since 1970 by the emulator's clock; a timer only brings ``advance`` about.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

from listener.emulator.mps.jobs import (
    BAD_CONTENT,
    BAD_CONTENT_TEXT,
    EmulatedJob,
    EmulatedKind,
    Part,
    Pipeline,
    Submission,
)
from listener.emulator.options import Options
from listener.emulator.rpc.call import Document
from listener.emulator.virtual_clock import Timer, VirtualClock


class JobEngine:
    """Runs at most ``concurrency`` jobs at a time, oldest first, over all pipelines that are Active."""

    def __init__(
        self,
        options: Options,
        *,
        rng: Random,
        clock: VirtualClock,
        call_back: Callable[[EmulatedJob, Document], None],
    ) -> None:
        self.jobs: dict[str, EmulatedJob] = {}
        self.pipelines: dict[str, Pipeline] = {}
        self._options = options
        self._rng = rng
        self._clock = clock
        self._call_back = call_back
        self.running: list[tuple[float, int, EmulatedJob]] = []
        self._timer: Timer | None = None

    def submit(
        self, submission: Submission, *, kind: EmulatedKind, pipeline: Pipeline, request_id: str
    ) -> EmulatedJob:
        """Accept a job. Whether it will fail is decided here, by the seed or by its input."""
        unlucky, forgotten = (
            self._rng.random() < rate for rate in (self._options.fail_rate, self._options.unknown_rate)
        )
        job = EmulatedJob(
            id=self.new_id(),
            number=len(self.jobs),
            kind=kind,
            pipeline=pipeline,
            submission=submission,
            request_id=request_id,
            created=self._clock.seconds(),
            fails=unlucky or "fail" in submission.input_key or submission.failure is not None,
            forgotten=forgotten,
        )
        job.enter(kind.states.waiting)
        self.jobs[job.id] = job
        if submission.answered_at_once:
            self._finish(job)
        else:
            pipeline.waiting.append(job)
        self.soon(0)
        return job

    def finish_now(self, job: EmulatedJob) -> None:
        """Finish a job that waits or runs."""
        running = [entry for entry in self.running if entry[2] is not job]
        if job in job.pipeline.waiting:
            job.pipeline.waiting.remove(job)
        elif len(running) < len(self.running):
            self.running = running
            heapq.heapify(self.running)
        else:
            return
        self._finish(job)
        self.soon(0)

    def cancel(self, job: EmulatedJob) -> bool:
        """Cancel a job that has not started; False if it has."""
        if job not in job.pipeline.waiting:
            return False
        job.pipeline.waiting.remove(job)
        job.finished = self._clock.seconds()
        job.enter(job.kind.states.cancelled)
        return True

    def new_id(self) -> str:
        """32 lower-case hexadecimal digits, as all MPS ids."""
        return f"{self._rng.getrandbits(128):032x}"

    def advance(self) -> None:
        """Advance all jobs to the current time: finish jobs that are due, start jobs up to the concurrency limit."""
        at = self._clock.seconds()
        while self.running and self.running[0][0] <= at:
            self._finish(heapq.heappop(self.running)[2])
        while len(self.running) < self._options.concurrency and (job := self._next_waiting()):
            self._start(job)
            job.due = at + self._duration(job)
            heapq.heappush(self.running, (job.due, job.number, job))
        if self.running:
            self.soon(max(self.running[0][0] - at, 0.001))

    def soon(self, seconds: float) -> None:
        """Schedule ``advance`` after this many seconds; replaces the current timer."""
        self.stop()
        self._timer = self._clock.call_later(seconds, self.advance)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def reset(self) -> None:
        self.stop()
        self.jobs.clear()
        self.pipelines.clear()
        self.running.clear()

    def _next_waiting(self) -> EmulatedJob | None:
        heads = [pipe for pipe in self.pipelines.values() if pipe.waiting and pipe.state == "Active"]
        if not heads:
            return None
        return min(heads, key=lambda pipe: pipe.waiting[0].number).waiting.popleft()

    def _duration(self, job: EmulatedJob) -> float:
        return self._options.durations.get(job.function, self._options.job_seconds)

    def _start(self, job: EmulatedJob) -> None:
        job.started = self._clock.seconds()
        job.enter(job.kind.states.running)
        for name, part in job.submission.parts.items():
            if part.opens or not job.fails:
                job.parts[name] = self._begin(part, whole=job)
        if job.kind.reports_start:
            self._report(job)

    def _begin(self, part: Part, *, whole: EmulatedJob) -> EmulatedJob:
        job = EmulatedJob(
            id=self.new_id(),
            number=len(self.jobs),
            kind=part.kind,
            pipeline=whole.pipeline,
            submission=part.submission,
            request_id=whole.request_id,
            created=self._clock.seconds(),
            fails=whole.fails or part.submission.failure is not None,
            forgotten=whole.forgotten,
        )
        job.enter(part.kind.states.waiting)
        self.jobs[job.id] = job
        self._start(job)
        if part.opens:
            self._finish(job)
        return job

    def _finish(self, job: EmulatedJob) -> None:
        if not job.started:
            self._start(job)
        for part in job.parts.values():
            if not part.over:
                self._finish(part)
        if job.fails:
            job.code, job.message = job.submission.failure or (BAD_CONTENT, BAD_CONTENT_TEXT)
        job.finished = self._clock.seconds()
        job.result = job.kind.result(job, self._options)
        job.enter(job.kind.states.fail if job.fails else job.kind.states.success)
        self._report(job)

    def _report(self, job: EmulatedJob) -> None:
        if (document := job.kind.callback(job, self._options)) is not None:
            self._call_back(job, document)
