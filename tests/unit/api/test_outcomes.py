"""Waiting for the ends of jobs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener.api import outcomes as module
from listener.api.outcomes import Outcomes
from listener.core.errors import StoreFailureKind, StoreUnavailable
from listener.core.model import JobState
from tests.support.api import Api
from tests.support.builders import JOB_ID, NOON, a_job
from tests.support.cases import each_case

LONG = 600.0


class Store:
    """Answers which jobs have ended; ``asked`` are the questions."""

    def __init__(self) -> None:
        self.ended: set[str] = set()
        self.asked: list[Sequence[str]] = []
        self.away = False

    async def finished(self, tokens: Sequence[str]) -> Sequence[str]:
        self.asked.append(tokens)
        if self.away:
            raise StoreUnavailable("away", kind=StoreFailureKind.LOCKED)
        return [token for token in tokens if token in self.ended]


@pytest.fixture
def jobs() -> Store:
    return Store()


@pytest.fixture
def outcomes(jobs: Store) -> Outcomes:
    return Outcomes(jobs.finished)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def never_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", LONG)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)


async def until_asked(jobs: Store, times: int) -> None:
    while len(jobs.asked) < times:
        await asyncio.sleep(0)


def test_an_outcome_recorded_before_the_wait_ends_it_at_once(jobs: Store, outcomes: Outcomes) -> None:
    jobs.ended = {"a"}

    assert asyncio.run(outcomes.wait("a", seconds=LONG)) is True


@pytest.mark.usefixtures("never_polls")
def test_a_notification_from_another_thread_wakes_those_whose_job_has_ended(
    jobs: Store, outcomes: Outcomes
) -> None:
    async def scene() -> tuple[bool, bool, bool]:
        waits = [asyncio.create_task(outcomes.wait(token, seconds=LONG)) for token in ("a", "a", "b")]
        await until_asked(jobs, 1)
        jobs.ended = {"a"}
        await asyncio.to_thread(outcomes.notify)
        ended = await asyncio.gather(*waits[:2])
        still = not waits[2].done()
        waits[2].cancel()
        return ended[0], ended[1], still

    assert asyncio.run(scene()) == (True, True, True)


@pytest.mark.usefixtures("quick")
def test_what_another_process_records_is_found_by_polling(jobs: Store, outcomes: Outcomes) -> None:
    async def scene() -> bool:
        wait = asyncio.create_task(outcomes.wait("a", seconds=LONG))
        await until_asked(jobs, 3)
        jobs.ended = {"a"}
        return await wait

    assert asyncio.run(scene()) is True


def test_a_wait_is_over_after_its_time(outcomes: Outcomes) -> None:
    assert asyncio.run(outcomes.wait("a", seconds=0.01)) is False


@pytest.mark.usefixtures("never_polls")
def test_all_that_wait_are_asked_about_together_and_no_thread_waits(jobs: Store, outcomes: Outcomes) -> None:
    async def scene() -> None:
        before = threading.active_count()
        waits = [asyncio.create_task(outcomes.wait(str(number), seconds=LONG)) for number in range(1000)]
        await until_asked(jobs, 1)
        assert threading.active_count() == before
        assert len(asyncio.all_tasks()) <= len(waits) + 2
        jobs.ended = {str(number) for number in range(1000)}
        outcomes.notify()
        assert await asyncio.gather(*waits) == [True] * 1000

    asyncio.run(scene())
    assert [len(tokens) for tokens in jobs.asked] == [1000, 1000]


@pytest.mark.usefixtures("quick")
def test_nothing_is_asked_while_nothing_waits(jobs: Store, outcomes: Outcomes) -> None:
    async def scene() -> None:
        await outcomes.wait("a", seconds=0.05)
        await outcomes._asking  # type: ignore[misc] # ends by itself
        asked = len(jobs.asked)
        outcomes.notify()
        await asyncio.sleep(0)
        assert len(jobs.asked) == asked > 0

    asyncio.run(scene())


@pytest.mark.usefixtures("quick")
def test_an_unavailable_store_ends_no_wait(jobs: Store, outcomes: Outcomes) -> None:
    async def scene() -> bool:
        jobs.away = True
        wait = asyncio.create_task(outcomes.wait("a", seconds=LONG))
        await until_asked(jobs, 3)
        jobs.away, jobs.ended = False, {"a"}
        return await wait

    with capture_logs() as logs:
        assert asyncio.run(scene()) is True
    assert [entry["event"] for entry in logs] == ["outcomes.unavailable"]


@pytest.mark.usefixtures("never_polls")
def test_closing_ends_every_wait_and_refuses_new_ones(jobs: Store, outcomes: Outcomes) -> None:
    async def scene() -> tuple[bool, bool]:
        wait = asyncio.create_task(outcomes.wait("a", seconds=LONG))
        await until_asked(jobs, 1)
        await asyncio.to_thread(outcomes.close)
        return await wait, await outcomes.wait("a", seconds=LONG)

    assert asyncio.run(scene()) == (False, False)


# the operation


def test_a_request_that_waits_is_answered_when_the_job_ends(api: Api) -> None:
    api.store.add_job(a_job(job_id=""))
    token = a_job().token

    async def scene() -> Any:
        reply = asyncio.create_task(api.ask("GET", f"/v1/jobs/{token}", params={"wait": 60}))
        while not api.context.outcomes._waiting:
            await asyncio.sleep(0)
        await asyncio.to_thread(api.store.refuse_job, token, "no", NOON)
        api.context.outcomes.notify()
        return (await reply).json()

    assert api.run(scene())["state"] == JobState.REFUSED


def test_a_request_that_waits_in_vain_shows_the_job_as_it_is(api: Api) -> None:
    api.store.add_job(a_job())
    reply = api.get(f"/v1/jobs/{JOB_ID}", params={"wait": 0.01})

    assert (reply.status_code, reply.json()["finished_at"]) == (200, None)


@each_case("wait", ["-1", "61", "nan", "inf", "soon"])
def test_a_wait_has_bounds(api: Api, wait: str) -> None:
    reply = api.get(f"/v1/jobs/{JOB_ID}", params={"wait": wait})

    assert (reply.status_code, reply.json()["field"]) == (422, "wait")


def test_a_client_that_goes_away_ends_its_wait(api: Api) -> None:
    api.store.add_job(a_job())
    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/v1/jobs/{JOB_ID}",
        "query_string": b"wait=60",
        "headers": [],
    }

    async def scene() -> None:
        gone: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        def receive() -> Coroutine[Any, Any, dict[str, Any]]:
            return gone.get()

        async def send(_message: Any) -> None:
            """There is no client to send to."""

        request = asyncio.ensure_future(api.application(scope, receive, send))
        while not api.context.outcomes._waiting:
            await asyncio.sleep(0)
        gone.put_nowait({"type": "http.disconnect"})
        await request
        assert not api.context.outcomes._waiting

    api.run(scene())
