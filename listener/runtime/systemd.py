"""What this process reports to systemd: readiness, progress and its end (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from datetime import timedelta

from listener.core.logger import get_logger
from listener.runtime.liveness import LivenessMonitor
from listener.runtime.log_throttle import ThrottledLog

log = get_logger(__name__)

#: How often the main thread checks whether all loops have started, until they have.
STARTING_TICK = timedelta(milliseconds=20)
#: How long to wait for a supervisor that does not read: the main thread has signals to react to.
NOTIFY_TIMEOUT = timedelta(seconds=1)


def notify(*lines: str) -> None:
    """Send lines such as READY=1, STOPPING=1, WATCHDOG=1 or STATUS=…; does nothing without a NOTIFY_SOCKET."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(NOTIFY_TIMEOUT.total_seconds())
            channel.connect(address)
            channel.sendall("\n".join(lines).encode())
    except OSError as error:  # a missing supervisor is no reason to stop working
        log.warning("systemd.notify_failed", address=address, error=error.strerror or str(error))


def watchdog_interval() -> timedelta | None:
    """How often to send WATCHDOG=1: half of systemd's limit. None when systemd does not watch this process."""
    limit, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not limit.isdecimal() or int(limit) == 0 or pid not in ("", str(os.getpid())):
        return None
    return timedelta(microseconds=int(limit)) / 2


class Watchdog:
    """Reports READY=1 once every loop has started, and WATCHDOG=1 while none of them has stalled."""

    def __init__(self, liveness: LivenessMonitor) -> None:
        self._liveness = liveness
        self._interval = watchdog_interval()
        self._ready = False
        self._warnings = ThrottledLog(log)

    def tick(self, maximum: timedelta) -> timedelta:
        """How long the main thread may wait before the next ``feed``: briefly until everything has started."""
        if not self._ready:
            return min(maximum, STARTING_TICK)
        return min(maximum, self._interval) if self._interval else maximum

    def feed(self) -> None:
        """Send READY once, and WATCHDOG as long as nothing has stalled."""
        if stalled := self._liveness.stalled():
            self._warnings.warning("loops.stalled", loops=list(stalled))
            return
        if self._interval:
            notify("WATCHDOG=1")
        if not self._ready and self._liveness.started:
            self._ready = True
            notify("READY=1", "STATUS=polling")
