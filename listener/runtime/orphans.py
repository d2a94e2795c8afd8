"""Waits for orphaned processes where this process is the init process of a container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: Of Linux, for wait4() and waitid(): only children of the calling thread, not of the other ones of the process.
_WNOTHREAD: Final = 0x20000000


class OrphanReaper:
    """As PID 1 of a container, waits for processes that handlers' children left behind; otherwise it does nothing.

    Only for orphans, since the exit status of a handler's own child belongs to the handler. Linux makes an orphan a
    child of the main thread of PID 1, whereas a child that was started here belongs to the thread that started it. So
    all this is called in the main thread, and the children of handlers' threads are never seen. Left alone as well are
    processes of our own session, and what the main thread itself has started: handlers may do so when they are built.
    """

    def __init__(self, *, is_init: bool) -> None:
        self._is_init = is_init
        self._left_alone: set[int] = set()

    @contextmanager
    def starting_handlers(self) -> Iterator[None]:
        """What becomes a child of the main thread meanwhile is not waited for."""
        before = self._children()
        try:
            yield
        finally:
            self._left_alone |= self._children() - before

    def reap(self) -> int:
        """Wait for all orphans that have ended; returns how many."""
        children = self._children()
        self._left_alone &= children  # an id may be used again
        return sum(_reaped(pid) for pid in children - self._left_alone)

    def _children(self) -> set[int]:
        """The children of the main thread, in other sessions than ours."""
        if not self._is_init:
            return set()
        return {pid for name in os.listdir("/proc") if name.isdigit() and _is_child(pid := int(name))}


def _is_child(pid: int) -> bool:
    try:
        if os.getsid(pid) == os.getsid(0):
            return False
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WNOTHREAD)
    except (ProcessLookupError, ChildProcessError):
        return False  # it has ended in the meantime, or is not our child
    return True


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG | _WNOTHREAD)[0] == pid
    except ChildProcessError:
        return False  # a handler has waited for it: it looks for what its programs left behind, too
