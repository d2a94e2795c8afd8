"""The clock of one emulator: the wall clock, until somebody lets time pass faster or jumps ahead.

Everything that the emulator waits for goes by it. Only the dates of requests and replies do not: clients sign with
their own clocks.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

from listener.core import clock

#: As far as the clock goes; years that still are four digits in every format.
LATEST = datetime(3000, 1, 1, tzinfo=UTC).timestamp()
SLOWEST, FASTEST = 1e-3, 1e9
#: Of the event loop, in which a task that a timer has woken does what it waited to do.
ITERATIONS_PER_TIMER = 5


class ClockError(ValueError):
    """A change that the clock does not make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSetting:
    """At the real time ``real`` it was ``virtual``, and ``scale`` seconds pass in each second."""

    real: float = 0.0
    virtual: float = 0.0
    scale: float = 1.0


@dataclass(slots=True, eq=False)
class Timer:
    """An action at a time of the clock."""

    due: float
    action: Callable[[], object]
    _clock: VirtualClock
    handle: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        self._clock.forget(self)


class VirtualClock:
    """Tells the time and runs timers, on one event loop. Times are seconds since 1970."""

    def __init__(self, scale: float = 1.0) -> None:
        self._first_scale = scale
        #: Called after each timer's action, after each work and each jump.
        self.after_timer: Callable[[], None] = _nothing
        self._timers: dict[Timer, None] = {}
        #: All of them and some that were cancelled, as a heap, while the clock jumps; a number breaks ties.
        self._due: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._sleepers: set[asyncio.Future[None]] = set()
        self._changing = asyncio.Lock()
        self._working: set[asyncio.Task[None]] = set()
        self._closed = False
        self.reset()

    def reset(self) -> None:
        """Return to the time of the wall clock, and to the first scale, and end all work."""
        self._end_all_work()
        self.continue_at(ClockSetting())

    def continued(self) -> ClockSetting:
        """By what a later process goes on, as if this clock had gone at the pace of the wall clock from now on."""
        if self.setting.scale == 1:
            return self.setting
        return ClockSetting(real=_real(), virtual=self.seconds())

    def continue_at(self, setting: ClockSetting) -> None:
        """Go on from where another clock was, with the first scale of this one."""
        self.setting = setting
        if self._first_scale != 1:
            self.set_scale(self._first_scale)

    def seconds(self) -> float:
        setting = self.setting
        return setting.virtual + (_real() - setting.real) * setting.scale

    def ms(self) -> int:
        return int(self.seconds() * 1000)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds(), UTC)

    def ahead(self) -> float:
        """By how many seconds this clock is ahead of the wall clock."""
        return self.seconds() - _real()

    def call_later(self, seconds: float, action: Callable[[], object]) -> Timer:
        """Run an action when that much time of this clock has passed."""
        timer = Timer(self.seconds() + seconds, action, self)
        self._timers[timer] = None
        if self._changing.locked():
            heapq.heappush(self._due, (timer.due, next(self._numbers), timer))
        self._arm(timer)
        return timer

    def forget(self, timer: Timer) -> None:
        self._timers.pop(timer, None)
        if timer.handle is not None:
            timer.handle.cancel()

    def work(self, what: Coroutine[Any, Any, None]) -> None:
        """Run what takes real time, such as a request to somebody else: ``advance`` waits for its end."""
        task = asyncio.get_running_loop().create_task(what)
        self._working.add(task)
        task.add_done_callback(self._end_work)

    async def sleep(self, seconds: float) -> None:
        """Wait, but not longer than the emulator runs."""
        if self._closed:
            return
        awake = asyncio.get_running_loop().create_future()
        self._sleepers.add(awake)
        timer = self.call_later(seconds, lambda: awake.set_result(None))
        try:
            await awake
        finally:
            self._sleepers.discard(awake)
            timer.cancel()

    async def advance(self, seconds: float) -> None:
        """Jump ahead, from timer to timer: what is due on the way happens in order and at its own time.

        Raises ClockError.
        """
        async with self._changing:
            self._due = [(timer.due, next(self._numbers), timer) for timer in self._timers]
            heapq.heapify(self._due)
            await self._work_done()
            target = self.seconds() + seconds
            if not (seconds >= 0 and target <= LATEST):
                raise ClockError("the clock goes forward only, and not beyond the year 3000")
            while (timer := self._next_timer(target)) is not None:
                self._jump_to(timer.due)
                self._fire(timer)
                for _ in range(ITERATIONS_PER_TIMER):
                    await asyncio.sleep(0)
                await self._work_done()
            self._due = []
            self._jump_to(target)
            self._arm_all()
            self.after_timer()

    def set_scale(self, scale: float) -> None:
        """Let this many seconds pass in each second. Raises ClockError."""
        if not SLOWEST <= scale <= FASTEST:
            raise ClockError(f"time_scale = {scale}: must be between {SLOWEST} and {FASTEST:.0f}")
        self.setting = ClockSetting(real=_real(), virtual=self.seconds(), scale=scale)
        self._arm_all()

    def close(self) -> None:
        """Drop all timers, and end all sleeps and all work."""
        self._closed = True
        self._end_all_work()
        for timer in list(self._timers):
            timer.cancel()
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    def _end_all_work(self) -> None:
        for task in self._working:
            task.cancel()

    def _end_work(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        self.after_timer()

    async def _work_done(self) -> None:
        while self._working:
            await asyncio.wait(self._working)

    def _next_timer(self, until: float) -> Timer | None:
        while self._due and self._due[0][0] <= until:
            _, _, timer = heapq.heappop(self._due)
            if timer in self._timers:
                return timer
        return None

    def _jump_to(self, target: float) -> None:
        ahead = target - self.seconds()
        if ahead > 0:
            old = self.setting
            self.setting = ClockSetting(real=old.real, virtual=old.virtual + ahead, scale=old.scale)

    def _arm_all(self) -> None:
        for timer in self._timers:
            self._arm(timer)

    def _arm(self, timer: Timer) -> None:
        if timer.handle is not None:
            timer.handle.cancel()
        wait = max(timer.due - self.seconds(), 0) / self.setting.scale
        timer.handle = asyncio.get_running_loop().call_later(wait, self._fire, timer)

    def _fire(self, timer: Timer) -> None:
        """Also if the wall clock was set back meanwhile: what was to happen in a second happens in a second."""
        timer.cancel()
        timer.action()
        self.after_timer()


def _real() -> float:
    return clock.timestamp()


def _nothing() -> None:
    pass
