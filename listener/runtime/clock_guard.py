"""Whether the wall clock is right, as far as the services tell: decisions that cannot be undone depend on it.

A clock that is days ahead for some seconds would otherwise declare jobs lost, whose callbacks are still to come, and
delete results, whose copies would then be handled again. One that was behind for some seconds leaves rows that look
days older than they are: until these are corrected, nothing is decided by age either. Whether there are such rows from
before this process started is seen by their times, which are read once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from listener.core import clock
from listener.core.logger import get_logger
from listener.core.model import ClockLag
from listener.runtime.clock_evidence import lags_shown
from listener.runtime.log_throttle import ThrottledLog

log = get_logger(__name__)

#: A larger change between the wall clock and the time since boot is a jump; NTP slews far more slowly.
JUMP = timedelta(seconds=5)
#: Readings of two clocks within this time belong together.
MOMENT = timedelta(seconds=1)
#: How far the wall clock may be from that of a service. MNS itself rejects requests that are off by 15 minutes.
TOLERANCE = timedelta(minutes=5)
#: How long after a correction something may still be written, or be decided, with a time from before it.
SETTLING_TIME = timedelta(minutes=1)
#: If the clock was behind when this process started: how long before that others may have written with it.
LOOK_BACK = timedelta(hours=1)
#: By then a reply with a date must have come, if replies have dates: a long poll takes half a minute at most.
FIRST_DATE_TIMEOUT = timedelta(minutes=2)
#: How many periods of a wrong clock are remembered.
REMEMBERED = 100


@dataclass(frozen=True, slots=True)
class _Period:
    """A time without jumps, which a jump has ended. All by the wall clock as it was set then."""

    boot: datetime  #: when the machine was started
    begin: datetime
    seen: datetime  #: when the clock was last seen to be set like this
    end: datetime  #: when the jump was noticed

    def lag(self, by: timedelta) -> ClockLag:
        """If the clock was behind by so much in it. The bounds keep what has been corrected out of the period, also
        for a process that noticed the jump a while later: see ``ClockLag``."""
        end = min(self.end, self.seen + by / 4)
        return ClockLag(begin=max(self.begin, end - by / 2), end=end, by=by, at_least=by - MOMENT)


@dataclass(slots=True)
class _Correction:
    """What is to be done because of a lag: at once, and once more after SETTLING_TIME."""

    lag: ClockLag
    again_at: timedelta  #: by the time since boot
    done_once: bool = False


class ClockGuard:
    """Implements ``listener.core.ports.AgeCheck``. Safe to use from several threads.

    A service's time is carried forward by the time since boot, which includes the time for which a machine was
    suspended, and which cannot be set.
    """

    def __init__(self, *, on_jump: Callable[[timedelta], None] = lambda _size: None) -> None:
        self._on_jump = on_jump
        self._warnings = ThrottledLog(log)
        self._lock = threading.Lock()
        #: When the machine was started, by the wall clock when it was last looked at, and how long after that it was.
        self._boot, self._seen_at = _read_clocks()
        self._started = self._seen_at
        self._begin = self._boot + self._seen_at - LOOK_BACK  #: since when it is set like this
        self._was_right = False  #: whether a service has confirmed the clock since then
        self._true_boot: datetime | None = None  #: when the machine was started, by a service's clock
        self._steps_back = self._steps_forward = 0
        self._knows_past = False  #: whether ``learn`` has been called
        self._written: Sequence[Sequence[datetime]] = ()  #: what it was given, until the clock is right
        self._unjudged: list[_Period] = []  #: before the last jump: to be compared with a clock that is right
        self._corrections: list[_Correction] = []
        self._lags: deque[ClockLag] = deque(maxlen=REMEMBERED)

    def confirm(self, theirs: datetime) -> None:
        """A service has just answered with this date."""
        self._true_boot = theirs - clock.uptime()
        with self._lock:
            self._look()
            self._was_right = self._was_right or self._is_right

    @property
    def confirmed(self) -> bool:
        """Whether a service has told the time since the start of this process, the wall clock agrees with it, and no
        rows are left that were written while it was behind."""
        with self._lock:
            self._look()
            return self._is_right and self._knows_past and not self._corrections

    def confirms(self, at: datetime) -> bool:
        """See ``AgeCheck``: deliveries in the hands of handlers still have the times that they were claimed with."""
        return self.confirmed and not any(at in lag for lag in tuple(self._lags))

    @property
    def wrong(self) -> bool:
        """Whether the wall clock disagrees with a service; False as long as none has told the time."""
        return self._true_boot is not None and abs(_time_of_boot() - self._true_boot) > TOLERANCE

    @property
    def cannot_be_confirmed(self) -> bool:
        """Whether no reply since the start had a date: a proxy may remove it, or no service can be reached. What must
        end at some time has to rely on the wall clock then."""
        return self._true_boot is None and clock.uptime() - self._started > FIRST_DATE_TIMEOUT

    @property
    def steps_back(self) -> int:
        """How often the clock has jumped back since the start of this process."""
        return self._steps_back

    @property
    def steps_forward(self) -> int:
        """See ``AgeCheck``."""
        return self._steps_forward

    def watch(self) -> None:
        """Notice and report jumps; to be called periodically."""
        with self._lock:
            self._look()
        if self._true_boot is not None and self.wrong:
            off = self._boot - self._true_boot
            self._warnings.warning(
                "clock.wrong",
                seconds=round(off.total_seconds(), 1),
                hint="correct the clock of this machine; no job becomes Lost and nothing is pruned until then",
            )

    @property
    def knows_past(self) -> bool:
        """Whether ``learn`` has been called, without which nothing is confirmed."""
        return self._knows_past

    def learn(self, written: Sequence[Sequence[datetime]]) -> None:
        """Each of ``written`` has times at which rows were written, in this order, also before this process started."""
        with self._lock:
            self._written, self._knows_past = written, True

    def lags_to_correct(self) -> Sequence[ClockLag]:
        """Periods in which the clock was behind, whose rows are to be corrected now; then call ``corrected``."""
        with self._lock:
            now = clock.uptime()
            return [each.lag for each in self._corrections if not each.done_once or now >= each.again_at]

    def corrected(self, lag: ClockLag) -> None:
        """The rows of this period have been corrected; once more is enough, after all calls that began before."""
        with self._lock:
            self._corrections = [each for each in self._corrections if each.lag != lag or not each.done_once]
            for each in self._corrections:
                each.done_once = each.done_once or each.lag == lag

    def _look(self) -> None:
        """Notice a jump, and after it, whether the clock was behind before. The lock is held."""
        boot, uptime = _read_clocks()
        size = boot - self._boot
        if abs(size) > JUMP:
            self._end_period(uptime, boot)
            self._steps_back += size < timedelta(0)
            self._steps_forward += size > timedelta(0)
            log.warning("clock.jumped", seconds=round(size.total_seconds(), 1))
            self._on_jump(size)
        self._boot, self._seen_at = boot, uptime
        if self._is_right:
            self._judge()

    def _end_period(self, uptime: timedelta, boot: datetime) -> None:
        if not self._was_right:
            period = _Period(self._boot, self._begin, self._boot + self._seen_at, self._boot + uptime)
            self._unjudged = [*self._unjudged, period][-REMEMBERED:]
        self._begin, self._was_right = boot + self._seen_at, False

    def _judge(self) -> None:
        """The clock is right now: find out by how much it was behind before."""
        for period in self._unjudged:
            by = self._boot - period.boot
            if by > TOLERANCE:
                self._add_lags([period.lag(by)])
        for times in self._written:
            self._add_lags(lags_shown(times, now=self._boot + self._seen_at, tolerance=TOLERANCE))
        self._unjudged, self._written = [], ()

    def _add_lags(self, lags: Iterable[ClockLag]) -> None:
        for lag in lags:
            self._lags.append(lag)
            self._corrections.append(_Correction(lag, self._seen_at + SETTLING_TIME))

    @property
    def _is_right(self) -> bool:
        return self._true_boot is not None and abs(self._boot - self._true_boot) <= TOLERANCE


def _time_of_boot() -> datetime:
    return _read_clocks()[0]


def _read_clocks() -> tuple[datetime, timedelta]:
    """When the machine was started, by the wall clock, and the time since then; both as of one moment, also if this
    process was stopped between two readings."""
    while True:
        before, now, after = clock.uptime(), clock.now(), clock.uptime()
        if after - before < MOMENT:
            return now - before, before
