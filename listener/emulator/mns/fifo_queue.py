"""FIFO queues: messages of one group are received in the order in which they were sent.

Source: the page "sequential-message" of the MNS manual. A group is locked while one of its messages is in flight; what
one receive takes of a group, it takes in order. Inferred: priorities have no effect, and a delayed message holds up
those behind it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import chain, islice, takewhile
from typing import Any

from listener.emulator.mns.queue import HIDDEN, READY, EmulatedQueue, StoredMessage


class FifoQueue(EmulatedQueue):
    """A queue that has a heap of groups instead of one of ready messages."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._groups: dict[str, dict[int, StoredMessage]] = {}
        #: The groups that are not locked, by the order of their first message.
        self._turns: list[tuple[int, str]] = []
        self._offered: set[str] = set()  #: their names

    def peek(self, limit: int) -> list[StoredMessage]:
        self._promote(self._clock.ms())
        groups = [name for _, name in sorted(self._turns)]
        return list(islice(chain.from_iterable(map(self._receivable, groups)), limit))

    def _show(self, message: StoredMessage) -> None:
        self._join(message)
        self._forget_handles(message)
        message.place = READY
        self._offer(message.group)
        if self.changed is not None:
            self.changed[message.order] = message

    def _hide(self, message: StoredMessage, until: int, *, keep: bool = False) -> None:
        self._join(message)
        super()._hide(message, until, keep=keep)

    def _remove(self, message: StoredMessage) -> None:
        group = self._groups[message.group]
        del group[message.order]
        if not group:
            del self._groups[message.group]
        super()._remove(message)
        if group:
            self._offer(message.group)

    def _compact(self) -> None:
        """Forget also the turns of groups that are gone, where they are most of all turns."""
        super()._compact()
        if len(self._turns) > 2 * len(self._groups) + 64:
            self._turns = [turn for turn in self._turns if turn[1] in self._groups]
            heapq.heapify(self._turns)
            self._offered = {name for _, name in self._turns}

    def _join(self, message: StoredMessage) -> None:
        """Make a message part of its group, unless it is already; its order is that of sending."""
        self._groups.setdefault(message.group, {})[message.order] = message

    def _offer(self, name: str) -> None:
        """Give a group its turn, unless it is locked or has its turn already."""
        first = next(self._receivable(name), None)
        if first is not None and name not in self._offered:
            self._offered.add(name)
            heapq.heappush(self._turns, (first.order, name))

    def _receivable(self, name: str) -> Iterator[StoredMessage]:
        """What one receive may take of a group: nothing while a message is in flight, else all up to a delayed one.

        A message that was never received has none behind it that was, so it ends the search for one in flight.
        """
        group = self._groups.get(name, {})
        received = takewhile(lambda message: message.count, group.values())
        if any(message.place == HIDDEN for message in received):
            return iter(())
        return takewhile(lambda message: message.place == READY, group.values())

    def _pop_ready(self, limit: int) -> Iterator[StoredMessage]:
        while limit and self._turns:
            _, name = heapq.heappop(self._turns)
            self._offered.discard(name)
            for message in islice(self._receivable(name), limit):
                limit -= 1
                yield message

    def _is_ready(self) -> bool:
        return any(any(self._receivable(name)) for _, name in self._turns)
