"""A heartbeat that counts."""

from __future__ import annotations


class CountingHeartbeat:
    """For one loop."""

    def __init__(self) -> None:
        self.beats = 0
        self.paused = False

    def beat(self) -> None:
        self.beats += 1
        self.paused = False

    def expect(self) -> None:
        self.paused = False

    def pause(self) -> None:
        self.paused = True
