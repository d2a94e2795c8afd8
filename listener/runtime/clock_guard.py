"""Whether the wall clock is right, as far as the services tell: decisions that cannot be undone depend on it.

A clock that is days ahead for some seconds would otherwise declare jobs lost, whose callbacks are still to come, and
delete results, whose copies would then be handled again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from listener.core import clock
from listener.core.logger import get_logger
from listener.runtime.log_throttle import ThrottledLog

log = get_logger(__name__)

#: A larger change between the wall clock and the time since boot is a jump; NTP slews far more slowly.
JUMP = timedelta(seconds=5)
#: How far the wall clock may be from that of a service. MNS itself rejects requests that are off by 15 minutes.
TOLERANCE = timedelta(minutes=5)


class ClockGuard:
    """Implements ``listener.core.ports.ClockCheck``. Safe to use from several threads.

    A service's time is carried forward by the time since boot, which includes the time for which a machine was
    suspended, and which cannot be set.
    """

    def __init__(self, *, on_jump: Callable[[timedelta], None] = lambda _size: None) -> None:
        self._on_jump = on_jump
        self._warnings = ThrottledLog(log)
        self._lock = threading.Lock()
        self._boot = (
            _time_of_boot()
        )  #: when the machine was started, by the wall clock when it was last watched
        self._true_boot: datetime | None = None  #: the same by a service's clock
        self._steps_back = 0

    def confirm(self, theirs: datetime) -> None:
        """A service has just answered with this date."""
        self._true_boot = theirs - clock.uptime()

    @property
    def confirmed(self) -> bool:
        """Whether a service has told the time since the start of this process, and the wall clock agrees with it."""
        return self._true_boot is not None and not self.wrong

    @property
    def wrong(self) -> bool:
        """Whether the wall clock disagrees with a service; False as long as none has told the time."""
        return self._true_boot is not None and abs(_time_of_boot() - self._true_boot) > TOLERANCE

    @property
    def steps_back(self) -> int:
        """How often the clock has jumped back since the start of this process."""
        return self._steps_back

    def watch(self) -> None:
        """Notice and report jumps; to be called periodically."""
        with self._lock:
            before, self._boot = self._boot, _time_of_boot()
            size = self._boot - before
            if abs(size) > JUMP:
                self._steps_back += size < timedelta(0)
                log.warning("clock.jumped", seconds=round(size.total_seconds(), 1))
                self._on_jump(size)
        if self._true_boot is not None and self.wrong:
            off = self._boot - self._true_boot
            self._warnings.warning(
                "clock.wrong",
                seconds=round(off.total_seconds(), 1),
                hint="correct the clock of this machine; no job becomes Lost and nothing is pruned until then",
            )


def _time_of_boot() -> datetime:
    return clock.now() - clock.uptime()
