"""MPS 2014-06-18: the RPC calls for jobs and pipelines, in XML and JSON."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from random import Random

from listener.core import clock
from listener.emulator.messages import Reply, Request
from listener.emulator.mps.authentication import Authentication
from listener.emulator.mps.call import Call, Document, MpsOperation
from listener.emulator.mps.engine import JobEngine
from listener.emulator.mps.errors import MpsError
from listener.emulator.mps.jobs import Account, EmulatedJob, EmulatedKind, Submission
from listener.emulator.mps.kinds import EMULATED_KINDS
from listener.emulator.mps.kinds.iproduction import IPRODUCTION
from listener.emulator.mps.pipelines import Pipelines
from listener.emulator.mps.queries import JobsOfKind
from listener.emulator.mps.replies import reply
from listener.emulator.mps.workflows import MediaWorkflows
from listener.emulator.options import Options

VERSION = "2014-06-18"


class Mps:
    """The MPS service of one account."""

    def __init__(self, options: Options, *, rng: Random, engine: JobEngine) -> None:
        self._options = options
        self._rng = rng
        self._engine = engine
        self._authentication = Authentication(options)
        self._pipelines = Pipelines(options, engine=engine)
        self._workflows = MediaWorkflows(new_id=engine.new_id)
        self._calls: dict[str, deque[datetime]] = {}
        self.operations: dict[str, MpsOperation] = {
            **self._pipelines.operations,
            **self._workflows.operations,
        }
        for kind in EMULATED_KINDS:
            self.operations |= self._operations_of(kind)
        self._kind_names = {
            kind.api.submitted_by: kind.api.name for kind in EMULATED_KINDS if kind is not IPRODUCTION
        }
        self.reset()

    def reset(self) -> None:
        """Reset all state to that of a new account, including its default pipelines."""
        self._authentication.reset()
        self._calls.clear()
        self._engine.reset()
        self._pipelines.reset()
        self._workflows.reset()

    def answer(self, call: Call, request: Request, *, skew: timedelta = timedelta(0)) -> Reply:
        """Execute one call. Never raises MpsError; errors are replies."""
        request_id = self.request_id()
        try:
            self._authentication.check(call, request, clock.now() + skew)
            if call.version != VERSION:
                raise MpsError("InvalidVersion")
            operation = self.operations.get(call.action)
            if operation is None:
                raise MpsError("InvalidAction.NotFound")
            self._check_pace(call.action)
            self._engine.advance()
            document = {"RequestId": request_id, **operation(replace(call, request_id=request_id))}
            return reply(200, document, root=f"{call.action}Response", as_json=call.json)
        except MpsError as error:
            return self.error(error, call=call, host=request.host, request_id=request_id)

    def error(self, error: MpsError, *, call: Call, host: str, request_id: str = "") -> Reply:
        document = {
            "RequestId": request_id or self.request_id(),
            "HostId": host,
            "Code": error.code,
            "Message": error.text,
            "Recommend": f"https://error-center.aliyun.com/status/search?Keyword={error.code}&source=PopGw",
        }
        return reply(error.status, document, root="Error", as_json=call.json)

    def request_id(self) -> str:
        digits = f"{self._rng.getrandbits(128):032X}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def _check_pace(self, action: str) -> None:
        """Enforce the rate limit of one action."""
        at = clock.now()
        recent = self._calls.setdefault(action, deque())
        while recent and at - recent[0] >= timedelta(seconds=1):
            recent.popleft()
        if self._options.calls_per_second and len(recent) >= self._options.calls_per_second:
            raise MpsError("Throttling.User")
        recent.append(at)

    def function_of(self, call: Call) -> str:
        """By what a fault may choose this call: the function of its job, else the kind of its job."""
        return call.parameters.get("FunctionName") or self._kind_names.get(call.action, "")

    def _operations_of(self, kind: EmulatedKind) -> dict[str, MpsOperation]:
        operations: dict[str, MpsOperation] = {
            kind.api.submitted_by: partial(self._submit, kind),
            kind.api.queried_by: partial(self._query, kind),
            **{name: partial(self._detail, kind, describe) for name, describe in kind.details.items()},
        }
        return operations | ({kind.cancelled_by: partial(self._cancel, kind)} if kind.cancelled_by else {})

    def _submit(self, kind: EmulatedKind, call: Call) -> Document:
        def accept(submission: Submission) -> EmulatedJob:
            pipeline = self._pipelines.for_job(call.parameters.get("PipelineId", ""))
            return self._engine.submit(submission, kind=kind, pipeline=pipeline, request_id=call.request_id)

        return kind.submit(call, Account(accept=accept, workflows=self._workflows.by_id))

    def _query(self, kind: EmulatedKind, call: Call) -> Document:
        found = JobsOfKind(kind=kind, jobs=self._engine.jobs)
        if kind.api.entries:
            return found.several(call)
        return kind.describe(found.one(call.required(kind.api.ids)))

    def _detail(
        self, kind: EmulatedKind, describe: Callable[[EmulatedJob], Document], call: Call
    ) -> Document:
        return describe(JobsOfKind(kind=kind, jobs=self._engine.jobs).one(call.required("JobId")))

    def _cancel(self, kind: EmulatedKind, call: Call) -> Document:
        job = JobsOfKind(kind=kind, jobs=self._engine.jobs).one(call.required("JobId"))
        if not self._engine.cancel(job):
            raise MpsError("InvalidParameter.InvalidState", f'"{job.id}"')
        return {"JobId": job.id}
