"""Tells several parts of the process that something has happened."""

from __future__ import annotations

from collections.abc import Callable


class Broadcast:
    """Calls every subscriber, in the thread that notifies; they must neither wait nor raise."""

    def __init__(self) -> None:
        self._subscribers: tuple[Callable[[], None], ...] = ()

    def subscribe(self, subscriber: Callable[[], None]) -> None:
        """To be called from one thread only, such as that of the start."""
        self._subscribers = (*self._subscribers, subscriber)

    def notify(self) -> None:
        for subscriber in self._subscribers:
            subscriber()
