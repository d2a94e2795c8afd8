"""Reads server-sent events as a client does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class EventStream:
    """The events of a stream; ``last_id`` is what EventSource would send to begin again."""

    lines: Iterable[str]
    last_id: str = ""
    comments: list[str] = field(default_factory=list)
    retry: int = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The data of each event, which is of the kind that it says."""
        name = data = ""
        for line in self.lines:
            what, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments.append(value or line[1:].strip())
            elif what == "id":
                self.last_id = value
            elif what == "retry":
                self.retry = int(value)
            elif what == "event":
                name = value
            elif what == "data":
                data = value
            elif not line and data:
                event = json.loads(data)
                assert event["event"] == name
                assert event["cursor"] == self.last_id
                yield event
                name = data = ""
