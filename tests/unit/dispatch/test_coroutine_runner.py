from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from listener import JobResult, Retry, Unavailable
from listener.dispatch.coroutine_runner import CoroutineRunner
from tests.support.results import a_job_result


@pytest.fixture
def runner() -> Iterator[CoroutineRunner]:
    runner = CoroutineRunner()
    yield runner
    runner.close()


class Endless:
    """A coroutine handler that never ends by itself; says when it began and when it was cancelled."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.cancelled = threading.Event()

    async def __call__(self, result: JobResult) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


def test_plain_handler_is_called_in_the_callers_own_thread(runner: CoroutineRunner) -> None:
    threads: list[threading.Thread] = []

    runner.run(lambda _: threads.append(threading.current_thread()), a_job_result())

    assert threads == [threading.current_thread()]


def test_coroutines_of_all_threads_share_one_loop(runner: CoroutineRunner) -> None:
    loops: set[asyncio.AbstractEventLoop] = set()
    all_here = asyncio.Barrier(8)

    async def handle(result: JobResult) -> None:
        await all_here.wait()  # passed only if all eight run at the same time
        loops.add(asyncio.get_running_loop())

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(runner.run, handle, a_job_result()) for _ in range(8)]
        assert [call.result(30) for call in calls] == [None] * 8
    assert len(loops) == 1


def test_any_awaitable_is_awaited(runner: CoroutineRunner) -> None:
    class Later:
        done = False

        def __await__(self) -> Iterator[None]:
            self.done = True
            yield from ()

    later = Later()

    runner.run(lambda _: later, a_job_result())

    assert later.done


@pytest.mark.parametrize("error", [Retry("later"), ValueError("no"), TimeoutError("of its own")])
def test_what_the_handler_raises_reaches_the_caller(error: Exception, runner: CoroutineRunner) -> None:
    async def handle(result: JobResult) -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        runner.run(handle, a_job_result(), timeout=lambda: timedelta(minutes=1))

    assert (type(raised.value), raised.value.args) == (type(error), error.args)


def test_exit_ends_neither_the_worker_nor_the_loop(runner: CoroutineRunner) -> None:
    async def leave(result: JobResult) -> None:
        sys.exit(3)

    async def stay(result: JobResult) -> None:
        pass

    for handler in (leave, lambda _: sys.exit(3), leave):
        with pytest.raises(RuntimeError, match=r"exit\(3\)"):
            runner.run(handler, a_job_result(), timeout=lambda: timedelta(seconds=30))
    assert runner.run(stay, a_job_result(), timeout=lambda: timedelta(seconds=30)) is None


def test_too_slow_a_coroutine_is_cancelled(runner: CoroutineRunner) -> None:
    endless = Endless()

    with pytest.raises(TimeoutError, match="longer than"):
        runner.run(endless, a_job_result(), timeout=lambda: timedelta(milliseconds=20))

    assert endless.cancelled.is_set()


def test_a_cancelled_coroutine_is_waited_for(runner: CoroutineRunner) -> None:
    """The next attempt must not run beside what it still does."""
    cleaning, cleaned = threading.Event(), asyncio.Event()

    async def handle(result: JobResult) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await cleaned.wait()

    async def go_on(result: JobResult) -> None:
        cleaned.set()

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(runner.run, handle, a_job_result(), timeout=lambda: timedelta(milliseconds=20))
        assert cleaning.wait(30)
        for _ in range(3):  # turns of the loop, in which the call could have returned
            runner.run(lambda _: asyncio.sleep(0), a_job_result())
        assert not call.done()
        runner.run(go_on, a_job_result())

        with pytest.raises(TimeoutError, match="longer than"):
            call.result(30)


def test_a_handler_that_cancels_itself_failed(runner: CoroutineRunner) -> None:
    async def handle(result: JobResult) -> None:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="cancelled itself"):
        runner.run(handle, a_job_result())


def test_close_cancels_what_is_left_and_spends_no_attempt(runner: CoroutineRunner) -> None:
    endless = Endless()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(runner.run, endless, a_job_result())
        assert endless.began.wait(30)

        runner.close()

        with pytest.raises(Unavailable, match="stopping"):
            call.result(30)
    assert endless.cancelled.is_set()


def test_a_coroutine_that_ignores_cancelling_does_not_hold_close() -> None:
    runner, began, release = CoroutineRunner(), threading.Event(), threading.Event()

    async def handle(result: JobResult) -> None:
        began.set()
        release.wait(60)  # blocks the loop, as a handler must not do

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(runner.run, handle, a_job_result())
        assert began.wait(30)

        runner.close(timeout=timedelta(milliseconds=10))

        assert not call.done()
        release.set()
        assert call.result(30) is None
    runner.close()


def test_nothing_is_run_after_close(runner: CoroutineRunner) -> None:
    endless = Endless()
    runner.close()
    runner.close()

    with pytest.raises(Unavailable):
        runner.run(endless, a_job_result())

    assert not endless.began.is_set()


def test_no_thread_is_started_for_plain_handlers(runner: CoroutineRunner) -> None:
    before = threading.active_count()

    runner.run(lambda _: None, a_job_result())

    assert threading.active_count() == before


def test_close_of_a_handler_may_be_plain_async_or_absent(runner: CoroutineRunner) -> None:
    closed: list[str] = []

    class Plain:
        def __call__(self, result: JobResult) -> None: ...

        def close(self) -> None:
            closed.append("plain")

    class Async(Plain):
        async def close(self) -> None:
            closed.append("async")

    for handler in (Plain(), Async(), lambda _: None):
        runner.close_handler(handler)

    assert closed == ["plain", "async"]
