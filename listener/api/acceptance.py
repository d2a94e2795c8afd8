"""Accepts jobs now, to be submitted soon: without waiting for MPS, and only as many as can be submitted before long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from listener.api.threads import Threads
from listener.api.together import Together
from listener.client import Client
from listener.core.errors import ListenerError, TooManyWaiting
from listener.jobs.request import JobRequest
from listener.jobs.submission import Accepted, Prepared
from listener.runtime.rate_limit import IntervalTimer
from listener.store.group_commit import concerns_all

#: How many accepted jobs may wait: at the default rate limit, they are submitted within 20 minutes. One daemon keeps
#: to it exactly; each further one on the same store may add what it accepts between two counts.
MAX_WAITING: Final = 100_000
#: How often they are counted. In between, those that this process accepts are added.
COUNT_INTERVAL: Final = timedelta(seconds=1)
#: How many batches are accepted at a time, and how many requests that MPS may be asked about are verified.
THREADS: Final = 16
#: How many single requests share a transaction at most; the first one waits for all of them.
MAX_GROUP: Final = 64

ExceptionT = TypeVar("ExceptionT", bound=Exception)
Prepare = Callable[[], Prepared | ListenerError]
"""Verifies one request: ``Client.prepare``."""


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
        self._singles = Together(self._accept_group, limit=MAX_GROUP)
        self._lock = threading.Lock()
        self._count_due = IntervalTimer(COUNT_INTERVAL)
        self._waiting = 0  #: those in the store
        self._reserved = 0  #: those of the requests that are being stored

    async def accept(self, requests: Sequence[tuple[JobRequest, str]]) -> Sequence[Accepted | ListenerError]:
        """Accept a batch, each with its tenant, in one transaction; see ``Client.accept``.

        Raises TooManyWaiting, too; then none of them is accepted.
        """
        return await self._threads.run(self._accept_batch, requests)

    async def accept_one(self, request: JobRequest, tenant: str) -> Accepted:
        """Accept one job, in a transaction with those that arrive while the one before is committed.

        Raises the reason if it is refused.
        """
        prepare: Prepare = partial(self._client.prepare, request, tenant)
        if request.pipeline:  # MPS may be asked about it, which delays no other request
            prepared = await self._threads.run(prepare)
            return await self._singles.run(lambda: prepared)
        return await self._singles.run(partial(copy_context().run, prepare))  # with the trace of its caller

    def _accept_batch(self, requests: Sequence[tuple[JobRequest, str]]) -> Sequence[Accepted | ListenerError]:
        self._reserve(len(requests))
        return self._counted(lambda: self._client.accept(requests), reserved=len(requests))

    def _accept_group(self, group: Sequence[Prepare]) -> Sequence[Accepted | Exception]:
        """Each is accepted or refused by itself."""
        admitted = [self._admitted(prepare) for prepare in group]
        reserved = sum(isinstance(each, Prepared) for each in admitted)
        return self._counted(lambda: self._together_or_alone(admitted), reserved=reserved)

    def _admitted(self, prepare: Prepare) -> Prepared | Exception:
        """A request that has been verified, with a place reserved for it, or why it gets none."""
        try:
            prepared = prepare()
            if isinstance(prepared, Prepared):
                self._reserve(1)
        except Exception as error:  # whatever it is, it is about this request
            return error
        return prepared

    def _together_or_alone(self, admitted: Sequence[Prepared | Exception]) -> Sequence[Accepted | Exception]:
        try:
            return self._client.accept_prepared(admitted)
        except Exception as error:  # it may be about one of them
            if len(admitted) == 1 or concerns_all(error):
                return [error if isinstance(each, Prepared) else each for each in admitted]
            return [self._together_or_alone([each])[0] for each in admitted]

    def _counted(
        self, accept: Callable[[], Sequence[Accepted | ExceptionT]], *, reserved: int
    ) -> Sequence[Accepted | ExceptionT]:
        """Call ``accept``, and count the new jobs instead of the places that were reserved for them."""
        new = 0
        try:
            answers = accept()
            new = sum(isinstance(each, Accepted) and each.new for each in answers)
        finally:
            with self._lock:
                self._reserved -= reserved
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
