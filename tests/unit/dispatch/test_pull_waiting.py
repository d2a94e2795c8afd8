"""Any number of applications that wait, with a real store and event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from listener.core.errors import StoreFailureKind, StoreUnavailable, UnavailableError
from listener.core.model import Claim, Delivery, Target
from listener.core.pull import PullHandler
from listener.dispatch import pull_waiting
from listener.dispatch.pull_waiting import PullWaiting
from listener.store.sql_store import SqlStore
from tests.support.dispatching import TARGET, delivery_states, record_results
from tests.support.pulling import a_pull, offer_results, offering
from tests.support.sqlite import new_sqlite_store

LONG = timedelta(minutes=10)
OTHER = Target("videos", "other")


class WatchedStore(SqlStore):
    """Counts the claims and the polls, and is unavailable for the next ``away_for`` polls."""

    claims = polls = away_for = 0
    on_claim: Callable[[], None] = staticmethod(lambda: None)

    def claim_offered(self, target: Target, claim: Claim, *, at: datetime) -> Sequence[Delivery]:
        claimed = super().claim_offered(target, claim, at=at)
        self.claims += 1
        self.on_claim()
        return claimed

    def due_targets(self, targets: Sequence[Target], *, at: datetime) -> Sequence[Target]:
        self.polls += 1
        if self.away_for:
            self.away_for -= 1
            raise StoreUnavailable("away", kind=StoreFailureKind.CONNECTION)
        return super().due_targets(targets, at=at)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WatchedStore]:
    with new_sqlite_store(tmp_path) as store:
        yield WatchedStore(store.database)


def waiting_at(store: SqlStore) -> PullWaiting:
    handlers = {TARGET: PullHandler(), OTHER: PullHandler()}
    return PullWaiting(a_pull(store, handlers=lambda: handlers))


def ask(waiting: PullWaiting, **more: Any) -> Coroutine[Any, Any, Sequence[Delivery]]:
    gone: Awaitable[object] = more.pop("gone", asyncio.get_running_loop().create_future())
    defaults: dict[str, Any] = {"client": "", "limit": 1, "lease": None, "wait": LONG, "gone": lambda: gone}
    target = more.pop("target", TARGET)
    return waiting.claim(target.route, handler=target.handler, **(defaults | more))


async def started(
    store: WatchedStore, *asked: Coroutine[Any, Any, Sequence[Delivery]]
) -> list[asyncio.Task[Sequence[Delivery]]]:
    """These, once each of them has claimed in vain."""
    before = store.claims
    tasks = [asyncio.create_task(each) for each in asked]
    while store.claims < before + len(asked):
        await asyncio.sleep(0)
    return tasks


def test_what_is_offered_is_claimed_without_waiting(store: WatchedStore) -> None:
    offer_results(store, 3)

    async def main() -> Sequence[Delivery]:
        return await ask(waiting_at(store), limit=2)

    assert len(asyncio.run(main())) == 2


def test_an_application_that_waits_is_woken_by_the_offer(
    store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull_waiting, "POLL_INTERVAL", LONG)

    async def main() -> Sequence[Delivery]:
        waiting = waiting_at(store)
        (task,) = await started(store, ask(waiting))
        with offering(store, on_offered=waiting.wake):
            record_results(store)
            return await asyncio.wait_for(task, 60)

    assert [each.attempt for each in asyncio.run(main())] == [1]


def test_each_offer_goes_to_one_of_those_that_wait(
    store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull_waiting, "POLL_INTERVAL", LONG)

    async def main() -> list[Sequence[Delivery]]:
        waiting = waiting_at(store)
        tasks = await started(store, *[ask(waiting) for _ in range(20)])
        await asyncio.to_thread(offer_results, store, 20)
        waiting.wake({TARGET})  # one finds that there are more, and wakes the next
        return await asyncio.gather(*tasks)

    found = asyncio.run(main())
    assert sorted(delivery.id for claimed in found for delivery in claimed) == list(range(1, 21))


def test_a_wake_is_not_lost_with_an_application_that_leaves(
    store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull_waiting, "POLL_INTERVAL", LONG)

    async def main() -> tuple[Sequence[Delivery], Sequence[Delivery]]:
        waiting, gone = waiting_at(store), asyncio.get_running_loop().create_future()
        first, second = await started(store, ask(waiting, gone=gone), ask(waiting))
        await asyncio.to_thread(offer_results, store)
        gone.set_result(None)
        waiting.wake({TARGET})
        return await first, await asyncio.wait_for(second, 60)

    left, served = asyncio.run(main())
    assert (len(left), len(served)) == (0, 1)


def test_one_poll_finds_for_all_what_no_one_in_this_process_offered(
    store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull_waiting, "POLL_INTERVAL", timedelta(0))
    store.away_for = 3

    async def main() -> tuple[Sequence[Delivery], int]:
        waiting = waiting_at(store)
        first, *others = await started(store, ask(waiting), *[ask(waiting, target=OTHER) for _ in range(50)])
        await asyncio.to_thread(offer_results, store)
        found = await asyncio.wait_for(first, 60)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        assert waiting.waiting == 0
        return found, store.claims

    found, claims = asyncio.run(main())
    assert (len(found), claims) == (1, 52)


def test_nothing_is_polled_while_nobody_waits(store: WatchedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_waiting, "POLL_INTERVAL", timedelta(0))

    async def main() -> int:
        assert await ask(waiting_at(store), wait=timedelta(0)) == ()
        before = store.polls
        for _ in range(1000):
            await asyncio.sleep(0)
        return store.polls - before

    assert asyncio.run(main()) == 0


def test_two_hundred_applications_wait_without_threads(store: WatchedStore) -> None:
    async def main() -> int:
        waiting = waiting_at(store)
        before = threading.active_count()
        tasks = await started(store, *[ask(waiting) for _ in range(200)])
        assert waiting.waiting == 200
        waiting.close()
        assert await asyncio.gather(*tasks) == [()] * 200
        return threading.active_count() - before

    assert asyncio.run(main()) <= 32  # those of the event loop, for calls of the store


def test_nothing_is_left_with_an_application_that_is_gone(store: WatchedStore) -> None:
    offer_results(store)

    async def main() -> Sequence[Delivery]:
        loop = asyncio.get_running_loop()
        gone = loop.create_future()
        seen = threading.Event()

        def leave() -> None:
            loop.call_soon_threadsafe(gone.set_result, None)
            loop.call_soon_threadsafe(seen.set)
            seen.wait(60)

        store.on_claim = leave
        return await ask(waiting_at(store), gone=gone)

    assert asyncio.run(main()) == ()
    assert delivery_states(store) == {"pending": 1}
    store.on_claim = lambda: None
    assert [each.failures for each in a_pull(store).claim(TARGET)] == [0]


def test_a_stop_lets_all_go_and_refuses_others(store: WatchedStore) -> None:
    async def main() -> Sequence[Delivery]:
        waiting = waiting_at(store)
        (task,) = await started(store, ask(waiting))
        await asyncio.to_thread(waiting.close)
        found: Sequence[Delivery] = await asyncio.wait_for(task, 60)
        with pytest.raises(UnavailableError, match="the daemon is stopping"):
            await ask(waiting)
        return found

    assert asyncio.run(main()) == ()


def test_what_is_woken_after_the_server_ended_is_nothing(store: WatchedStore) -> None:
    waiting = waiting_at(store)

    async def main() -> None:
        assert await ask(waiting, wait=timedelta(0)) == ()

    asyncio.run(main())
    waiting.wake({TARGET})
    waiting.close()


def test_an_outage_of_the_store_is_raised_and_leaves_nobody_behind(
    store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: object, **_more: object) -> Sequence[Delivery]:
        raise StoreUnavailable("away", kind=StoreFailureKind.CONNECTION)

    monkeypatch.setattr(store, "claim_offered", fail)

    async def main() -> int:
        waiting = waiting_at(store)
        with pytest.raises(StoreUnavailable):
            await ask(waiting)
        return waiting.waiting

    assert asyncio.run(main()) == 0
