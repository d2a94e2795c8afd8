"""What the operating system says to this process, and what this process says to its supervisor."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import structlog

from listener.core import clock
from listener.runtime.log_throttle import ThrottledLog

log = structlog.get_logger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
SIGNALS = (*STOP_SIGNALS, signal.SIGHUP)
STARTING_TICK = timedelta(milliseconds=20)


class Signals:
    """Signals as something to wait for. Use from the main thread."""

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
    blocked and picked up with ``sigtimedwait``, because the children of handlers would inherit the blocked mask,
    and then could not be ended politely.
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
    """SIG_IGN would not reach the wake-up socket, and children would inherit it."""


def notify(*lines: str) -> None:
    """Tell systemd, if it listens: READY=1, STOPPING=1, WATCHDOG=1, STATUS=… (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(address)
            channel.sendall("\n".join(lines).encode())
    except OSError as error:  # the work goes on without a supervisor that hears of it
        log.warning("systemd.notify_failed", address=address, error=error.strerror)


def watchdog_interval() -> timedelta | None:
    """How often systemd wants to hear from us (half of its limit); None when it does not watch this process."""
    limit, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not limit.isdecimal() or int(limit) == 0 or pid not in ("", str(os.getpid())):
        return None
    return timedelta(microseconds=int(limit)) / 2


class Heartbeat:
    """The pulse of one loop."""

    def __init__(self, limit: timedelta) -> None:
        self._limit = limit
        self._last: float | None = None

    def beat(self) -> None:
        self._last = clock.monotonic()

    @property
    def started(self) -> bool:
        return self._last is not None

    @property
    def stalled(self) -> bool:
        return self._last is not None and clock.monotonic() - self._last > self._limit.total_seconds()


class LivenessMonitor:
    """All loops of this process. The watchdog is fed only while every one of them turns."""

    def __init__(self) -> None:
        self._heartbeats: dict[str, Heartbeat] = {}
        self._lock = threading.Lock()

    def heartbeat(self, name: str, *, limit: timedelta) -> Heartbeat:
        """A pulse that may be silent for ``limit`` at the longest."""
        with self._lock:
            self._heartbeats[name] = Heartbeat(limit)
            return self._heartbeats[name]

    @property
    def started(self) -> bool:
        with self._lock:
            return all(heartbeat.started for heartbeat in self._heartbeats.values())

    def stalled(self) -> Sequence[str]:
        """The names of loops that do not turn any more."""
        with self._lock:
            return [name for name, heartbeat in self._heartbeats.items() if heartbeat.stalled]


class Watchdog:
    """Speaks for this process to systemd: ready once every loop has turned, alive while every one does."""

    def __init__(self, liveness: LivenessMonitor) -> None:
        self._liveness = liveness
        self._interval = watchdog_interval()
        self._ready = False
        self._warnings = ThrottledLog(log)

    def tick(self, longest: timedelta) -> timedelta:
        """How long the main thread may wait between two feedings; briefly until everything has started."""
        if not self._ready:
            return min(longest, STARTING_TICK)
        return min(longest, self._interval) if self._interval else longest

    def feed(self) -> None:
        """Say READY once, and WATCHDOG as long as nothing has stalled."""
        if stalled := self._liveness.stalled():
            self._warnings.warning("loops.stalled", loops=list(stalled))
            return
        if self._interval:
            notify("WATCHDOG=1")
        if not self._ready and self._liveness.started:
            self._ready = True
            notify("READY=1", "STATUS=polling")


def reap_orphans() -> int:
    """As PID 1 of a container, wait for what handlers' children left behind; returns how many that were.

    Only processes of a session that is not ours and that they do not lead: a handler's own child leads its
    session, and its exit status belongs to the handler.
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
        return False  # gone meanwhile, or somebody else's
