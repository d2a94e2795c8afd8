"""A program at a terminal of its own, as a person would see it."""

from __future__ import annotations

import errno
import os
import pty
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.forked import ForkedProgram

#: Seconds after which the program has failed.
BOUND = 90.0


def run_at_terminal(
    *arguments: str,
    folder: Path,
    columns: int = 80,
    typed: str = "",
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run ``mns-listener`` at a terminal of this width; returns its exit status and what it displayed."""
    ours, theirs = pty.openpty()
    terminal = Path(os.ttyname(theirs))
    display = {"COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "dumb"}
    with ThreadPoolExecutor(1) as pool:
        displayed = pool.submit(_read_all, ours)
        program = ForkedProgram(
            "listener",
            *arguments,
            cwd=folder,
            env={**os.environ, **display, **(environment or {})},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        try:
            os.write(ours, typed.encode())
            code = program.wait(BOUND)
        finally:
            program.kill()
            os.close(theirs)  # open until now, since the reader would take its closing for the end
    os.close(ours)
    return code, displayed.result().decode().replace("\r\n", "\n")


def _read_all(terminal: int) -> bytes:
    read = b""
    while True:
        try:
            more = os.read(terminal, 4096)
        except OSError as error:
            if error.errno != errno.EIO:  # what Linux reports once the other side is closed
                raise
            return read
        if not more:
            return read
        read += more
