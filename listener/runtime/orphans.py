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
    all this is called in the main thread, and the children of handlers' threads are not seen. Left alone as well are
    processes of our own session, and what the main thread itself has started: handlers may do so when they are built.

    The main thread also inherits the children of threads that have ended. If another thread waits for one of them, it
    has it long before the second call that would reap it.
    """

    def __init__(self, *, is_init: bool) -> None:
        self._is_init = is_init
        self._left_alone: set[int] = set()
        self._ended: set[int] = set()  #: at the last call

    @contextmanager
    def starting_handlers(self) -> Iterator[None]:
        """What becomes a child of the main thread meanwhile is not waited for."""
        before = self._children()
        try:
            yield
        finally:
            self._left_alone |= self._children().keys() - before.keys()

    def reap(self) -> int:
        """Wait for the orphans that had ended at the last call already; returns how many."""
        children = self._children()
        self._left_alone &= children.keys()  # an id may be used again
        before, self._ended = self._ended, {pid for pid, ended in children.items() if ended}
        return sum(_reaped(pid) for pid in self._ended & before - self._left_alone)

    def _children(self) -> dict[int, bool]:
        """The children of the main thread, in other sessions than ours; whether each has ended."""
        if not self._is_init:
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
