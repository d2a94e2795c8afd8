"""Which callbacks are verified, and what follows from the answer of MPS."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.core.job_kinds import JOB_KINDS, WORKFLOW, JobKind
from listener.core.model import LOST, TERMINAL_STATES, Job, Result, Source, Unverified, VerificationOutcome
from listener.rules.job_facts import kind_of
from listener.rules.verification import (
    MAX_PAUSE,
    AskAgain,
    Believe,
    Refuse,
    Verification,
    after_answer,
    after_outage,
    after_rejection,
)
from tests.support.builders import NOON, a_job, a_result
from tests.support.cases import each_case

MAX_WAIT = timedelta(minutes=10)
OURS = frozenset({""})

states = st.sampled_from(sorted(TERMINAL_STATES - {LOST}))
ages = st.timedeltas(timedelta(0), 2 * MAX_WAIT)


def unverified(result: Result | None = None, *, job: Job | None = None) -> Unverified:
    return Unverified(
        id=1,
        result=result or a_result(),
        job=job,
        queue="q",
        message_id="m",
        received_at=NOON,
        claimed_until=NOON,
    )


def is_verified(policy: str, result: Result, job: Job | None, tenants: frozenset[str] = OURS) -> bool:
    verification = Verification(
        policy=policy, tenants=tenants, tenant_of=lambda job, _queue: job.tenant if job else ""
    )
    return verification.needed(result, job, "q")


@each_case(
    ("policy", "of_known", "of_unknown"),
    [("never", False, False), ("known", True, False), ("always", True, True)],
)
def test_the_policy_says_which_callbacks_are_verified(policy: str, of_known: bool, of_unknown: bool) -> None:
    assert is_verified(policy, a_result(), a_job()) is of_known
    assert is_verified(policy, a_result(), None) is of_unknown


@each_case(
    "fields",
    [
        pytest.param({"source": Source.QUERY}, id="answer"),
        pytest.param({"source": Source.REPLY}, id="reply"),
        pytest.param({"source": Source.LISTENER, "state": LOST}, id="lost"),
        pytest.param({"state": "Processing"}, id="progress"),
    ],
)
def test_mps_is_not_asked_about_what_it_said_itself_or_cannot_say(fields: dict[str, Any]) -> None:
    assert not is_verified("always", a_result(**fields), a_job())


@each_case("type_", ["Report", "Start", "", "HologramRender"])
@each_case("kind", ["", *(kind.name for kind in JOB_KINDS)])
def test_a_run_id_in_place_of_a_job_id_does_not_evade_verification(kind: str, type_: str) -> None:
    forged = a_result(job_id="", run_id="R", type=type_)

    assert is_verified("known", forged, a_job(job_id="R", kind=kind))
    assert is_verified("known", forged, a_job(job_id="R", kind=kind, function="")) is (
        bool(kind) or type_ != "HologramRender"
    )


@each_case("type_", ["Report", "Start", ""])
def test_mps_is_asked_about_the_run_of_an_unknown_workflow(type_: str) -> None:
    report = a_result(job_id="", run_id="R", type=type_)

    assert kind_of(report, None) is WORKFLOW
    assert (is_verified("always", report, None), is_verified("known", report, None)) == (True, False)


def test_a_start_that_failed_is_not_taken_for_the_report_of_its_run() -> None:
    start = a_result(job_id="", run_id="R", type="Start", state="Fail")
    answer = a_result(job_id="", run_id="R", type="Report", state="Fail", source=Source.QUERY)
    step = after_answer(unverified(start), answer, now=NOON, max_wait=MAX_WAIT)

    assert step == Believe(start, VerificationOutcome.CONFIRMED)


def test_another_type_does_not_evade_verification_of_a_job_with_a_function() -> None:
    forged = a_result(type="HologramRender")

    assert is_verified("known", forged, a_job())
    assert not is_verified("known", forged, a_job(function=""))
    assert not is_verified("always", forged, None)


@each_case("kind", [kind for kind in JOB_KINDS if kind is not WORKFLOW], ids=lambda kind: kind.name)
def test_every_kind_that_mps_can_be_asked_about_is_verified(kind: JobKind) -> None:
    callback = a_result(type=kind.name)

    assert is_verified("always", callback, None)
    assert is_verified("known", callback, a_job(function="", kind=kind.name))
    assert not is_verified("known", callback, None)


def test_mps_is_not_asked_about_an_event_whatever_its_type_is_called() -> None:
    event = a_result(type="Transcode", event="j1/Transcode@t/digest")

    assert kind_of(event, None) is None
    assert not is_verified("always", event, None)
    assert is_verified("always", replace(event, event=""), None)


def test_where_mps_is_not_configured_nothing_is_verified() -> None:
    assert not is_verified("always", a_result(), a_job(tenant="other"))
    assert is_verified("always", a_result(), a_job(tenant="other"), frozenset({"other"}))


@given(claimed=states, true=states, age=ages)
def test_what_is_recorded_has_the_state_that_mps_reports(claimed: str, true: str, age: timedelta) -> None:
    callback = a_result(state=claimed, user_data="forged", code="forged", details=("a",), run_id="forged")
    answer = a_result(state=true, source=Source.QUERY, outputs="{}", code="true")
    step = after_answer(unverified(callback, job=a_job()), answer, now=NOON + age, max_wait=MAX_WAIT)

    assert isinstance(step, Believe)
    assert (step.outcome is VerificationOutcome.CONTRADICTED) is (claimed != true)
    recorded = step.result
    assert (recorded.state, recorded.outputs, recorded.user_data, recorded.code, recorded.run_id) == (
        true,
        "{}",
        None,
        "true",
        "",
    )
    assert (recorded.raw == callback.raw) is (claimed == true)


@given(claimed=states, age=ages)
def test_a_job_that_is_still_running_has_no_outcome(claimed: str, age: timedelta) -> None:
    callback, answer = a_result(state=claimed), a_result(state="Analysing", source=Source.QUERY)
    step = after_answer(unverified(callback, job=a_job()), answer, now=NOON + age, max_wait=MAX_WAIT)

    assert isinstance(step, AskAgain if age < MAX_WAIT else Refuse)


@given(claimed=states, age=ages, is_known=st.booleans())
def test_what_mps_does_not_know_is_never_believed(claimed: str, age: timedelta, is_known: bool) -> None:
    claim = unverified(a_result(state=claimed), job=a_job() if is_known else None)
    step = after_rejection(claim, "no such job", now=NOON + age, max_wait=MAX_WAIT)

    assert isinstance(step, AskAgain if is_known and age < MAX_WAIT else Refuse)
    assert not isinstance(step, Refuse) or step.reason.startswith("verify: ")


@given(age=ages)
def test_an_outage_of_mps_delays_and_loses_nothing(age: timedelta) -> None:
    step = after_outage(unverified(), now=NOON + age, max_wait=MAX_WAIT)

    assert isinstance(step, AskAgain if age < MAX_WAIT else Believe)
    assert step.outcome in (VerificationOutcome.PENDING, VerificationOutcome.UNVERIFIED)


@given(age=st.timedeltas(timedelta(0), MAX_WAIT - timedelta(microseconds=1)))
def test_pauses_grow_to_a_minute_and_end_with_the_wait(age: timedelta) -> None:
    step = after_outage(unverified(), now=NOON + age, max_wait=MAX_WAIT)

    assert isinstance(step, AskAgain)
    assert timedelta(0) < step.at - (NOON + age) <= MAX_PAUSE
    assert step.at <= NOON + MAX_WAIT
