"""A program at a terminal of its own, as a person would see it."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def run_at_terminal(
    *arguments: str,
    folder: Path,
    columns: int = 80,
    typed: str = "",
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run ``mns-listener`` at a terminal of this width; returns its exit status and what it displayed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "listener", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "dumb", **(environment or {})},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        displayed = _read_all(ours)
    os.close(ours)
    return process.returncode, displayed.decode().replace("\r\n", "\n")


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
