"""Waits for orphaned processes where this process is the init process of a container."""

from __future__ import annotations

import os


def reap_orphans() -> int:
    """As PID 1 of a container, wait for processes that handlers' children left behind; returns how many it reaped.

    Only processes of another session that they do not lead: a handler's own child leads its session, and its exit
    status belongs to the handler.
    """
    if os.getpid() != 1:
        return 0
    return sum(_reaped(int(entry)) for entry in os.listdir("/proc") if entry.isdigit())


def _reaped(pid: int) -> bool:
    try:
        session = os.getsid(pid)
        if session in (pid, os.getsid(0)):
            return False
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except (ProcessLookupError, ChildProcessError):
        return False  # it has ended in the meantime, or is not our child
