"""Calls that are shared by what arrives while the one before is under way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from listener.api.together import Together


class Calls:
    """Answers each item with its double, but not before ``go``; notes what it was called with."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.go = threading.Event()

    def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.groups.append(list(items))
        self.go.wait()
        if 13 in items:
            raise OSError("all of them")
        return [ValueError("this one") if item < 0 else 2 * item for item in items]


async def answers(
    together: Together[int, int], calls: Calls, first: int, *others: int
) -> Sequence[int | BaseException]:
    """Those to these items; the others arrive while the call of the first one is under way."""
    running = [asyncio.create_task(together.run(first))]
    while not calls.groups:
        await asyncio.sleep(0)
    running += [asyncio.create_task(together.run(item)) for item in others]
    await asyncio.sleep(0)
    calls.go.set()
    return await asyncio.gather(*running, return_exceptions=True)


def test_what_arrives_during_a_call_shares_the_next_ones() -> None:
    calls = Calls()
    found = asyncio.run(answers(Together(calls, limit=3), calls, 1, 2, 3, 4, 5, 6))

    assert found == [2, 4, 6, 8, 10, 12]
    assert calls.groups == [[1], [2, 3, 4], [5, 6]]


def test_one_item_may_fail_alone_and_a_failed_call_fails_all_of_its_items() -> None:
    calls = Calls()
    alone, *others = asyncio.run(answers(Together(calls, limit=3), calls, 1, 2, -1, 3, 13, 4))

    assert alone == 2
    assert [str(each) for each in others] == ["4", "this one", "6", "all of them", "all of them"]


def test_an_item_whose_client_has_gone_does_not_stop_the_others() -> None:
    calls = Calls()
    together = Together(calls, limit=3)

    async def run() -> int:
        first = asyncio.create_task(together.run(1))
        while not calls.groups:
            await asyncio.sleep(0)
        second = asyncio.create_task(together.run(2))
        first.cancel()
        calls.go.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second

    assert asyncio.run(run()) == 4


def test_it_may_be_used_again_in_another_event_loop() -> None:
    calls = Calls()
    together = Together(calls, limit=3)
    assert [asyncio.run(answers(together, calls, item)) for item in (1, 2)] == [[2], [4]]
