"""One call for all that arrives while another one is under way, so that they share what is slow about it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from listener.api.threads import Threads

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Together(Generic[Item, Answer]):
    """One call at a time, in a thread. An item that arrives while there is none waits for no other one.

    For one event loop at a time.
    """

    def __init__(self, call: Callable[[Sequence[Item]], Sequence[Answer | Exception]], *, limit: int) -> None:
        """``call`` gets at most ``limit`` items, in the order in which they arrived, and returns for each what ``run``
        returns or raises. What it raises, all of them raise."""
        self._call = call
        self._limit = limit
        self._threads = Threads(1)
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._calling: asyncio.Task[None] | None = None  #: while there is anything to do

    async def run(self, item: Item) -> Answer:
        """The answer to this item. An item whose call has begun is processed even if this is cancelled."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._calling is None or self._calling.done():  # it may have been cancelled
            self._calling = asyncio.create_task(self._call_until_done())
        return await answer

    async def _call_until_done(self) -> None:
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._limit))]
            try:
                answers = await self._threads.run(self._call, [item for item, _ in group])
            except Exception as error:
                answers = [error] * len(group)
            for (_, future), answer in zip(group, answers, strict=True):
                _resolve(future, answer)
        self._calling = None


def _resolve(future: asyncio.Future[Answer], answer: Answer | Exception) -> None:
    if future.done():  # cancelled: its client is gone, or the server stops
        return
    if isinstance(answer, Exception):
        # Several requests may raise it, and each would lengthen the traceback.
        future.set_exception(answer.with_traceback(None))
    else:
        future.set_result(answer)
