"""Parts of an Alibaba Cloud account that decide where callbacks arrive, as its APIs report them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A pipeline of MPS. An empty text stands for what the reply did not contain."""

    id: str
    name: str = ""
    state: str = ""  #: Active or Paused
    queue: str = ""  #: the name of the MNS queue that its callbacks are sent to
    topic: str = ""  #: the name of the MNS topic that its callbacks are sent to
    role: str = ""  #: the RAM role that MPS assumes for it
