"""The calls for pipelines, and the pipelines that jobs run in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from listener.emulator.mps.engine import JobEngine
from listener.emulator.mps.errors import QUEUE_FULL, MpsError
from listener.emulator.mps.jobs import Pipeline
from listener.emulator.options import DEFAULT_PIPELINE_ID, Options
from listener.emulator.rpc.call import Call, Document, Operation
from listener.emulator.virtual_clock import VirtualClock


class Pipelines:
    """All pipelines of the account."""

    def __init__(self, options: Options, *, engine: JobEngine, clock: VirtualClock) -> None:
        self._options = options
        self._clock = clock
        self._engine = engine
        self.operations: Mapping[str, Operation] = {
            "SearchPipeline": self._search_pipeline,
            "QueryPipelineList": self._query_pipeline_list,
            "AddPipeline": self._add_pipeline,
            "UpdatePipeline": self._update_pipeline,
            "DeletePipeline": self._delete_pipeline,
        }

    def reset(self) -> None:
        """Leave only the default pipelines of a new account."""
        self._engine.pipelines.clear()
        self._add(DEFAULT_PIPELINE_ID, "mts-default-pipeline")
        # Jobs without a PipelineId run in a hidden pipeline, which cannot be listed or bound to a queue.
        self.nameless = self._add("", "")

    def for_job(self, pipeline_id: str) -> Pipeline:
        """The pipeline of a job. A paused pipeline accepts jobs too; they wait."""
        pipeline = self._pipeline(pipeline_id) if pipeline_id else self.nameless
        if len(pipeline.waiting) >= self._options.queue_limit:
            raise MpsError(QUEUE_FULL, f'"{pipeline_id}"')
        return pipeline

    def _add(self, pipeline_id: str, name: str, **fields: Any) -> Pipeline:
        created = f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ}"
        pipeline = Pipeline(id=pipeline_id, name=name, created=created, **fields)
        self._engine.pipelines[pipeline_id] = pipeline
        return pipeline

    def _pipeline(self, pipeline_id: str) -> Pipeline:
        pipeline = self._engine.pipelines.get(pipeline_id) if pipeline_id else None
        if pipeline is None:
            raise MpsError("InvalidParameter.ResourceNotFound", f'"{pipeline_id}"')
        return pipeline

    def _visible_pipelines(self) -> list[Pipeline]:
        return [pipeline for pipeline in self._engine.pipelines.values() if pipeline.id]

    def _search_pipeline(self, call: Call) -> Document:
        state = call.parameters.get("State") or "All"
        if state not in {"All", "Active", "Paused"}:
            raise MpsError("InvalidParameter.NotSupported", "State")
        number = call.whole_number("PageNumber", default=1, high=1_000_000)
        size = call.whole_number("PageSize", default=10, high=100)
        found = [pipeline for pipeline in self._visible_pipelines() if state in {"All", pipeline.state}]
        page = found[(number - 1) * size : number * size]
        return {
            "TotalCount": len(found),
            "PageNumber": number,
            "PageSize": size,
            "PipelineList": {"Pipeline": [_pipeline_document(pipeline) for pipeline in page]},
        }

    def _query_pipeline_list(self, call: Call) -> Document:
        wanted = call.required("PipelineIds").split(",")
        if len(wanted) > 10:
            raise MpsError("InvalidParameter.OutOfRange", "PipelineIds")
        known = {pipeline.id: pipeline for pipeline in self._visible_pipelines()}
        found = [_pipeline_document(known[one]) for one in wanted if one in known]
        missing = [one for one in wanted if one not in known]
        return {"PipelineList": {"Pipeline": found}, "NonExistPids": {"String": missing}}

    def _add_pipeline(self, call: Call) -> Document:
        pipeline = self._add(
            self._engine.new_id(),
            call.required("Name"),
            speed=call.parameters.get("Speed") or "Standard",
            speed_level=call.whole_number("SpeedLevel", default=1, high=3),
            role=call.parameters.get("Role", ""),
            notify=_notify_config(call),
        )
        return {"Pipeline": _pipeline_document(pipeline)}

    def _update_pipeline(self, call: Call) -> Document:
        """Name and State are required; other parameters keep their value if omitted."""
        pipeline = self._pipeline(call.required("PipelineId"))
        name, state = call.required("Name"), call.required("State")
        if state not in {"Active", "Paused"}:
            raise MpsError("InvalidParameter.NotSupported", "State")
        notify = _notify_config(call) if call.parameters.get("NotifyConfig") else pipeline.notify
        pipeline.name, pipeline.state, pipeline.notify = name, state, notify
        pipeline.role = call.parameters.get("Role", pipeline.role)
        self._engine.advance()
        return {"Pipeline": _pipeline_document(pipeline)}

    def _delete_pipeline(self, call: Call) -> Document:
        """Jobs that run in the pipeline end as usual; one that has waiting jobs is not deleted, which is inferred."""
        pipeline = self._pipeline(call.required("PipelineId"))
        if pipeline.waiting:
            raise MpsError("InvalidParameter.InvalidState", f'"{pipeline.id}"')
        del self._engine.pipelines[pipeline.id]
        return {"PipelineId": pipeline.id}


def _notify_config(call: Call) -> dict[str, str]:
    config = call.json_object("NotifyConfig")
    return {key: str(config[key]) for key in ("QueueName", "Topic", "MqTopic", "MqTag") if config.get(key)}


def _pipeline_document(pipeline: Pipeline) -> Document:
    return {
        "Id": pipeline.id,
        "Name": pipeline.name,
        "State": pipeline.state,
        "Speed": pipeline.speed,
        "SpeedLevel": pipeline.speed_level,
        "QuotaAllocate": 10,
        "Role": pipeline.role,
        "CreationTime": pipeline.created,
        "NotifyConfig": pipeline.notify,
    }
