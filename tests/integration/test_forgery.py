"""What a forged callback does with each protection, and without it: each of these tests would notice its absence.

From the message in a queue to the document of a handler, with a real store and MPS in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from listener.core import clock
from listener.core.model import LOST, Claim, Job, JobResult, JobState, Result
from listener.dispatch import job_result as documents
from listener.formats import callback
from listener.intake.recorder import NullDeliverySink, Recorder
from listener.jobs.verifier import Verifier
from listener.rules import job_facts, routing
from listener.rules.job_facts import JobFacts
from listener.rules.routing import Correlation, Match, Rule
from listener.rules.verification import Verification
from listener.runtime.metrics import Metrics
from listener.store.sql_store import SqlStore
from tests.support.builders import JOB_ID, TOKEN, a_callback, a_job, a_message, wrapped
from tests.support.clocks import RIGHT
from tests.support.memory_mps import MemoryMps
from tests.support.sqlite import new_sqlite_store
from tests.support.stores import the_job

RULES = (
    Rule(name="lost", match=Match(state=LOST), handlers=("log",)),
    Rule(name="evil", match=Match(route="evil"), handlers=("log",)),
    Rule(name="all", handlers=("log",)),
)
protected = pytest.mark.parametrize("protected", [True, False], ids=["protected", "unprotected"])


@dataclass
class Listener:
    """A listener with one submitted job, which MPS reports as still running."""

    store: SqlStore
    mps: MemoryMps = field(default_factory=lambda: MemoryMps(**{JOB_ID: "Analysing"}))

    def __post_init__(self) -> None:
        self.store.add_job(a_job(user_data="good:1"))

    def receive(self, *, policy: str = "known", **members: Any) -> Sequence[JobResult]:
        """Receive this callback of the job, and ask MPS; returns what handlers get."""
        recorder = Recorder(
            store=self.store,
            rules=RULES,
            correlation=Correlation(verification=Verification(policy=policy, tenants=frozenset({""}))),
            sink=NullDeliverySink(),
        )
        recorder.record("q", [a_message(body=wrapped(a_callback(JobId=JOB_ID, **members)))])
        self._verifier(recorder).turn()
        now = clock.now()
        claim = Claim(owner="me", until=now + timedelta(minutes=1), limit=9)
        return [documents.job_result(delivery) for delivery in self.store.claim(claim, at=now)]

    @property
    def job(self) -> Job:
        return the_job(self.store, TOKEN)

    def _verifier(self, recorder: Recorder) -> Verifier:
        return Verifier(
            store=self.store,
            recorder=recorder,
            mps_of=lambda _tenant: self.mps,
            tenant_of=lambda _job, _queue: "",
            takes=lambda _queue: True,
            max_wait=timedelta(minutes=10),
            clock_check=RIGHT,
            meter=Metrics(),
            woken=threading.Event(),
            stop=threading.Event(),
        )


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    with new_sqlite_store(tmp_path) as store:
        yield Listener(store)


@protected
def test_forged_user_data_picks_the_route_only_if_the_callback_takes_precedence(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, protected: bool
) -> None:
    def as_the_callback_says(result: Result, job: Job | None) -> JobFacts:
        return job_facts.job_facts(result, None)

    if not protected:
        for module in (routing, documents):
            monkeypatch.setattr(module, "job_facts", as_the_callback_says)
    listener.mps.states[JOB_ID] = "Success"

    (result,) = listener.receive(policy="never", UserData="evil:1", State="Success")

    assert (result.route, result.user_data) == (("all", "good:1") if protected else ("evil", "evil:1"))


@protected
def test_a_message_declares_a_job_lost_only_if_lost_is_a_state_like_others(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, protected: bool
) -> None:
    if not protected:
        monkeypatch.setattr(callback, "reported_state", lambda text: text)

    results = listener.receive(policy="never", State=LOST)

    assert [result.route for result in results] == ([] if protected else ["lost"])
    assert listener.job.state == (JobState.SUBMITTED if protected else JobState.LOST)


@protected
def test_a_forged_outcome_of_a_running_job_is_believed_only_if_mps_is_not_asked(
    listener: Listener, protected: bool
) -> None:
    results = listener.receive(policy="known" if protected else "never", State="Success")

    assert [result.state for result in results] == ([] if protected else ["Success"])
    assert listener.job.state == (JobState.SUBMITTED if protected else JobState.SUCCESS)
    assert listener.mps.asked == ([JOB_ID] if protected else [])
