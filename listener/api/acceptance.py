"""Accepts jobs now, to be submitted soon: without waiting for MPS, and only as many as can be submitted before long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from listener.api.threads import Threads
from listener.client import Client
from listener.core.errors import ListenerError, TooManyWaiting
from listener.jobs.request import JobRequest
from listener.jobs.submission import Accepted
from listener.runtime.rate_limit import IntervalTimer

#: How many accepted jobs may wait: at the default rate limit, they are submitted within 20 minutes. One daemon keeps
#: to it exactly; each further one on the same store may add what it accepts between two counts.
MAX_WAITING: Final = 100_000
#: How often they are counted. In between, those that this process accepts are added.
COUNT_INTERVAL: Final = timedelta(seconds=1)
#: How many requests are accepted at a time: they share the commits of the store.
THREADS: Final = 16


class Acceptance:
    """One for the process."""

    def __init__(
        self, client: Client, *, submit_soon: Callable[[], None], max_waiting: int = MAX_WAITING
    ) -> None:
        """``submit_soon`` is called when jobs were accepted."""
        self._client = client
        self._submit_soon = submit_soon
        self._max_waiting = max_waiting
        self._threads = Threads(THREADS)
        self._lock = threading.Lock()
        self._count_due = IntervalTimer(COUNT_INTERVAL)
        self._waiting = 0  #: those in the store
        self._reserved = 0  #: those of the requests that are being stored

    async def accept(self, requests: Sequence[tuple[JobRequest, str]]) -> Sequence[Accepted | ListenerError]:
        """See ``Client.accept``. Raises TooManyWaiting, too; then none of them is accepted."""
        return await self._threads.run(self._accept, requests)

    async def accept_one(self, request: JobRequest, tenant: str) -> Accepted:
        """The same for one; raises the reason if it is refused."""
        (answer,) = await self.accept([(request, tenant)])
        if isinstance(answer, ListenerError):
            raise answer
        return answer

    def _accept(self, requests: Sequence[tuple[JobRequest, str]]) -> Sequence[Accepted | ListenerError]:
        self._reserve(len(requests))
        new = 0
        try:
            answers = self._client.accept(requests)
            new = sum(isinstance(each, Accepted) and each.new for each in answers)
        finally:
            with self._lock:
                self._reserved -= len(requests)
                self._waiting += new
        if new:
            self._submit_soon()
        return answers

    def _reserve(self, number: int) -> None:
        """Raises TooManyWaiting and StoreUnavailable."""
        with self._lock:
            if self._count_due.due():
                self._waiting = self._client.store.count_accepted()
            waiting = self._waiting + self._reserved
            if waiting + number > self._max_waiting:
                raise TooManyWaiting(
                    f"{waiting} accepted jobs wait to be submitted to MPS, of at most {self._max_waiting}; "
                    "nothing of this request was accepted"
                )
            self._reserved += number
