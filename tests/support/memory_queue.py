"""A queue in memory that keeps the promises of ``listener.core.ports.Queue``."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta

from listener.core.errors import FailureKind, QueueUnavailable, UnavailableError
from listener.core.model import Message


class MemoryQueue:
    """What is received stays until it is deleted, hidden until ``redeliver``. Raises the errors it is given.

    With ``parks`` an empty queue waits for messages, as a long poll does; else it answers at once.
    """

    name = "mine"

    def __init__(self, *messages: Message, parks: bool = False) -> None:
        self.messages = list(messages)
        self.faults: list[UnavailableError] = []
        self.closed = False
        self.parked = False
        self._hidden: list[Message] = []
        self._parks = parks
        self._interrupted = False
        self._aborted = False
        self._changed = threading.Condition()

    def put(self, *messages: Message) -> None:
        with self._changed:
            self.messages += messages
            self._changed.notify_all()

    def redeliver(self) -> None:
        """The visibility timeout of all that was received is over."""
        self._hidden.clear()

    def receive(self, *, limit: int, wait: timedelta, requests: int = 1) -> Sequence[Message]:
        self._check()
        if self.faults:
            raise self.faults.pop(0)
        with self._changed:
            if self._parks:
                self.parked = True
                self._changed.wait_for(lambda: self._visible() or self._interrupted, wait.total_seconds())
                self.parked, self._interrupted = False, False
            received = self._visible()[: limit * requests]
            self._hidden += received
            return received

    def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
        self._check()
        with self._changed:
            handles = {message.receipt_handle for message in self.messages}
            left = [message for message in messages if message.receipt_handle not in handles]
            gone = {message.receipt_handle for message in messages}
            self.messages = [message for message in self.messages if message.receipt_handle not in gone]
        return left

    def interrupt(self) -> None:
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def abort(self) -> None:
        self._aborted = True
        self.interrupt()

    def _visible(self) -> list[Message]:
        return [each for each in self.messages if not any(each is hidden for hidden in self._hidden)]

    def _check(self) -> None:
        if self._aborted:
            raise QueueUnavailable("aborted", kind=FailureKind.CONNECTION)

    def close(self) -> None:
        self.closed = True
