"""Asking MPS about overdue jobs, with MPS in memory and a real store."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener.core import clock
from listener.core.errors import FailureKind, MpsRejected, MpsUnavailable
from listener.core.job_kinds import IPRODUCTION, SMARTTAG, JobKind
from listener.core.model import LOST, Answer, JobState, Tenants
from listener.core.ports import ALL_TENANTS, ClockCheck
from listener.intake.recorder import NullDeliverySink, Recorder
from listener.jobs.reconciler import (
    CONCURRENCY,
    JOBS_PER_TURN,
    NEWER_KIND_INTERVAL,
    MpsOf,
    ReconcileOutcome,
    Reconciler,
    tenant_shards,
)
from listener.jobs.turns import MAX_FAILURES
from listener.rules.backoff import MPS_BACKOFF, Backoff
from listener.rules.routing import Correlation, Match, Rule
from listener.runtime.liveness import Heartbeat
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_job, a_result
from tests.support.clocks import RIGHT, UNKNOWN, WRONG, FrozenClock, freeze_time
from tests.support.memory_mps import MemoryMps
from tests.support.rejecting import reject
from tests.support.sqlite import new_sqlite_store
from tests.support.stores import count, deliveries, jobs, results, the_job, the_row

INITIAL_BACKOFF, MAX_BACKOFF, TIMEOUT = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
RULES = (Rule(name="lost", match=Match(state=LOST), handlers=("log",)), Rule(name="all", handlers=("log",)))
INTERVAL = timedelta(seconds=10)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


@pytest.fixture(autouse=True)
def time() -> Iterator[FrozenClock]:
    with freeze_time() as frozen:
        yield frozen


def a_reconciler(
    store: SqlStore,
    mps: MemoryMps | None,
    *,
    tenants: Tenants = ALL_TENANTS,
    mps_of: MpsOf | None = None,
    clock_check: ClockCheck = RIGHT,
) -> Reconciler:
    recorder = Recorder(store=store, rules=RULES, correlation=Correlation(), sink=NullDeliverySink())
    return Reconciler(
        store=store,
        recorder=recorder,
        mps_of=mps_of or (lambda _tenant: mps),
        backoff=Backoff(INITIAL_BACKOFF, MAX_BACKOFF),
        timeout=TIMEOUT,
        clock_check=clock_check,
        tenants=tenants,
    )


def add_jobs(store: SqlStore, number: int = 1, **fields: Any) -> None:
    """Overdue since noon, called job_0, job_1…"""
    for place in range(number):
        job_id = f"job_{place}"
        given = {"token": f"{place:022d}", "job_id": job_id, "deadline_at": NOON} | fields
        store.add_job(a_job(**given))


def outcomes(reconciler: Reconciler) -> list[ReconcileOutcome]:
    return sorted(outcome for _, outcome in reconciler.turn())


def due_in(store: SqlStore) -> timedelta:
    """The time until the only job is queried next."""
    due = the_row(store, jobs)["next_query_at"]
    assert due is not None
    wait: timedelta = due - clock.now()
    return wait


@pytest.mark.parametrize("state", ["Success", "Fail"])
def test_an_end_is_recorded_with_its_outputs_and_delivered(store: SqlStore, state: str) -> None:
    add_jobs(store)
    assert outcomes(a_reconciler(store, MemoryMps(job_0=state))) == [ReconcileOutcome.RECORDED]

    row = the_row(store, results)
    assert (row["state"], row["source"], row["outputs"]) == (state, "query", "{}")
    assert (the_row(store, jobs)["state"], count(store, deliveries)) == (state, 1)


def test_ten_jobs_of_a_kind_are_asked_about_by_one_query(store: SqlStore) -> None:
    add_jobs(store, 12, function="", kind="Transcode")
    mps = MemoryMps(**{f"job_{place}": "Success" for place in range(11)})

    assert outcomes(a_reconciler(store, mps)) == 11 * [ReconcileOutcome.RECORDED] + [ReconcileOutcome.UNKNOWN]
    assert sorted(map(len, mps.calls)) == [2, 10]
    assert set(mps.kinds) == {"Transcode"}


def test_jobs_of_several_kinds_and_tenants_are_not_asked_about_together(store: SqlStore) -> None:
    for number, (kind, tenant) in enumerate(
        [("Transcode", ""), ("Snapshot", ""), ("Snapshot", "a"), ("", "")]
    ):
        store.add_job(
            a_job(
                token=f"{number:022d}",
                job_id=f"job_{number}",
                kind=kind,
                function="" if kind else "Cover",
                tenant=tenant,
                deadline_at=NOON,
            )
        )
    mps = MemoryMps(**{f"job_{number}": "Success" for number in range(4)})
    outcomes(a_reconciler(store, mps))

    assert sorted(mps.calls) == [(f"job_{number}",) for number in range(4)]
    assert sorted(mps.kinds) == ["IProduction", "Snapshot", "Snapshot", "Transcode"]


def test_a_job_of_a_kind_that_only_a_newer_release_knows_is_never_lost(
    store: SqlStore, time: FrozenClock
) -> None:
    add_jobs(store, 2, function="", kind="HologramRender")
    time.tick(2 * TIMEOUT)
    mps = MemoryMps()
    reconciler = a_reconciler(store, mps)
    with capture_logs() as logs:
        assert outcomes(reconciler) == 2 * [ReconcileOutcome.NEWER_KIND]
        time.tick(NEWER_KIND_INTERVAL)
        assert outcomes(reconciler) == 2 * [ReconcileOutcome.NEWER_KIND]

    assert (mps.calls, count(store, results)) == ([], 0)
    assert count(store, jobs, jobs.c.finished_at.is_(None), jobs.c.queries == 0) == 2
    assert [each["event"] for each in logs] == ["job.newer_kind"]


def test_an_id_that_mps_does_not_accept_spoils_the_answers_about_no_other_job(store: SqlStore) -> None:
    class Strict(MemoryMps):
        def query_all(self, job_ids: Sequence[str], *, kind: JobKind) -> Mapping[str, Answer]:
            if "job_1" in job_ids:
                raise MpsRejected("not an id", code="InvalidParameter.UUIDFormatInvalid")
            return super().query_all(job_ids, kind=kind)

    add_jobs(store, 3, function="", kind="Snapshot")
    found = a_reconciler(store, Strict(job_0="Success", job_2="Fail")).turn()

    assert {job.job_id: outcome for job, outcome in found} == {
        "job_0": ReconcileOutcome.RECORDED,
        "job_1": ReconcileOutcome.UNKNOWN,
        "job_2": ReconcileOutcome.RECORDED,
    }


def test_an_answer_that_cannot_be_decoded_holds_up_no_other_job(store: SqlStore) -> None:
    class Garbled(MemoryMps):
        def query_all(self, job_ids: Sequence[str], *, kind: JobKind) -> Mapping[str, Answer]:
            if "job_1" in job_ids:
                raise MpsUnavailable("garbled", kind=FailureKind.PROTOCOL)
            return super().query_all(job_ids, kind=kind)

    add_jobs(store, 3, function="", kind="Snapshot")
    found = a_reconciler(store, Garbled(job_0="Success", job_2="Fail")).turn()

    assert {job.job_id: outcome for job, outcome in found} == {
        "job_0": ReconcileOutcome.RECORDED,
        "job_1": ReconcileOutcome.UNAVAILABLE,
        "job_2": ReconcileOutcome.RECORDED,
    }


def test_an_answer_that_the_store_rejects_holds_up_no_other_job_and_ends_as_lost(
    store: SqlStore, time: FrozenClock
) -> None:
    add_jobs(store, 3)
    reject(store, "results", "job_id", when="= 'job_1' AND NEW.source = 'query'")
    reconciler = a_reconciler(store, MemoryMps(job_0="Success", job_1="Success", job_2="Fail"))

    recorded = ReconcileOutcome.RECORDED
    assert outcomes(reconciler) == [recorded, recorded, ReconcileOutcome.UNKNOWN]
    time.tick(TIMEOUT)
    assert outcomes(reconciler) == [ReconcileOutcome.LOST]
    assert count(store, results) == 3


def test_nothing_is_asked_before_the_deadline(store: SqlStore, time: FrozenClock) -> None:
    add_jobs(store, deadline_at=NOON + timedelta(seconds=1))
    mps = MemoryMps(job_0="Success")
    assert outcomes(a_reconciler(store, mps)) == []
    time.tick(timedelta(seconds=1))

    assert outcomes(a_reconciler(store, mps)) == [ReconcileOutcome.RECORDED]


@pytest.mark.parametrize("state", ["Queuing", "Analysing", "Pondering"])
def test_a_running_job_is_queried_less_and_less_often_without_a_timeout(
    store: SqlStore, time: FrozenClock, state: str
) -> None:
    add_jobs(store)
    reconciler = a_reconciler(store, MemoryMps(job_0=state))
    waits = []
    for _ in range(60):
        assert outcomes(reconciler) == [ReconcileOutcome.RUNNING]
        waits.append(due_in(store))
        time.tick(waits[-1])

    for asked, wait in enumerate(waits[:6]):
        assert INITIAL_BACKOFF * 2**asked / 2 <= wait <= INITIAL_BACKOFF * 2**asked
    assert all(MAX_BACKOFF / 2 <= wait <= MAX_BACKOFF for wait in waits[6:20])
    assert len(set(waits)) > 50  # not all at the same moments
    assert clock.now() > NOON + TIMEOUT
    assert (the_row(store, jobs)["state"], the_row(store, jobs)["queries"]) == (JobState.SUBMITTED, 60)


def test_a_job_unknown_to_mps_is_lost_after_the_timeout_and_reported_once(
    store: SqlStore, time: FrozenClock
) -> None:
    add_jobs(store)
    reconciler = a_reconciler(store, MemoryMps())
    seen = []
    while the_row(store, jobs)["finished_at"] is None:
        seen += outcomes(reconciler)
        time.tick(
            max(due_in(store), timedelta(0)) if the_row(store, jobs)["next_query_at"] else INITIAL_BACKOFF
        )
        assert len(seen) < 100

    assert (set(seen[:-1]), seen[-1]) == ({ReconcileOutcome.UNKNOWN}, ReconcileOutcome.LOST)
    row = the_row(store, results)
    assert (row["state"], row["source"]) == (LOST, "listener")
    finished = the_row(store, jobs)["finished_at"]
    assert finished == NOON + TIMEOUT
    time.tick(TIMEOUT)
    assert (outcomes(reconciler), count(store, deliveries)) == ([], 1)


@pytest.mark.parametrize(
    ("fields", "configured"),
    [
        pytest.param({"job_id": "", "state": JobState.INTENT}, True, id="intent-without-an-id"),
        pytest.param({"function": ""}, True, id="another-type-of-job"),
        pytest.param({}, False, id="mps-not-configured"),
    ],
)
def test_what_mps_cannot_be_asked_about_is_lost_in_the_end(
    store: SqlStore, time: FrozenClock, fields: dict[str, Any], configured: bool
) -> None:
    add_jobs(store, **fields)
    mps = MemoryMps(job_0="Success")
    reconciler = a_reconciler(store, mps if configured else None)
    assert outcomes(reconciler) == [ReconcileOutcome.UNKNOWN]
    time.tick(TIMEOUT)

    assert (outcomes(reconciler), mps.asked) == ([ReconcileOutcome.LOST], [])
    assert (the_row(store, jobs)["state"], count(store, deliveries)) == (LOST, 1)


def test_an_outage_loses_no_job_however_long_and_makes_no_hot_loop(
    store: SqlStore, time: FrozenClock
) -> None:
    add_jobs(store, 2 * JOBS_PER_TURN)
    mps = MemoryMps(**{f"job_{place}": "Success" for place in range(2 * JOBS_PER_TURN)})
    mps.away = True
    reconciler = a_reconciler(store, mps)
    start, turns = clock.now(), 0
    while clock.now() < start + timedelta(minutes=10):
        time.tick(reconciler._guarded_turn(INTERVAL))
        turns += 1

    assert turns <= 20  # a minute apart, but for the first ones
    assert len(mps.asked) <= turns * (MAX_FAILURES + CONCURRENCY)
    time.tick(10 * TIMEOUT)
    reconciler.turn()
    assert (count(store, results), count(store, jobs, jobs.c.finished_at.is_not(None))) == (0, 0)
    assert count(store, jobs, jobs.c.queries > 0) == 0

    mps.away = False
    for _ in range(4):
        time.tick(2 * MPS_BACKOFF.maximum)
        reconciler.turn()
    assert count(store, jobs, jobs.c.state == JobState.SUCCESS) == 2 * JOBS_PER_TURN


def test_one_job_that_always_fails_does_not_hold_up_the_others(store: SqlStore, time: FrozenClock) -> None:
    add_jobs(store, JOBS_PER_TURN)
    mps = MemoryMps(**{f"job_{place}": "Success" for place in range(1, JOBS_PER_TURN)})
    mps.trouble["job_0"] = MpsUnavailable("garbled", kind=FailureKind.PROTOCOL)
    found = outcomes(a_reconciler(store, mps))

    assert found == [ReconcileOutcome.RECORDED] * (JOBS_PER_TURN - 1) + [ReconcileOutcome.UNAVAILABLE]


class WithoutPermission(MemoryMps):
    """Refuses to tell about one kind of jobs."""

    def query(self, job_id: str, *, kind: JobKind = IPRODUCTION) -> Answer:
        if kind is SMARTTAG:
            raise MpsUnavailable("denied", kind=FailureKind.DENIED)
        return super().query(job_id, kind=kind)


def test_a_kind_without_permission_does_not_hold_up_the_others(store: SqlStore) -> None:
    add_jobs(store, JOBS_PER_TURN - 1, function="", kind=SMARTTAG.name)
    later = NOON + timedelta(seconds=1)
    store.add_job(a_job(token="x" * 22, job_id="other", deadline_at=later))
    reconciler = a_reconciler(store, WithoutPermission(other="Success"))
    with freeze_time(later):
        found = {job.job_id: outcome for job, outcome in reconciler.turn()}

    assert found.pop("other") is ReconcileOutcome.RECORDED
    assert set(found.values()) == {ReconcileOutcome.UNAVAILABLE}


def test_a_full_turn_is_followed_by_the_next_at_once(store: SqlStore) -> None:
    add_jobs(store, JOBS_PER_TURN + 1)
    reconciler = a_reconciler(store, MemoryMps())

    assert [reconciler._guarded_turn(INTERVAL) for _ in range(2)] == [timedelta(0), INTERVAL]


def test_a_job_that_has_ended_is_not_asked_about_by_hand_either(store: SqlStore) -> None:
    add_jobs(store, job_id="", state=JobState.REFUSED, finished_at=NOON)
    mps = MemoryMps()

    assert a_reconciler(store, mps).ask(the_job(store, f"{0:022d}")) is ReconcileOutcome.COMPLETED
    assert (mps.asked, count(store, results)) == ([], 0)


def test_the_callback_that_came_while_mps_was_asked_is_delivered_and_the_answer_is_a_copy(
    store: SqlStore,
) -> None:
    add_jobs(store)
    reconciler = a_reconciler(store, None)

    class Slow(MemoryMps):
        def query(self, job_id: str, *, kind: JobKind = IPRODUCTION) -> Answer:
            reconciler._recorder.record_found([a_result(job_id=job_id)])
            return super().query(job_id, kind=kind)

    reconciler._mps_of = lambda _tenant: Slow(job_0="Success")
    assert outcomes(reconciler) == [ReconcileOutcome.RECORDED]
    assert (count(store, deliveries), the_row(store, results)["copies"]) == (1, 2)


def test_a_tenant_whose_mps_is_away_does_not_hold_up_another(store: SqlStore) -> None:
    for number, tenant in enumerate(("bad", "good")):
        store.add_job(a_job(token=f"{number:022d}", job_id=f"job_{number}", tenant=tenant, deadline_at=NOON))
    bad, good = MemoryMps(), MemoryMps(job_1="Success")
    bad.away = True
    shares = tenant_shards(["bad", "good"])
    turns = {
        name: outcomes(
            a_reconciler(store, None, tenants=tenants, mps_of={"bad": bad, "good": good}.__getitem__)
        )
        for name, tenants in shares.items()
    }

    assert turns == {"": [], "bad": [ReconcileOutcome.UNAVAILABLE], "good": [ReconcileOutcome.RECORDED]}


def test_jobs_of_a_tenant_that_is_gone_end_as_lost(store: SqlStore, time: FrozenClock) -> None:
    add_jobs(store, tenant="gone")
    reconciler = a_reconciler(store, None, tenants=tenant_shards(["here"])[""])
    time.tick(TIMEOUT)

    assert outcomes(reconciler) == [ReconcileOutcome.LOST]


def test_a_stop_ends_the_loop_and_leaves_the_rest_for_the_next_process(store: SqlStore) -> None:
    add_jobs(store, JOBS_PER_TURN)
    stop = threading.Event()

    class Stopping(MemoryMps):
        def query(self, job_id: str, *, kind: JobKind = IPRODUCTION) -> Answer:
            stop.set()
            return super().query(job_id, kind=kind)

    mps = Stopping()
    reconciler = a_reconciler(store, mps)
    reconciler._stop = stop
    reconciler.run(Heartbeat(INTERVAL), interval=INTERVAL)

    assert len(mps.asked) <= CONCURRENCY
    assert len(store.claim_overdue(at=NOON, until=NOON, limit=JOBS_PER_TURN)) >= JOBS_PER_TURN - CONCURRENCY


@pytest.mark.parametrize("mps", [None, MemoryMps()], ids=["no-mps", "unknown-to-mps"])
def test_no_job_is_lost_until_the_clock_is_confirmed(
    store: SqlStore, time: FrozenClock, mps: MemoryMps | None
) -> None:
    add_jobs(store)
    time.tick(10 * TIMEOUT)
    with capture_logs() as logs:
        assert outcomes(a_reconciler(store, mps, clock_check=UNKNOWN)) == [ReconcileOutcome.UNKNOWN]

    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["clock.unconfirmed"]
    assert (count(store, results), due_in(store)) == (0, timedelta(minutes=1))
    time.tick(timedelta(minutes=1))
    assert outcomes(a_reconciler(store, mps)) == [ReconcileOutcome.LOST]


def test_no_job_is_queried_or_postponed_while_the_clock_is_wrong(store: SqlStore, time: FrozenClock) -> None:
    add_jobs(store)
    time.tick(10 * TIMEOUT)
    mps = MemoryMps(job_0="Success")

    assert outcomes(a_reconciler(store, mps, clock_check=WRONG)) == []
    time.move_to(NOON)
    assert (mps.asked, due_in(store)) == ([], timedelta(0))


def test_a_job_that_waited_beyond_its_deadline_to_be_submitted_is_not_lost_at_once(
    store: SqlStore, time: FrozenClock
) -> None:
    add_jobs(store, deadline_at=NOON - 2 * TIMEOUT, submitted_at=NOON)
    reconciler = a_reconciler(store, MemoryMps())

    assert outcomes(reconciler) == [ReconcileOutcome.UNKNOWN]
    time.tick(TIMEOUT)
    assert outcomes(reconciler) == [ReconcileOutcome.LOST]


def test_a_job_that_still_waits_to_be_submitted_is_not_lost_when_it_is_asked_about(
    store: SqlStore, time: FrozenClock
) -> None:
    add_jobs(store, job_id="", state=JobState.ACCEPTED, submitted_at=None)
    time.tick(timedelta(days=365))

    token = f"{0:022d}"
    assert a_reconciler(store, MemoryMps()).ask(the_job(store, token)) is ReconcileOutcome.UNKNOWN
    assert the_job(store, token).state is JobState.ACCEPTED
