"""Signals as something that the main thread waits for: nothing happens inside a signal handler."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
RELOAD_SIGNAL = signal.SIGHUP
SIGNALS = (*STOP_SIGNALS, RELOAD_SIGNAL)


class Signals:
    """The signals that arrived. Use from the main thread."""

    def __init__(self, readable: socket.socket) -> None:
        self._readable = readable
        self._arrived: list[signal.Signals] = []

    def wait(self, limit: timedelta) -> signal.Signals | None:
        """The next signal; None when there was none within the limit."""
        if not self._arrived and select.select([self._readable], [], [], limit.total_seconds())[0]:
            numbers = self._readable.recv(64)
            self._arrived += [signal.Signals(number) for number in numbers if number in SIGNALS]
        return self._arrived.pop(0) if self._arrived else None


@contextmanager
def collected_signals() -> Iterator[Signals]:
    """Collect SIGTERM, SIGINT and SIGHUP instead of acting on them.

    The interpreter writes their numbers to a socket, and nothing else happens in a signal handler. They are not
    blocked and collected with ``sigtimedwait``, because children of handlers would inherit the blocked mask and
    would then ignore SIGTERM.
    """
    readable, writable = socket.socketpair()
    writable.setblocking(False)
    before = {number: signal.signal(number, _ignore) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(writable.fileno(), warn_on_full_buffer=False)
    try:
        yield Signals(readable)
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        readable.close()
        writable.close()


def _ignore(_number: int, _frame: object) -> None:
    """Not SIG_IGN: that would not reach the wake-up socket, and children would inherit it."""
