"""Jobs that are accepted at the same time: as many as may wait, single ones in one transaction and each by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import event

from listener.api.acceptance import Acceptance
from listener.client import Client
from listener.core.errors import (
    DoubtfulJob,
    ListenerError,
    ReferenceExists,
    StoreFailureKind,
    StoreRejected,
    StoreUnavailable,
    TooManyWaiting,
)
from listener.jobs.request import JobRequest
from listener.jobs.submission import Accepted, Prepared
from listener.runtime import tracing
from listener.settings.loader import load
from listener.settings.sections import Settings
from listener.store.sql_store import SqlStore
from tests.support.builders import a_job
from tests.support.rejecting import POISON, reject

MAX_WAITING = 10
JOB = (JobRequest(), "")
LIMIT = 60.0  #: seconds that nothing here takes
SETTINGS = """
[mps]
region = "cn-shanghai"
notify_url = "http://1234567890.mns.cn-shanghai.aliyuncs.com/queues/callbacks"
"""
KEYS = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "testKeyId", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "testKeySecret"}
TRACES = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2)]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return load(SETTINGS, KEYS, source="listener.toml", folder=tmp_path)


class HeldClient(Client):
    """Verifies a request that names a pipeline, which MPS is asked about, only when it may."""

    may_ask: threading.Event

    def prepare(self, request: JobRequest, tenant: str) -> Prepared | ListenerError:
        if request.pipeline:
            self.may_ask.wait()
        return super().prepare(request, tenant)


@pytest.fixture
def client(settings: Settings, store: SqlStore) -> HeldClient:
    client = HeldClient(settings, store=store)
    client.may_ask = threading.Event()
    return client


@pytest.fixture
def acceptance(client: Client) -> Acceptance:
    return Acceptance(client, submit_soon=lambda: None, max_waiting=MAX_WAITING)


@pytest.fixture
def commits(store: SqlStore) -> Iterator[list[object]]:
    """Grows with each transaction that may write."""
    made: list[object] = []

    def note(connection: object) -> None:
        if connection.get_execution_options().get("writes"):  # type: ignore[attr-defined] # a Connection
            made.append(connection)

    event.listen(store.database.engine, "commit", note)
    yield made
    event.remove(store.database.engine, "commit", note)


def a_cover(reference: str, **fields: Any) -> JobRequest:
    cover = JobRequest(
        function="Cover",
        input="oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4",
        output="oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg",
        reference=reference,
    )
    return replace(cover, **fields)


def accept_at_once(
    acceptance: Acceptance, *requests: JobRequest, traces: Sequence[str] = ()
) -> Sequence[Accepted | BaseException]:
    async def accept(request: JobRequest, trace: str) -> Accepted:
        with tracing.called_by(trace):
            return await acceptance.accept_one(request, "")

    async def accept_all() -> Sequence[Accepted | BaseException]:
        of_each = [*traces, *[""] * (len(requests) - len(traces))]
        running = [accept(request, trace) for request, trace in zip(requests, of_each, strict=True)]
        return await asyncio.gather(*running, return_exceptions=True)

    return asyncio.run(accept_all())


def outcomes(answers: Sequence[Accepted | BaseException]) -> list[str]:
    return [
        ("new" if answer.new else "known") if isinstance(answer, Accepted) else type(answer).__name__
        for answer in answers
    ]


def accepted(store: SqlStore) -> list[str]:
    return [job.reference for job in store.accepted_jobs(limit=100)]


def test_jobs_that_arrive_together_share_a_transaction_and_keep_their_order(
    acceptance: Acceptance, store: SqlStore, commits: list[object]
) -> None:
    names = [f"job-{number}" for number in range(8)]
    answers = accept_at_once(acceptance, *map(a_cover, names), traces=TRACES)

    assert len(commits) == 1
    assert accepted(store) == names
    assert [answer.job.reference for answer in answers if isinstance(answer, Accepted)] == names
    assert [job.trace for job in store.accepted_jobs(limit=3)] == [*TRACES, ""]


def test_what_is_wrong_with_one_request_is_no_matter_for_the_others(
    acceptance: Acceptance, store: SqlStore, commits: list[object]
) -> None:
    answers = accept_at_once(
        acceptance,
        a_cover("a"),
        a_cover("a", model="other"),
        a_cover("b", output="covers"),
        a_cover("a"),
        a_cover("c"),
    )

    assert outcomes(answers) == ["new", ReferenceExists.__name__, DoubtfulJob.__name__, "known", "new"]
    assert isinstance(answers[0], Accepted)
    assert isinstance(answers[3], Accepted)
    assert answers[3].job == answers[0].job == store.find_job("a")
    assert accepted(store) == ["a", "c"]
    assert len(commits) == 1


def test_a_value_that_the_database_rejects_is_refused_alone(acceptance: Acceptance, store: SqlStore) -> None:
    reject(store, "jobs", "reference")
    answers = accept_at_once(acceptance, *map(a_cover, ["a", POISON, "b"]))

    assert outcomes(answers) == ["new", StoreRejected.__name__, "new"]
    assert accepted(store) == ["a", "b"]


def test_as_many_are_accepted_as_may_wait(acceptance: Acceptance, store: SqlStore) -> None:
    bad = a_cover("bad", output="covers")
    answers = accept_at_once(
        acceptance, bad, *(a_cover(f"job-{number}") for number in range(MAX_WAITING + 1))
    )

    assert outcomes(answers) == [DoubtfulJob.__name__, *["new"] * MAX_WAITING, TooManyWaiting.__name__]
    assert len(accepted(store)) == MAX_WAITING


def test_while_the_store_is_away_all_are_refused_and_take_no_place(
    acceptance: Acceptance, store: SqlStore, tmp_path: Path
) -> None:
    requests = [a_cover(f"job-{number}") for number in range(MAX_WAITING)]
    file = Path(str(store.database.url.database))
    file.rename(tmp_path / "away")
    away = accept_at_once(acceptance, *requests, a_cover("bad", output="covers"))
    (tmp_path / "away").rename(file)

    assert outcomes(away) == [*[StoreUnavailable.__name__] * MAX_WAITING, DoubtfulJob.__name__]
    assert outcomes(accept_at_once(acceptance, *requests)) == ["new"] * MAX_WAITING


def test_a_job_does_not_wait_for_what_mps_is_asked_about_another(
    acceptance: Acceptance, client: HeldClient, store: SqlStore
) -> None:
    async def accept() -> Accepted:
        asking = asyncio.create_task(acceptance.accept_one(a_cover("asking", pipeline="other"), ""))
        await acceptance.accept_one(a_cover("quick"), "")
        client.may_ask.set()
        return await asking

    assert asyncio.run(accept()).new
    assert accepted(store) == ["quick", "asking"]


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
