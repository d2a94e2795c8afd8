"""What tests look for in captured log lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Line = Mapping[str, Any]


def above_debug(lines: Iterable[Line]) -> Sequence[Line]:
    """The lines that are there at level info."""
    return [line for line in lines if line["log_level"] != "debug"]


def events(lines: Iterable[Line]) -> list[str]:
    return [line["event"] for line in lines]
