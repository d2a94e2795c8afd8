"""MPS 2014-06-18: the RPC calls for jobs and pipelines, in XML and JSON."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from random import Random

from listener.emulator.messages import Reply, Request
from listener.emulator.mps.engine import JobEngine
from listener.emulator.mps.errors import MpsError
from listener.emulator.mps.jobs import Account, EmulatedJob, EmulatedKind, Submission
from listener.emulator.mps.kinds import EMULATED_KINDS
from listener.emulator.mps.kinds.iproduction import IPRODUCTION
from listener.emulator.mps.pipelines import Pipelines
from listener.emulator.mps.queries import JobsOfKind
from listener.emulator.mps.workflows import MediaWorkflows
from listener.emulator.options import Options
from listener.emulator.rpc.api import RpcApi
from listener.emulator.rpc.call import Call, Document, Operation
from listener.emulator.rpc.errors import RpcError
from listener.emulator.virtual_clock import VirtualClock

VERSION = "2014-06-18"


class Mps:
    """The MPS service of one account."""

    def __init__(self, options: Options, *, rng: Random, engine: JobEngine, clock: VirtualClock) -> None:
        self._engine = engine
        self._pipelines = Pipelines(options, engine=engine, clock=clock)
        self.workflows = MediaWorkflows(new_id=engine.new_id, clock=clock)
        self.operations: dict[str, Operation] = {
            **self._pipelines.operations,
            **self.workflows.operations,
        }
        for kind in EMULATED_KINDS:
            self.operations |= self._operations_of(kind)
        self._api = RpcApi(
            options, rng=rng, version=VERSION, operations=self.operations, prepare=self._engine.advance
        )
        self._kind_names = {
            kind.api.submitted_by: kind.api.name for kind in EMULATED_KINDS if kind is not IPRODUCTION
        }
        self.reset()

    def reset(self) -> None:
        """Reset all state to that of a new account, including its default pipelines."""
        self._api.reset()
        self._engine.reset()
        self._pipelines.reset()
        self.workflows.reset()

    def answer(self, call: Call, request: Request, *, skew: timedelta = timedelta(0)) -> Reply:
        """Execute one call. Never raises RpcError; errors are replies."""
        return self._api.answer(call, request, skew=skew)

    def error(self, error: RpcError, *, call: Call, host: str) -> Reply:
        return self._api.error(error, call=call, host=host)

    def function_of(self, call: Call) -> str:
        """By what a fault may choose this call: the function of its job, else the kind of its job."""
        return call.parameters.get("FunctionName") or self._kind_names.get(call.action, "")

    def _operations_of(self, kind: EmulatedKind) -> dict[str, Operation]:
        operations: dict[str, Operation] = {
            kind.api.submitted_by: partial(self._submit, kind),
            kind.api.queried_by: partial(self._query, kind),
            **{name: partial(self._detail, kind, describe) for name, describe in kind.details.items()},
        }
        return operations | ({kind.cancelled_by: partial(self._cancel, kind)} if kind.cancelled_by else {})

    def _submit(self, kind: EmulatedKind, call: Call) -> Document:
        def accept(submission: Submission) -> EmulatedJob:
            pipeline = self._pipelines.for_job(call.parameters.get("PipelineId", ""))
            return self._engine.submit(submission, kind=kind, pipeline=pipeline, request_id=call.request_id)

        return kind.submit(call, Account(accept=accept, workflows=self.workflows.by_id))

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
