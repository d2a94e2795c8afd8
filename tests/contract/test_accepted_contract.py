"""Accepted jobs in every store: each reference once, and each submission begun by one process."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import cast

from listener.aliyun.tenant_clients import TenantClients
from listener.api.acceptance import Acceptance
from listener.client import Client
from listener.core.job_kinds import ANALYSIS, SNAPSHOT
from listener.core.model import JobState, Tenants
from listener.jobs.request import JobRequest
from listener.jobs.submission import Accepted
from listener.settings.sections import Settings
from listener.store.daemons import COUNTS_AS_RUNNING, Daemons
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_daemon, a_job, an_accepted_job
from tests.support.stores import OpenStore, count, jobs, the_job

MINUTE = timedelta(minutes=1)


def test_a_reference_is_accepted_once_and_a_refused_one_again(store: SqlStore) -> None:
    store.add_job(a_job(token="known", job_id="", reference="b", state=JobState.INTENT))
    store.add_job(a_job(token="refused", job_id="", reference="c", state=JobState.INTENT))
    store.refuse_job("refused", "no", NOON)
    given = [an_accepted_job(name, token=f"new-{name}") for name in "abc"]
    holders = store.accept_jobs([*given, an_accepted_job("a", token="twice")])

    assert {name: job.token for name, job in holders.items()} == {"a": "new-a", "b": "known", "c": "new-c"}
    assert [job.token for job in store.accepted_jobs(limit=10)] == ["new-a", "new-c"]
    assert store.count_accepted() == 2
    assert the_job(store, "refused").reference == ""


def test_jobs_are_found_in_the_order_of_their_acceptance_by_tenant(store: SqlStore) -> None:
    store.accept_jobs([an_accepted_job(name, tenant=tenant) for name, tenant in ("bx", "ay", "cx")])

    assert [job.reference for job in store.accepted_jobs(limit=2)] == ["b", "a"]
    assert [job.reference for job in store.accepted_jobs(limit=2, tenants=Tenants(only=("x",)))] == ["b", "c"]


def test_jobs_of_kinds_that_this_release_cannot_submit_are_passed_over(store: SqlStore) -> None:
    """A newer release may know the kind, or may have learnt to submit jobs of a kind that is known here."""
    kinds = {
        "newer": "NewerKind",
        "not-submitted-here": ANALYSIS.name,
        "production": "",
        "frames": SNAPSHOT.name,
    }
    store.accept_jobs([an_accepted_job(name, kind=kind) for name, kind in kinds.items()])

    assert [job.reference for job in store.accepted_jobs(limit=1)] == ["production"]
    assert [job.reference for job in store.accepted_jobs(limit=9)] == ["production", "frames"]
    assert store.count_accepted() == 4


def test_jobs_of_newer_kinds_are_counted_unless_another_release_runs(store: SqlStore) -> None:
    kinds = {"a": "NewerKind", "b": "NewerKind", "c": SNAPSHOT.name, "d": ANALYSIS.name}
    store.accept_jobs([an_accepted_job(name, kind=kind) for name, kind in kinds.items()])
    daemons = Daemons(store.database)
    daemons.report(a_daemon(owner="this", version="1"))
    of_newer_kinds = partial(store.accepted_newer_kinds, release="1", at=NOON)

    assert {each.kind: (each.jobs, each.reference) for each in of_newer_kinds()} == {
        "NewerKind": (2, "a"),
        ANALYSIS.name: (1, "d"),
    }
    daemons.report(a_daemon(owner="newer", version="2"))
    assert not of_newer_kinds()


def test_jobs_are_found_from_one_on(store: SqlStore) -> None:
    store.accept_jobs([an_accepted_job(name) for name in ("b", "a", "c")])

    assert [job.reference for job in store.accepted_jobs(limit=9, after="b")] == ["a", "c"]
    assert [job.reference for job in store.accepted_jobs(limit=1, after="a")] == ["c"]
    assert [job.reference for job in store.accepted_jobs(limit=1, after="deleted")] == ["b"]


def test_only_jobs_that_were_not_begun_are_refused_with_their_tenant(store: SqlStore) -> None:
    given = {"begun": "x", "early": "x", "late": "x", "other": "y", "default": ""}
    store.accept_jobs(
        [
            an_accepted_job(name, tenant=tenant, created_at=NOON + MINUTE if name == "late" else NOON)
            for name, tenant in given.items()
        ]
    )
    assert store.begin_submission("begun", at=NOON)
    assert store.refuse_tenant("x", "no MPS", accepted_before=NOON + MINUTE, at=NOON + 2 * MINUTE) == 1
    assert store.refuse_tenant("x", "no MPS", accepted_before=NOON + MINUTE, at=NOON + 2 * MINUTE) == 0
    refused = the_job(store, "early")
    assert (refused.state, refused.error, refused.finished_at) == (
        JobState.REFUSED,
        "no MPS",
        NOON + 2 * MINUTE,
    )
    assert the_job(store, "begun").state is JobState.INTENT
    assert store.unserved_jobs(at=NOON) == {"": 1, "x": 1, "y": 1}


def test_jobs_that_no_running_daemon_submits_are_counted_by_tenant(store: SqlStore) -> None:
    tenants = {"a": "x", "b": "x", "c": "y", "d": ""}
    store.accept_jobs([an_accepted_job(name, tenant=tenant) for name, tenant in tenants.items()])
    daemons = Daemons(store.database)
    daemons.report(a_daemon(owner="one", tenants=("", "z")))
    daemons.report(a_daemon(owner="without-mps", tenants=()))
    assert store.unserved_jobs(at=NOON) == {"x": 2, "y": 1}
    assert store.unserved_jobs(at=NOON, served=["y"]) == {"x": 2}
    assert store.unserved_jobs(at=NOON + COUNTS_AS_RUNNING) == {"": 1, "x": 2, "y": 1}

    daemons.report(a_daemon(owner="release-that-does-not-report-it", tenants=None))
    assert store.unserved_jobs(at=NOON) == {}


def test_an_accepted_job_is_not_overdue_before_its_submission_has_begun(store: SqlStore) -> None:
    store.accept_jobs([an_accepted_job("a", deadline_at=NOON + MINUTE)])
    late = NOON + 5 * MINUTE
    claim = partial(store.claim_overdue, at=late, until=late + MINUTE, limit=1)
    assert not claim()
    assert store.begin_submission("a", at=late)

    (job,) = claim()
    assert (job.state, job.overdue_since) == (JobState.INTENT, late)


def test_a_submission_that_was_not_sent_begins_again(store: SqlStore) -> None:
    job = an_accepted_job("a")
    store.accept_jobs([job])
    store.begin_submission("a", at=NOON)
    store.accept_again("a", begun_at=NOON - MINUTE)  # a beginning that failed, before that of another process
    assert not store.accepted_jobs(limit=1)
    store.accept_again("a", begun_at=NOON)

    assert store.accepted_jobs(limit=1) == [job]
    assert count(store, jobs, jobs.c.next_query_at.is_not(None)) == 0
    assert store.begin_submission("a", at=NOON)
    store.bind_job("a", "id-of-a", NOON)
    store.accept_again("a", begun_at=NOON)
    assert the_job(store, "a").state is JobState.SUBMITTED


def test_of_several_processes_one_begins_a_submission(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(3)]
    names = [f"job-{number}" for number in range(20)]
    stores[0].accept_jobs([an_accepted_job(name) for name in names])

    def begin(store: SqlStore) -> list[str]:
        return [name for name in names if store.begin_submission(name, at=NOON)]

    with ThreadPoolExecutor(len(stores)) as pool:
        begun = [name for each in pool.map(begin, stores) for name in each]
    assert sorted(begun) == sorted(names)


def test_processes_that_accept_the_same_references_at_once_accept_each_once(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(3)]

    def accept(number: int) -> set[str]:
        given = [an_accepted_job(f"job-{each}", token=f"{number}-{each}") for each in range(20)]
        return {job.token for job in stores[number].accept_jobs(given).values()}

    with ThreadPoolExecutor(len(stores)) as pool:
        first, *others = pool.map(accept, range(len(stores)))
    assert others == [first] * 2
    assert count(stores[0], jobs) == 20


class HasMps:
    """Accounts with an MPS, which nothing is sent to."""

    def mps(self, _tenant: str) -> object:
        return self


def test_daemons_that_accept_the_same_single_jobs_at_once_accept_each_once(open_store: OpenStore) -> None:
    url = "mns://1234567890.mns.cn-shanghai.aliyuncs.com/queues/callbacks"
    requests = [JobRequest(function="Cover", notify_url=url, reference=f"job-{each}") for each in range(20)]

    async def accept_all(number: int) -> list[Accepted]:
        client = Client(Settings(), store=stores[number], clients=cast("TenantClients", HasMps()))
        acceptance = Acceptance(client, submit_soon=lambda: None)
        given = requests if number % 2 else requests[::-1]
        return await asyncio.gather(*(acceptance.accept_one(request, "") for request in given))

    stores = [open_store() for _ in range(2)]
    with ThreadPoolExecutor(len(stores)) as pool:
        accepted = [
            each for one in pool.map(asyncio.run, map(accept_all, range(len(stores)))) for each in one
        ]
    assert sum(each.new for each in accepted) == len({each.job.token for each in accepted}) == len(requests)
    assert count(stores[0], jobs) == len(requests)
