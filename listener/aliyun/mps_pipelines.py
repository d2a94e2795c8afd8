"""Pipelines of MPS, and the queues that they send callbacks to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from listener.aliyun.mps_client import MpsClient
from listener.core.account import Pipeline
from listener.core.errors import FailureKind, MpsUnavailable

PAGE_SIZE: Final = 100  #: the largest that SearchPipeline allows


class Pipelines:
    """The pipelines of one account in one region. Raises MpsUnavailable and MpsRejected."""

    def __init__(self, client: MpsClient) -> None:
        self._client = client

    def find(self, pipeline_id: str) -> Pipeline | None:
        """The pipeline with this id; None if there is none."""
        reply = self._client.call("QueryPipelineList", PipelineIds=pipeline_id)
        return next((each for each in _listed(reply) if each.id == pipeline_id), None)

    def search(self, name: str = "") -> Sequence[Pipeline]:
        """The pipelines with exactly this name, or all; names need not be unique."""
        return [each for each in self._all() if name in ("", each.name)]

    def add(self, name: str, *, queue: str) -> Pipeline:
        """Create a pipeline whose callbacks are sent to a queue of the same account and region."""
        reply = self._client.call("AddPipeline", Name=name, NotifyConfig=_notify_config(queue))
        pipeline = _pipeline(reply.get("Pipeline"))
        if pipeline is None:
            raise MpsUnavailable(
                f"AddPipeline returned no pipeline; verify in the console of MPS whether {name!r} was created",
                kind=FailureKind.PROTOCOL,
            )
        return pipeline

    def bind(self, pipeline: Pipeline, *, queue: str) -> Pipeline:
        """Send the callbacks of this pipeline to another queue; returns the pipeline as it is afterwards.

        The API requires name and state, so these are sent as they were, and so is the role.
        """
        reply = self._client.call(
            "UpdatePipeline",
            PipelineId=pipeline.id,
            Name=pipeline.name,
            State=pipeline.state,
            NotifyConfig=_notify_config(queue),
            Role=pipeline.role,
        )
        return _pipeline(reply.get("Pipeline")) or replace(pipeline, queue=queue, topic="")

    def _all(self) -> Iterator[Pipeline]:
        """Page by page, until a page has nothing new: the total is not reported reliably while pipelines change."""
        seen: set[str] = set()
        number = 1
        while True:
            reply = self._client.call("SearchPipeline", State="All", PageNumber=number, PageSize=PAGE_SIZE)
            page = _listed(reply)
            new = [each for each in page if each.id not in seen]
            yield from new
            if not new or len(page) < PAGE_SIZE:
                return
            seen.update(each.id for each in new)
            number += 1


def _notify_config(queue: str) -> str:
    return json.dumps({"QueueName": queue})


def _listed(reply: Mapping[str, Any]) -> Sequence[Pipeline]:
    """The pipelines of a reply: ``{"PipelineList": {"Pipeline": […]}}``.

    Samples in the documentation also show a key ``"Pipeline "`` with a blank, and an array without the inner object.
    """
    given = reply.get("PipelineList")
    if isinstance(given, dict):
        given = next((value for key, value in given.items() if key.strip() == "Pipeline"), None)
    items = given if isinstance(given, list) else []
    return [pipeline for item in items if (pipeline := _pipeline(item))]


def _pipeline(document: object) -> Pipeline | None:
    """None for what is not a pipeline; members that are absent are empty."""
    if not isinstance(document, dict) or not document.get("Id"):
        return None
    notify = document.get("NotifyConfig")
    notify = notify if isinstance(notify, dict) else {}
    return Pipeline(
        id=str(document["Id"]),
        name=str(document.get("Name") or ""),
        state=str(document.get("State") or ""),
        queue=str(notify.get("QueueName") or ""),
        topic=str(notify.get("Topic") or ""),
        role=str(document.get("Role") or ""),
    )
