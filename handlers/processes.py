"""Ends programs together with everything that they have started.

A program leads a session and a process group of its own. What leaves that group, e.g. by ``setsid``, is found in
``/proc``: it descends from the program, or has the program's mark in its environment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

#: The variable that marks the processes of one program.
MARK = "MNS_LISTENER_CALL"
_POLL_INTERVAL = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A program that was started with its mark in its environment, as the leader of a session."""

    process: subprocess.Popen[bytes]
    mark: str

    def has_group(self) -> bool:
        """Whether any process of its group is running; a zombie is not, but the system counts it as a member."""
        self.process.poll()
        return self.signal_group(0) and any(entry.group == self.process.pid for entry in _entries().values())

    def signal_group(self, number: int) -> bool:
        """Whether there is such a group, and we may send signals to it."""
        try:
            os.killpg(self.process.pid, number)  # the process group id of a session leader is its own id
        except (ProcessLookupError, PermissionError):
            return False  # gone, or running as another user (setuid)
        return True


def new_mark() -> str:
    return uuid.uuid4().hex


def end_groups(programs: Collection[Program], *, timeout: timedelta) -> None:
    """End the programs' process groups: SIGTERM, then SIGKILL for those still running after the shared timeout."""
    _end(_Groups(programs), timeout)


def end_all(programs: Collection[Program], *, timeout: timedelta) -> None:
    """End the programs, their process groups and everything else that they have started, in the same way."""
    _end(_Everything(programs), timeout)


class _Groups:
    def __init__(self, programs: Collection[Program]) -> None:
        self.programs = programs

    def signal(self, number: int) -> bool:
        """Send a signal; whether there was anything left to send it to."""
        left = [program for program in self.programs if program.has_group()]
        for program in left:
            program.signal_group(number)
        return bool(left)


class _Everything(_Groups):
    def __init__(self, programs: Collection[Program]) -> None:
        super().__init__(programs)
        self._strays: set[_Entry] = set()

    def signal(self, number: int) -> bool:
        # Before the signal: what has lost its parent, and has no mark, cannot be found any more.
        self._strays |= set(_strays(self.programs))
        self._strays = {stray for stray in self._strays if stray.is_running()}
        for stray in self._strays:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(stray.pid, number)
        return super().signal(number) or bool(self._strays)


def _end(what: _Groups, timeout: timedelta) -> None:
    if what.signal(signal.SIGTERM) and not _gone(what, 0, timeout):
        _gone(what, signal.SIGKILL, timeout)  # repeated, since a process may have forked meanwhile
    for program in what.programs:
        with suppress(subprocess.TimeoutExpired):  # a process that hangs in the kernel cannot be killed
            program.process.wait(timeout.total_seconds())


def _gone(what: _Groups, number: int, timeout: timedelta) -> bool:
    """Whether nothing is left within the timeout. Polled, since most of the processes are not our children."""
    deadline = time.monotonic() + timeout.total_seconds()
    while what.signal(number):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_INTERVAL)
    return True


@dataclass(frozen=True, slots=True)
class _Entry:
    """A process in ``/proc``. Its id and its start identify it, since ids are used again."""

    pid: int
    started: str
    parent: int = field(compare=False)
    group: int = field(compare=False)

    def is_running(self) -> bool:
        now = _entry(self.pid)
        if now is None:
            # As PID 1 of a container we have inherited it; otherwise it is not our child.
            with suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
        return now == self


def _entry(pid: int) -> _Entry | None:
    """None if it has ended, even if its parent has not asked for its exit status yet."""
    try:
        # After the name, which is in parentheses and may contain any character.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    if fields[0] in "ZX":
        return None
    return _Entry(pid, fields[19], parent=int(fields[1]), group=int(fields[2]))


def _strays(programs: Collection[Program]) -> Iterator[_Entry]:
    """Running processes that the programs have started and that are not in the programs' groups."""
    entries = _entries()
    leaders = {program.process.pid for program in programs if program.process.returncode is None}
    groups = {program.process.pid for program in programs}
    marks = [f"{MARK}={program.mark}".encode() for program in programs]
    ours = {pid: pid in leaders or _is_marked(pid, marks) for pid in entries}
    for entry in entries.values():
        if entry.group not in groups and _descends(entry.pid, ours, entries):
            yield entry


def _entries() -> dict[int, _Entry]:
    """All processes that are running."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return {pid: entry for pid in pids if (entry := _entry(pid)) is not None}


def _is_marked(pid: int, marks: Collection[bytes]) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # ended, or running as another user
        return False
    return any(variable in marks for variable in environment.split(b"\0"))


def _descends(pid: int, ours: Mapping[int, bool], entries: Mapping[int, _Entry]) -> bool:
    """Whether this process or an ancestor of it is ours."""
    seen = set()
    while pid in entries and pid not in seen:
        if ours[pid]:
            return True
        seen.add(pid)
        pid = entries[pid].parent
    return False
