"""Waiting for what another process does, with a bound that fails the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path


def wait_until(condition: Callable[[], bool], *, seconds: float = 90) -> None:
    """Return as soon as the condition holds; fail when it never does.

    Most conditions read a file or a database. The longer one takes, the less often it is looked at: tests that wait
    must not keep the programs that they wait for from the processor.
    """
    started = time.monotonic()
    pause = threading.Event()
    while not condition():
        waited = time.monotonic() - started
        assert waited < seconds, "the condition never came to hold"
        pause.wait(min(max(waited / 20, 0.01), 0.1))


def has_line(file: Path) -> bool:
    """Whether the file is there and its last line is whole; another process makes and fills it at different times."""
    return file.exists() and file.read_text(encoding="utf-8").endswith("\n")


def is_dead(pid: int) -> bool:
    """Whether a process has ended; a zombie, which has not been waited for yet, has."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in ("Z", "X")
