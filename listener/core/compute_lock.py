"""One lock for the threads that move callbacks, beside the interpreter's own.

The interpreter executes one thread at a time, but gives up its lock at every system call. With several busy threads,
another one takes it at each of these, on another core as a rule, and the thread that made the call waits. A thread that
holds the lock of this module keeps the other busy ones out of the interpreter, so its own calls return at once. It is
released where a thread waits for the network, for a transaction or for the disk.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_lock: Final = threading.Lock()


class _Thread(threading.local):
    holds = False


_thread: Final = _Thread()


@contextmanager
def held() -> Iterator[None]:
    """Hold the lock; for a thread that holds it already, nothing changes."""
    if _thread.holds:
        yield
        return
    _acquire()
    try:
        yield
    finally:
        _release()


@contextmanager
def released() -> Iterator[None]:
    """Do what may wait without the lock; for a thread that does not hold it, nothing changes."""
    if not _thread.holds:
        yield
        return
    _release()
    try:
        yield
    finally:
        _acquire()


def _acquire() -> None:
    _lock.acquire()
    _thread.holds = True


def _release() -> None:
    _thread.holds = False
    _lock.release()
