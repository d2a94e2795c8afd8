"""How many jobs are accepted while others are being stored."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest

from listener.api.acceptance import Acceptance
from listener.client import Client
from listener.core.errors import StoreFailureKind, StoreUnavailable, TooManyWaiting
from listener.jobs.request import JobRequest
from listener.jobs.submission import Accepted
from tests.support.builders import a_job

JOB = (JobRequest(), "")
LIMIT = 60.0  #: seconds that nothing here takes


class SlowStore:
    """A client and its store, where the first request waits for ``may_store``."""

    def __init__(self) -> None:
        self.store = self
        self.stored = 0
        self.storing = threading.Event()
        self.may_store = threading.Event()
        self.fails = False

    def count_accepted(self) -> int:
        return self.stored

    def accept(self, requests: Sequence[Any]) -> Sequence[Accepted]:
        if not self.storing.is_set():
            self.storing.set()
            assert self.may_store.wait(LIMIT)
        if self.fails:
            raise StoreUnavailable("away", kind=StoreFailureKind.LOCKED)
        self.stored += len(requests)
        return [Accepted(job=a_job(), warnings=[])] * len(requests)


async def accept_while_another_is_stored(acceptance: Acceptance, slow: SlowStore) -> None:
    """Eight jobs, and eight more while those are being stored; only ten may wait."""
    first = asyncio.create_task(acceptance.accept([JOB] * 8))
    assert await asyncio.to_thread(slow.storing.wait, LIMIT)
    try:
        with pytest.raises(TooManyWaiting, match="8 accepted jobs wait"):
            await acceptance.accept([JOB] * 8)
    finally:
        slow.may_store.set()
    await first


def test_jobs_of_requests_under_way_count_as_waiting() -> None:
    slow = SlowStore()
    acceptance = Acceptance(cast(Client, slow), submit_soon=lambda: None, max_waiting=10)
    asyncio.run(accept_while_another_is_stored(acceptance, slow))
    assert slow.stored == 8


def test_a_request_that_fails_leaves_its_room_to_others() -> None:
    slow = SlowStore()
    slow.may_store.set()
    acceptance = Acceptance(cast(Client, slow), submit_soon=lambda: None, max_waiting=10)
    slow.fails = True
    with pytest.raises(StoreUnavailable):
        asyncio.run(acceptance.accept([JOB] * 10))
    slow.fails = False
    asyncio.run(acceptance.accept([JOB] * 10))
    assert slow.stored == 10
