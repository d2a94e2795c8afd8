"""Asking MPS about callbacks before they are believed, with MPS in memory and a real store."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener.core import clock
from listener.core.errors import FailureKind, MpsUnavailable
from listener.core.job_kinds import IPRODUCTION, SMARTTAG, JobKind
from listener.core.model import Answer, JobState, VerificationOutcome
from listener.core.ports import ClockCheck, MpsOf
from listener.intake.recorder import NullDeliverySink, Recorder
from listener.jobs.turns import MAX_FAILURES
from listener.jobs.verifier import CALLBACKS_PER_TURN, CLAIM_DURATION, CONCURRENCY, Verifier
from listener.rules.routing import Correlation, Match, Rule
from listener.rules.verification import MAX_PAUSE, Verification
from listener.runtime.metrics import Metrics
from listener.store.future_rows import LONGEST_PAUSE
from listener.store.result_rows import COPY_DELAY
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, TOKEN, a_callback, a_claim, a_job, a_message, wrapped
from tests.support.clocks import RIGHT, UNKNOWN, WRONG, FrozenClock, freeze_time
from tests.support.logs import above_debug, events
from tests.support.memory_mps import MemoryMps
from tests.support.sqlite import new_sqlite_store
from tests.support.stores import count, deliveries, quarantine, results, states, the_job, the_row

RULES = (
    Rule(name="failures", match=Match(state="Fail"), handlers=("log",)),
    Rule(name="all", handlers=("log",)),
)
MAX_WAIT = timedelta(minutes=10)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


@pytest.fixture(autouse=True)
def time() -> Iterator[FrozenClock]:
    with freeze_time() as frozen:
        yield frozen


class Setting:
    """A store with a recorder and a verifier, as in a daemon."""

    def __init__(
        self,
        store: SqlStore,
        *,
        mps_of: MpsOf,
        policy: str,
        takes: Callable[[str], bool],
        clock_check: ClockCheck,
    ) -> None:
        self.stop, self.woken, self.metrics = threading.Event(), threading.Event(), Metrics()
        correlation = Correlation(verification=Verification(policy=policy, tenants=frozenset({""})))
        self.recorder = Recorder(
            store=store,
            rules=RULES,
            correlation=correlation,
            sink=NullDeliverySink(),
            on_unverified=self.woken.set,
        )
        self.verifier = Verifier(
            store=store,
            recorder=self.recorder,
            mps_of=mps_of,
            tenant_of=lambda _job, _queue: "",
            takes=takes,
            max_wait=MAX_WAIT,
            clock_check=clock_check,
            meter=self.metrics,
            woken=self.woken,
            stop=self.stop,
        )

    def send(self, *job_ids: str, queue: str = "q", **members: Any) -> None:
        self.recorder.record(
            queue,
            [
                a_message(
                    message_id=f"{queue}-{job_id}-{members}",
                    body=wrapped(a_callback(JobId=job_id, **members)),
                )
                for job_id in job_ids
            ],
        )

    def outcomes(self) -> list[VerificationOutcome]:
        return list(self.verifier.turn())


def a_setting(
    store: SqlStore,
    mps: MemoryMps | None,
    *,
    policy: str = "known",
    takes: Any = lambda _queue: True,
    clock_check: ClockCheck = RIGHT,
) -> Setting:
    return Setting(store, mps_of=lambda _tenant: mps, policy=policy, takes=takes, clock_check=clock_check)


def test_no_question_is_postponed_further_than_the_store_expects() -> None:
    assert max(MAX_PAUSE, CLAIM_DURATION) <= LONGEST_PAUSE


@pytest.fixture
def job(store: SqlStore) -> None:
    store.add_job(a_job(job_id="job"))


@pytest.mark.usefixtures("job")
def test_a_callback_that_mps_confirms_is_delivered_with_the_outputs_of_the_same_answer(
    store: SqlStore,
) -> None:
    mps = MemoryMps(job="Success")
    setting = a_setting(store, mps)
    setting.send("job")

    assert (setting.woken.is_set(), states(store)) == (True, [])
    assert setting.outcomes() == [VerificationOutcome.CONFIRMED]
    row = the_row(store, results)
    assert (row["outputs"], row["source"], mps.asked) == ("{}", "callback", ["job"])
    assert states(store) == ["pending"]


@pytest.mark.usefixtures("job")
def test_a_contradiction_is_logged_and_counted_and_the_truth_is_delivered(store: SqlStore) -> None:
    setting = a_setting(store, MemoryMps(job="Fail"))
    setting.send("job", State="Success")
    with capture_logs() as logs:
        assert setting.outcomes() == [VerificationOutcome.CONTRADICTED]

    assert [(each["event"], each["state"], each["mps_state"]) for each in above_debug(logs)] == [
        ("callback.contradicted", "Success", "Fail")
    ]
    assert (
        b'mns_listener_verifications_total{outcome="contradicted",queue="q"} 1.0'
        in setting.metrics.exposition()
    )
    assert (the_job(store, TOKEN).state, the_row(store, deliveries)["route"]) == (JobState.FAIL, "failures")
    (delivery,) = store.claim(a_claim(), at=NOON)
    assert delivery.key == "job:Fail:failures:log"


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("mps", "event"),
    [
        pytest.param(MemoryMps(job="Fail"), "callback.contradicted", id="contradicted"),
        pytest.param(MemoryMps(job="Analysing"), "callback.refused", id="refused"),
        pytest.param(None, "callback.unverified", id="unverified"),
    ],
)
def test_what_another_process_has_settled_meanwhile_is_not_logged_again(
    store: SqlStore, time: FrozenClock, mps: MemoryMps | None, event: str
) -> None:
    setting, other = a_setting(store, mps), a_setting(store, mps)
    setting.send("job", State="Success")
    time.tick(MAX_WAIT)
    now = clock.now()
    (unverified,) = store.claim_unverified(at=now, until=now, limit=9, takes=lambda _queue: True)
    with capture_logs() as logs:
        other.verifier.verify(unverified)
        setting.verifier.verify(unverified)

    assert events(above_debug(logs)) == [event]
    assert Counter(events(logs))["result.recorded"] == (event != "callback.refused")


@pytest.mark.usefixtures("job")
def test_a_forged_success_of_a_running_job_does_not_take_the_place_of_the_outcome(
    store: SqlStore, time: FrozenClock
) -> None:
    mps = MemoryMps(job="Analysing")
    setting = a_setting(store, mps)
    setting.send("job", State="Success")
    assert setting.outcomes() == [VerificationOutcome.PENDING]
    assert setting.outcomes() == []

    mps.states = {"job": "Fail"}
    setting.send("job", State="Fail")  # the true one: MPS is asked soon, whenever it was to be asked next
    time.tick(COPY_DELAY)
    assert setting.outcomes() == [VerificationOutcome.CONTRADICTED]
    assert (the_job(store, TOKEN).state, states(store)) == (JobState.FAIL, ["pending"])


@pytest.mark.usefixtures("job")
def test_a_callback_that_mps_does_not_confirm_in_time_is_quarantined_and_the_job_stays_open(
    store: SqlStore, time: FrozenClock
) -> None:
    setting = a_setting(store, MemoryMps(job="Analysing"))
    setting.send("job", State="Success")
    setting.outcomes()
    time.tick(MAX_WAIT)

    assert setting.outcomes() == [VerificationOutcome.REFUSED]
    assert "verify: MPS still reports the state 'Analysing'" in the_row(store, quarantine)["reason"]
    assert (the_job(store, TOKEN).finished_at, count(store, results), states(store)) == (None, 0, [])


def test_an_unknown_job_that_mps_does_not_know_either_is_quarantined_at_once(store: SqlStore) -> None:
    setting = a_setting(store, MemoryMps(), policy="always")
    setting.send("forged")

    assert setting.outcomes() == [VerificationOutcome.REFUSED]
    assert "verify: MPS does not know the job" in the_row(store, quarantine)["reason"]
    assert states(store) == []


def test_an_unknown_job_that_mps_knows_is_delivered(store: SqlStore) -> None:
    setting = a_setting(store, MemoryMps(job="Success"), policy="always")
    setting.send("job")

    assert (setting.outcomes(), states(store)) == ([VerificationOutcome.CONFIRMED], ["pending"])


@pytest.mark.usefixtures("job")
def test_an_outage_of_mps_delays_a_callback_and_does_not_lose_it(store: SqlStore, time: FrozenClock) -> None:
    mps = MemoryMps(job="Success")
    mps.away = True
    setting = a_setting(store, mps)
    setting.send("job")
    assert setting.outcomes() == [VerificationOutcome.PENDING]

    time.tick(MAX_WAIT)
    with capture_logs() as logs:
        assert setting.outcomes() == [VerificationOutcome.UNVERIFIED]
    assert "callback.unverified" in [each["event"] for each in logs]
    assert (the_job(store, TOKEN).state, states(store)) == (JobState.SUCCESS, ["pending"])


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize("clock_check", [UNKNOWN, WRONG], ids=["unconfirmed", "wrong"])
@pytest.mark.parametrize("state", ["away", "Analysing"])
def test_a_jump_of_the_clock_neither_makes_a_callback_believed_nor_refused(
    store: SqlStore, time: FrozenClock, clock_check: ClockCheck, state: str
) -> None:
    mps = MemoryMps(job=state)
    mps.away = state == "away"
    setting = a_setting(store, mps, clock_check=clock_check)
    setting.send("job")
    time.tick(timedelta(days=31))
    assert setting.outcomes() == [VerificationOutcome.PENDING]
    assert (states(store), count(store, quarantine), the_job(store, TOKEN).finished_at) == ([], 0, None)

    time.move_to(NOON + timedelta(seconds=1))  # the clock is set back
    store.reschedule_future(at=clock.now(), longest_query_wait=timedelta(hours=1))
    mps.away, mps.states = False, {"job": "Success"}
    assert setting.outcomes() == [VerificationOutcome.CONFIRMED]


def test_while_mps_is_away_a_turn_makes_few_calls(store: SqlStore) -> None:
    mps = MemoryMps()
    mps.away = True
    setting = a_setting(store, mps, policy="always")
    setting.send(*(f"job-{number}" for number in range(CALLBACKS_PER_TURN)))

    assert setting.outcomes() == [VerificationOutcome.PENDING] * CALLBACKS_PER_TURN
    assert len(mps.asked) < MAX_FAILURES + CONCURRENCY


class WithoutPermission(MemoryMps):
    """Refuses to tell about one kind of jobs."""

    def query(self, job_id: str, *, kind: JobKind = IPRODUCTION) -> Answer:
        if kind is SMARTTAG:
            raise MpsUnavailable("denied", kind=FailureKind.DENIED)
        return super().query(job_id, kind=kind)


def test_a_kind_without_permission_does_not_hold_up_the_others(store: SqlStore) -> None:
    setting = a_setting(store, WithoutPermission(other="Success"), policy="always")
    setting.send(*(f"job_{place}" for place in range(CALLBACKS_PER_TURN - 1)), Type=SMARTTAG.name)
    setting.send("other")

    assert Counter(setting.outcomes()) == {
        VerificationOutcome.PENDING: CALLBACKS_PER_TURN - 1,
        VerificationOutcome.CONFIRMED: 1,
    }


@pytest.mark.usefixtures("job")
def test_a_callback_is_recorded_as_it_is_once_mps_is_no_longer_configured(store: SqlStore) -> None:
    setting = a_setting(store, None)
    setting.send("job")

    assert (setting.outcomes(), states(store)) == ([VerificationOutcome.UNVERIFIED], ["pending"])


@pytest.mark.usefixtures("job")
def test_a_stop_leaves_callbacks_to_the_next_process_at_once(store: SqlStore) -> None:
    mps = MemoryMps(job="Success")
    stopped = a_setting(store, mps)
    stopped.send("job")
    stopped.stop.set()
    assert (stopped.outcomes(), mps.asked) == ([VerificationOutcome.PENDING], [])

    assert a_setting(store, mps).outcomes() == [VerificationOutcome.CONFIRMED]


def test_a_verifier_leaves_the_queues_of_other_tenants_alone(store: SqlStore) -> None:
    setting = a_setting(store, MemoryMps(job="Success"), policy="always", takes=lambda queue: queue == "mine")
    setting.send("job", queue="other")

    assert setting.outcomes() == []


def test_a_callback_of_a_job_of_a_newer_kind_is_left_to_the_newer_release(
    store: SqlStore, time: FrozenClock
) -> None:
    store.add_job(a_job(job_id="job", function="", kind="HologramRender"))
    mps = MemoryMps(job="Success")
    setting = a_setting(store, mps)
    setting.send("job", Type="HologramRender")
    setting.send("job", Type="Transcode")

    assert setting.outcomes() == [VerificationOutcome.PENDING]
    assert (mps.asked, states(store), the_job(store, TOKEN).finished_at) == ([], [], None)

    time.tick(MAX_WAIT)
    assert setting.outcomes() == [VerificationOutcome.UNVERIFIED]
    assert (mps.asked, states(store)) == ([], ["pending"])
