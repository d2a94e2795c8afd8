"""Runs the steps of a stop so that none of them can hold up the others, or the end of the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import timedelta

from listener.core import clock
from listener.core.errors import StopTimedOut


class BoundedSteps:
    """Steps that together may take until a deadline, and each of them no longer than its own limit. For one thread."""

    def __init__(self, *, deadline: float) -> None:
        """``deadline`` in monotonic seconds."""
        self._deadline = deadline
        self._hung: list[str] = []
        self._errors: list[BaseException] = []

    def run(self, name: str, step: Callable[[], object], *, limit: timedelta) -> None:
        """Run a step until it ends or the time is over; then it is abandoned, and the next step may begin."""
        thread = threading.Thread(target=self._attempt, args=(step,), name=name, daemon=True)
        thread.start()
        self.join([thread], limit=limit)

    def join(self, threads: Iterable[threading.Thread], *, limit: timedelta) -> None:
        """Wait for these threads until they end or the time is over."""
        until = min(self._deadline, clock.monotonic() + limit.total_seconds())
        for thread in threads:
            thread.join(max(0.0, until - clock.monotonic()))
            if thread.is_alive():
                self._hung.append(thread.name)

    def finish(self) -> None:
        """Raises the first error of a step, or StopTimedOut if one hangs."""
        if self._errors:
            raise self._errors[0]
        if self._hung:
            raise StopTimedOut(self._hung)

    def _attempt(self, step: Callable[[], object]) -> None:
        try:
            step()
        except BaseException as error:  # raised by ``finish``: the other steps must be run in any case
            self._errors.append(error)
