"""How many deliveries a process owns at a time: enough that fast handlers never wait for a claim, and few where
handlers are slow, so that other processes get the rest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from listener.core import clock

#: Deliveries are claimed in advance: as many as are settled in this time, up to a maximum.
CLAIM_AHEAD, MAX_IN_FLIGHT = timedelta(seconds=1), 2048
#: How much it may grow at a time.
MAX_GROWTH = 8
#: After how many releases it is adjusted at the latest.
ENOUGH_RELEASES = 32


class AdaptiveCapacity:
    """Grows while deliveries are settled soon after they were claimed, and shrinks when that takes long.

    At a constant rate, what is owned is settled in the time for which each is owned (Little's law). Not safe to use
    from several threads.
    """

    def __init__(self, least: int) -> None:
        self.least = self.total = least
        self._begun = self._last_release = clock.monotonic()
        self._most = 0  #: owned since then
        self._times: list[float] = []  #: for which those that were claimed since then were owned

    def owns(self, count: int) -> None:
        """So many are owned now."""
        self._most = max(self._most, count)

    def released(self, owned_since: Sequence[float]) -> None:
        """Deliveries were released; since when (monotonic) they were owned."""
        now = self._last_release = clock.monotonic()
        # Those that were owned at the last adjustment say nothing about its effect.
        self._times += [now - since for since in owned_since if since >= self._begun]
        if len(self._times) < min(max(1, self.total // 4), ENOUGH_RELEASES):
            return
        average, ahead = sum(self._times) / len(self._times), CLAIM_AHEAD.total_seconds()
        if average > ahead:
            self.total = max(self.least, int(self._most * ahead / average))
        elif average < ahead / 2 and self._most > self.total // 2:
            growth = min(ahead / 2 / average, MAX_GROWTH) if average else MAX_GROWTH
            self.total = min(int(growth * self.total), max(self.least, MAX_IN_FLIGHT))
        self._begin()

    def rest(self) -> None:
        """Nothing is owned. After a while, how fast the handlers were says nothing about the next deliveries."""
        if clock.monotonic() - self._last_release > CLAIM_AHEAD.total_seconds():
            self.total = self.least
            self._begin()

    def _begin(self) -> None:
        """Begin to measure anew."""
        self._begun = clock.monotonic()
        self._most, self._times = 0, []
