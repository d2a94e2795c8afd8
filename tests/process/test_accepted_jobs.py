"""Jobs that the API of a real daemon has accepted, while it is killed."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import httpx
import pytest

from listener.core import clock
from listener.core.model import SUCCESS, JobState
from listener.jobs.submitter import MAX_CONCURRENCY
from tests.support.builders import an_accepted_job
from tests.support.daemon_http import unix_client
from tests.support.program import Place
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

COVER = {
    "function": "Cover",
    "input": "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4",
    "output": "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg",
}
JOBS = 60
CONNECTIONS = 8


def accept_all(path: Path) -> None:
    jobs = [COVER | {"reference": f"talk-{number}", "data": f"talk-{number}"} for number in range(JOBS)]
    with unix_client(path) as client:
        reply = client.post("/v1/jobs/batch", json={"jobs": jobs})
    assert (reply.status_code, reply.json()["accepted"]) == (202, JOBS)


def test_each_accepted_job_is_submitted_once_whatever_is_killed(place: Place) -> None:
    """Only a job whose call was under way may be missing at MPS: it remains an intent, and may become Lost."""
    place.settings()
    path = place.folder / "http.sock"
    listen = {"http__listen": f"unix:{path}"}
    program = place.run(**listen, mps__rate_limit="20").ready()
    accept_all(path)
    wait_until(lambda: place.asked("SubmitIProductionJob") > 5)
    program.kill()
    with place.store() as store:
        left = store.count_accepted()
    assert 0 < left < JOBS

    second = place.run(**listen, mps__rate_limit="100").ready()
    submitted = Counter[str]()

    def is_done() -> bool:
        submitted.clear()
        submitted.update(
            place.server.call(
                lambda emulator: [
                    job.submission.user_data.partition("#")[0] for job in emulator.engine.jobs.values()
                ]
            )
        )
        with place.store() as store:
            jobs = [store.find_job(f"talk-{number}") for number in range(JOBS)]
        return all(
            job and (job.state == SUCCESS or job.reference not in submitted) for job in jobs
        ) and not any(job and job.state is JobState.ACCEPTED for job in jobs)

    wait_until(is_done)
    assert second.stop() == 0
    assert set(submitted.values()) == {1}
    assert JOBS - MAX_CONCURRENCY <= len(submitted) <= JOBS


def test_each_job_that_was_answered_is_in_the_store_after_a_kill(place: Place) -> None:
    """Single requests from several connections, whose acceptances share transactions."""
    place.settings()
    path = place.folder / "http.sock"
    program = place.run(http__listen=f"unix:{path}", mps__rate_limit="1").ready()
    answered: list[str] = []

    def accept_until_killed(connection: int) -> None:
        with unix_client(path) as client:
            for number in count():
                name = f"talk-{connection}-{number}"
                try:
                    headers = {"prefer": "respond-async", "idempotency-key": name}
                    reply = client.post("/v1/jobs", json=COVER, headers=headers)
                except httpx.TransportError:
                    return
                assert reply.status_code == 202, reply.text
                answered.append(reply.json()["reference"])

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        running = [pool.submit(accept_until_killed, number) for number in range(CONNECTIONS)]
        wait_until(lambda: len(answered) > JOBS or any(each.done() for each in running))
        program.kill()
    assert [each.result() for each in running] == [None] * CONNECTIONS
    with place.store() as store:
        kept = [store.find_job(name) for name in answered]
    assert len(answered) > JOBS
    assert [job and job.reference for job in kept] == answered


def test_a_daemon_leaves_jobs_of_tenants_that_it_does_not_serve_to_others(place: Place) -> None:
    place.settings()
    with place.store() as store:
        store.accept_jobs(
            [
                an_accepted_job(name * 22, tenant=tenant, input=COVER["input"], output=COVER["output"])
                for name, tenant in (("a", "shop"), ("b", ""))
            ]
        )
    program = place.run().ready()
    wait_until(lambda: place.asked("SubmitIProductionJob") == 1)
    assert program.stop() == 0

    with place.store() as store:
        assert store.unserved_jobs(at=clock.now()) == {"shop": 1}
