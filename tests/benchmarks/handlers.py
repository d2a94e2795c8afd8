"""Handlers that write down when they were called, a line each: sent, entered, left, in ns since 1970."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from listener import JobResult

LOG_VARIABLE: Final = "BENCH_CALLS"
#: How long a slow handler takes, in seconds.
SLOW: Final = 0.2


@dataclass(frozen=True, slots=True)
class Call:
    sent: int
    entered: int
    left: int


def prompt(result: JobResult) -> None:
    """Does nothing else. The user data is the time at which the callback was sent."""
    entered = time.time_ns()
    _write(Call(int(result.user_data or 0), entered, entered))


def slow(result: JobResult) -> None:
    entered = time.time_ns()
    threading.Event().wait(SLOW)
    _write(Call(0, entered, time.time_ns()))


@cache
def _log() -> int:
    return os.open(os.environ[LOG_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def _write(call: Call) -> None:
    os.write(_log(), f"{call.sent} {call.entered} {call.left}\n".encode())


def count(log: Path) -> int:
    """How many were written so far."""
    return log.read_bytes().count(b"\n") if log.exists() else 0


def calls(log: Path) -> list[Call]:
    """All that were written so far."""
    text = log.read_text("ascii") if log.exists() else ""
    return [Call(*map(int, line.split())) for line in text.splitlines()]
