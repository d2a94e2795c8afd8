"""Waits for orphaned processes where this process is the init process of a container.

Only for orphans, since the exit status of a handler's own child belongs to the handler. Linux makes an orphan a child
of the main thread of PID 1, whereas a child that was started here belongs to the thread that started it. So the main
thread looks for its own children only, and does not see those of handlers' threads. Left alone as well are processes of
our own session, and what the main thread itself has started: handlers may do so when they are loaded.

The main thread also inherits the children of threads that have ended. If another thread waits for one of them, it has
it long before the second look, at which it would be reaped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

#: Of Linux, for wait4() and waitid(): only children of the calling thread, not of the other ones of the process.
_WNOTHREAD: Final = 0x20000000
#: What the main thread has started.
_left_alone: set[int] = set()
#: What had ended at the last look.
_ended: set[int] = set()


def is_init() -> bool:
    return os.getpid() == 1


@contextmanager
def may_start_processes() -> Iterator[None]:
    """What the main thread starts meanwhile is not waited for. Short: neither is an orphan that comes meanwhile."""
    before = _children()
    try:
        yield
    finally:
        _left_alone.update(_children().keys() - before.keys())


def reap_orphans() -> int:
    """Wait for the orphans that had ended at the last call already; returns how many.

    Only in the main thread; does nothing but as PID 1.
    """
    children = _children()
    _left_alone.intersection_update(children)  # an id may be used again
    ended = {pid for pid, has_ended in children.items() if has_ended} - _left_alone
    reaped = sum(_reaped(pid) for pid in ended & _ended)
    _ended.clear()
    _ended.update(ended)
    return reaped


def _children() -> Mapping[int, bool]:
    """The children of this thread, in other sessions than ours; whether each has ended."""
    if not is_init():
        return {}
    found = {pid: _has_ended(pid) for pid in map(int, filter(str.isdigit, os.listdir("/proc")))}
    return {pid: ended for pid, ended in found.items() if ended is not None}


def _has_ended(pid: int) -> bool | None:
    """Whether it has ended; None if it is not such a child."""
    try:
        if os.getsid(pid) == os.getsid(0):
            return None
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WNOTHREAD) is not None
    except (ProcessLookupError, ChildProcessError):
        return None  # it is gone in the meantime, or is not our child


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG | _WNOTHREAD)[0] == pid
    except ChildProcessError:
        return False  # a handler has waited for it: it looks for what its programs left behind, too
