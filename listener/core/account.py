"""Parts of an Alibaba Cloud account that decide where callbacks arrive, and what can be done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from listener.core.ports import Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A pipeline of MPS. An empty text stands for what the reply did not contain."""

    id: str
    name: str = ""
    state: str = ""  #: Active or Paused
    queue: str = ""  #: the name of the MNS queue that its callbacks are sent to
    topic: str = ""  #: the name of the MNS topic that its callbacks are sent to
    role: str = ""  #: the RAM role that MPS assumes for it


QueueAttributes = Mapping[str, int]
"""Attributes of an MNS queue, with the names and units (seconds, bytes) of its API, which the console shows as well."""


class QueueAdmin(Queue, Protocol):
    """One MNS queue, for those who set it up. Raises QueueUnavailable."""

    def attributes(self) -> QueueAttributes | None:
        """The attributes that the reply contains; None if the queue does not exist."""

    def create(self, attributes: QueueAttributes) -> None: ...

    def change(self, attributes: QueueAttributes) -> None:
        """Set these attributes; others keep their values."""

    def send(self, body: str, *, delay: timedelta = timedelta(0)) -> None:
        """Send a message that can be received after ``delay``; without one, after the delay of the queue."""


class PipelineAdmin(Protocol):
    """The pipelines of one account in one region. Raises MpsUnavailable and MpsRejected."""

    def find(self, pipeline_id: str) -> Pipeline | None:
        """The pipeline with this id; None if there is none."""

    def search(self, name: str = "") -> Sequence[Pipeline]:
        """The pipelines with exactly this name, or all; names need not be unique."""

    def add(self, name: str, *, queue: str) -> Pipeline:
        """Create a pipeline whose callbacks are sent to a queue of the same account and region."""

    def bind(self, pipeline: Pipeline, *, queue: str) -> Pipeline:
        """Send the callbacks of this pipeline to another queue; returns the pipeline as it is afterwards."""
