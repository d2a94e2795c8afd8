"""Pipelines in memory that keep the promises of ``listener.core.account.PipelineAdmin``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from listener.core.account import Pipeline


class MemoryPipelines:
    def __init__(self, *pipelines: Pipeline) -> None:
        self.pipelines = list(pipelines)

    def find(self, pipeline_id: str) -> Pipeline | None:
        return next((each for each in self.pipelines if each.id == pipeline_id), None)

    def search(self, name: str = "") -> Sequence[Pipeline]:
        return [each for each in self.pipelines if name in ("", each.name)]

    def add(self, name: str, *, queue: str) -> Pipeline:
        added = Pipeline(id=f"{len(self.pipelines):032x}", name=name, state="Active", queue=queue)
        self.pipelines.append(added)
        return added

    def bind(self, pipeline: Pipeline, *, queue: str) -> Pipeline:
        bound = replace(pipeline, queue=queue, topic="")
        self.pipelines = [bound if each.id == pipeline.id else each for each in self.pipelines]
        return bound
