"""What the store promises about callbacks that MPS has to confirm."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from listener.core.model import (
    DecodedMessage,
    Job,
    JobState,
    RecordSummary,
    Result,
    ResultStatus,
    Source,
    Unverified,
)
from listener.formats.callback import decode
from listener.rules.routing import Correlation, Rule, decider
from listener.rules.verification import Verification
from listener.store.parked import reroute_parked
from listener.store.replay import replay
from listener.store.result_rows import COPY_DELAY
from listener.store.sql_store import SqlStore
from tests.support.builders import (
    JOB_ID,
    NOON,
    TOKEN,
    a_callback,
    a_claim,
    a_decoded_message,
    a_job,
    a_message,
    a_result,
    decoded_messages,
    routes_all,
)
from tests.support.stores import (
    OpenStore,
    count,
    deliveries,
    jobs,
    quarantine,
    results,
    states,
    the_job,
    the_row,
)

SECOND = timedelta(seconds=1)
LATER = NOON + timedelta(minutes=1)
KNOWN = Verification(policy="known", tenants=frozenset({""}))
RULES = (Rule(name="all", handlers=("log",)),)
WAIT = timedelta(seconds=5)


def decides(*, policy: str = "known", at: datetime = NOON, wait_over: bool = True) -> Any:
    verification = Verification(policy=policy, tenants=frozenset({""}))
    correlation = Correlation(wait=WAIT, verification=verification)
    return decider(RULES, correlation, now=at, wait_over=wait_over)


def record(store: SqlStore, *recorded: Result, at: datetime = NOON, **fields: Any) -> RecordSummary:
    batch = [
        a_decoded_message(result=each, message=a_message(message_id=f"{at}-{number}"))
        for number, each in enumerate(recorded)
    ]
    return store.record(batch, decides(at=at, **fields), at=at)


def claimed(store: SqlStore, *, at: datetime = NOON, limit: int = 10) -> Sequence[Unverified]:
    return store.claim_unverified(at=at, until=at + 60 * SECOND, limit=limit, takes=lambda _queue: True)


def believe(store: SqlStore, unverified: Unverified, result: Result) -> RecordSummary:
    return store.believe(unverified, result, routes_all(), at=NOON)


def an_answer(**fields: Any) -> Result:
    return a_result(source=Source.QUERY, **fields)


@pytest.fixture(autouse=True)
def job(store: SqlStore) -> None:
    store.add_job(a_job())


def test_a_callback_ends_nothing_until_it_is_believed(store: SqlStore) -> None:
    assert record(store, a_result()) == RecordSummary(new=1, verifying=1)

    assert (states(store), the_job(store, TOKEN).state, store.outstanding()) == ([], JobState.SUBMITTED, 1)
    (unverified,) = claimed(store)
    assert (unverified.result, unverified.job, unverified.queue) == (
        a_result(),
        the_job(store, TOKEN),
        "mps-callbacks",
    )

    assert believe(store, unverified, a_result()).deliveries == 1
    assert (states(store), the_job(store, TOKEN).state) == (["pending"], JobState.SUCCESS)
    assert (the_row(store, results)["dedup_key"], the_row(store, results)["status"]) == (JOB_ID, "routed")


def test_the_truth_takes_the_place_of_a_forged_state_and_the_true_callback_is_a_duplicate(
    store: SqlStore,
) -> None:
    record(store, a_result(state="Success"))
    believe(store, claimed(store)[0], an_answer(state="Fail"))

    assert the_job(store, TOKEN).state == JobState.FAIL
    summary = record(store, a_result(state="Fail"), at=LATER)
    assert summary == RecordSummary(duplicates=1)
    row = the_row(store, results)
    assert (row["state"], row["copies"], row["contradictions"]) == ("Fail", 2, 0)


def test_a_true_callback_after_a_forged_one_contradicts_nothing_and_is_asked_about_soon(
    store: SqlStore,
) -> None:
    record(store, a_result(state="Success"))
    store.postpone_verification(claimed(store)[0], until=NOON + timedelta(minutes=5))
    assert not claimed(store, at=LATER)

    assert record(store, a_result(state="Fail"), at=LATER) == RecordSummary(duplicates=1)

    (unverified,) = claimed(store, at=LATER + COPY_DELAY)
    assert unverified.received_at == LATER
    believe(store, unverified, an_answer(state="Fail"))
    assert (the_row(store, results)["copies"], the_row(store, results)["contradictions"]) == (2, 0)


def test_a_copy_that_comes_while_mps_is_being_asked_is_asked_about_soon(store: SqlStore) -> None:
    record(store, a_result())
    (unverified,) = claimed(store)
    record(store, a_result(), at=NOON + SECOND)

    store.postpone_verification(unverified, until=LATER)

    assert len(claimed(store, at=NOON + SECOND + COPY_DELAY)) == 1


def test_a_flood_of_copies_makes_one_question_a_second(store: SqlStore) -> None:
    record(store, a_result())
    questions = len(claimed(store))
    for tenth in range(1, 41):
        now = NOON + tenth * SECOND / 10
        record(store, a_result(state="Fail" if tenth % 2 else "Success"), at=now)
        questions += len(claimed(store, at=now))

    assert questions == 4


@pytest.mark.parametrize("first", ["Report", "Start"])
def test_whatever_types_a_run_is_reported_with_one_question_is_asked_about_it(
    store: SqlStore, first: str
) -> None:
    run = {"job_id": "", "run_id": JOB_ID}
    types = [first, "Report", *(f"Forged{number}" for number in range(20))]
    for number, type_ in enumerate(types):
        record(store, a_result(type=type_, state="Fail", **run), at=NOON + timedelta(milliseconds=number))
    starts = ["Start", "START", "sTart"]
    for number, type_ in enumerate(starts):
        record(store, a_result(type=type_, state="Fail", **run), at=NOON + timedelta(milliseconds=number))

    # The failed start of a run is not its report.
    assert len(claimed(store, at=LATER)) == 2
    assert count(store, results) == 2


def a_report(*activities: str, run_id: str = "R", **fields: Any) -> Result:
    return a_result(
        job_id="",
        run_id=run_id,
        type="Report",
        user_data=None,
        activity_job_ids=activities,
        activity_states=("Success",) * len(activities),
        **fields,
    )


def claimed_jobs(store: SqlStore) -> Sequence[Job | None]:
    """The jobs whose data the handlers get."""
    return [each.job for each in store.claim(a_claim(), at=LATER)]


def test_the_report_of_an_unknown_run_is_not_handled_with_the_data_of_a_job_that_it_lists(
    store: SqlStore,
) -> None:
    store.add_job(a_job(job_id="unknown", token="x" * 22, function=""))

    record(store, a_report(JOB_ID, "unknown"), at=LATER)

    assert claimed_jobs(store) == [None]
    assert the_row(store, results)["job"] is None


def test_a_report_is_handled_with_the_data_of_an_activity_that_mps_cannot_be_asked_about(
    store: SqlStore,
) -> None:
    store.add_job(a_job(job_id="unknown", token="x" * 22, function=""))

    record(store, a_report("unknown"), at=LATER)

    assert [job and job.job_id for job in claimed_jobs(store)] == ["unknown"]


def test_a_report_is_handled_with_the_data_of_its_run(store: SqlStore) -> None:
    store.add_job(a_job(job_id="R", token="r" * 22, function="", kind="Workflow"))
    record(store, a_report(JOB_ID), at=LATER)

    (unverified,) = claimed(store, at=LATER)
    believed = Correlation(verification=KNOWN).for_verified()
    decide = decider(RULES, believed, now=LATER, wait_over=True)
    store.believe(unverified, unverified.result, decide, at=LATER)

    assert [job and job.job_id for job in claimed_jobs(store)] == ["R"]
    # The answer about a run, or its report if MPS is away, is not believed about other jobs.
    assert the_job(store, TOKEN).finished_at is None
    assert count(store, jobs, jobs.c.next_query_at == LATER) == 1


def test_a_report_that_waits_for_its_run_does_not_end_the_jobs_that_it_lists(store: SqlStore) -> None:
    record(store, a_report(JOB_ID), at=LATER, wait_over=False)

    assert (the_row(store, results)["status"], states(store)) == (ResultStatus.WAITING, [])
    assert the_job(store, TOKEN).finished_at is None
    assert count(store, jobs, jobs.c.next_query_at == LATER) == 1


@pytest.mark.parametrize("again", ["reroute", "replay"])
def test_a_report_that_is_routed_again_neither_gets_the_data_of_a_job_nor_ends_it(
    store: SqlStore, again: str
) -> None:
    nowhere = Correlation(unknown="dead-letter" if again == "replay" else "deliver", verification=KNOWN)
    report = a_decoded_message(result=a_report(JOB_ID))
    store.record([report], decider((), nowhere, now=NOON, wait_over=True), at=NOON)

    decide = decider(RULES, nowhere.for_recorded(), now=LATER, wait_over=True)
    if again == "reroute":
        reroute_parked(store.database, decide, at=LATER)
    else:
        row_id = the_row(store, deliveries)["id"]
        with store.database.write() as connection:
            replay(connection, [row_id], decide, at=LATER)

    assert claimed_jobs(store) == [None]
    assert the_job(store, TOKEN).finished_at is None


def test_a_refused_callback_is_in_quarantine_and_the_job_still_open(store: SqlStore) -> None:
    record(store, a_result())
    (unverified,) = claimed(store)
    store.refuse(unverified, "verify: no", at=NOON)

    row = the_row(store, quarantine)
    assert (row["reason"], row["body"]) == ("verify: no", a_result().raw)
    assert (count(store, results), the_job(store, TOKEN).finished_at, store.outstanding()) == (0, None, 0)
    assert record(store, a_result(), at=LATER).verifying == 1


def test_an_answer_has_an_effect_once_though_two_processes_asked(open_store: OpenStore) -> None:
    stores = [open_store(), open_store()]
    record(stores[0], a_result())
    first = claimed(stores[0])[0]
    second = claimed(stores[1], at=NOON + 61 * SECOND)[0]  # the first one was too slow, or has crashed

    assert believe(stores[1], second, a_result()).deliveries == 1
    assert believe(stores[0], first, a_result()) == RecordSummary()
    stores[0].refuse(first, "verify: no", at=NOON)
    assert (count(stores[0], deliveries), count(stores[0], quarantine)) == (1, 0)


@pytest.mark.parametrize("imitation", [f"{JOB_ID} ", f"{JOB_ID}?", f" {JOB_ID}"])
def test_no_forged_job_id_takes_the_place_of_a_callback_that_waits_for_mps(
    store: SqlStore, imitation: str
) -> None:
    forged = decode(a_callback(JobId=imitation))
    store.record([a_decoded_message(result=forged)], decides(), at=NOON)

    record(store, a_result(), at=LATER)

    assert JOB_ID in [each.result.job_id for each in claimed(store, at=LATER)]


def test_a_damaged_callback_becomes_a_dead_letter_and_stops_no_other(store: SqlStore) -> None:
    store.record(decoded_messages(3), decides(policy="always"), at=NOON)
    with store.database.write() as connection:
        damaged = connection.scalar(select(results.c.id).order_by(results.c.id).limit(1))
        connection.execute(update(results).where(results.c.id == damaged).values(details="{no JSON"))

    assert len(claimed(store)) == 2
    assert (states(store), count(store, results, results.c.status == "refused")) == (["dead"], 1)


def test_what_was_claimed_belongs_to_no_other_process_for_a_while(open_store: OpenStore) -> None:
    store, other = open_store(), open_store()
    record(store, a_result())

    assert (len(claimed(store)), len(claimed(other, at=NOON + 59 * SECOND))) == (1, 0)


def test_an_answer_to_another_question_is_recorded_meanwhile_and_final(store: SqlStore) -> None:
    record(store, a_result(state="Success"))
    assert store.record([DecodedMessage(result=an_answer(state="Fail"))], decides(), at=NOON).deliveries == 1

    summary = believe(store, claimed(store)[0], an_answer(state="Fail"))

    assert (summary.duplicates, summary.contradictions, the_job(store, TOKEN).state) == (1, 0, "Fail")
    assert count(store, deliveries) == 1


def test_a_callback_is_not_asked_about_once_the_outcome_is_recorded(store: SqlStore) -> None:
    store.record([DecodedMessage(result=an_answer(state="Fail"))], decides(), at=NOON)

    summary = record(store, a_result(state="Success"), a_result(state="Fail"), at=LATER)

    assert (summary.verifying, summary.duplicates, summary.contradictions) == (0, 2, 1)
    assert not claimed(store, at=LATER)


def test_a_result_that_waited_for_its_job_is_verified_before_it_ends_the_job(store: SqlStore) -> None:
    store.record([a_decoded_message(result=a_result(job_id="other"))], decides(wait_over=False), at=NOON)
    store.add_job(a_job(job_id="other", token="x" * 22))

    assert the_job(store, "x" * 22).finished_at is None
    summary = store.decide_waiting(decides(at=LATER), at=LATER, limit=10)
    assert (summary.decided, summary.verifying, summary.deliveries) == (1, 1, 0)
    assert the_job(store, "x" * 22).finished_at is None

    (unverified,) = claimed(store, at=LATER)
    believe(store, unverified, an_answer(job_id="other", state="Fail"))
    assert the_job(store, "x" * 22).state == JobState.FAIL
    assert the_row(store, results)["dedup_key"] == "other"


def test_a_copy_of_a_result_that_waits_for_its_job_does_not_end_the_job(store: SqlStore) -> None:
    store.record([a_decoded_message(result=a_result(job_id="other"))], decides(wait_over=False), at=NOON)
    store.add_job(a_job(job_id="other", token="x" * 22))

    record(store, a_result(job_id="other"), at=LATER)

    assert the_job(store, "x" * 22).finished_at is None


def test_a_workflow_does_not_end_a_job_about_which_mps_can_be_asked(store: SqlStore) -> None:
    store.add_job(a_job(job_id="transcode", token="t" * 22, function="", kind="Transcode"))
    store.add_job(a_job(job_id="unknown", token="x" * 22, function=""))
    report = a_result(
        job_id="",
        run_id="R",
        type="Report",
        activity_job_ids=(JOB_ID, "transcode", "unknown"),
        activity_states=("Success", "Success", "Success"),
    )
    record(store, report, at=LATER)

    assert [the_job(store, token).finished_at for token in (TOKEN, "t" * 22)] == [None, None]
    assert the_job(store, "x" * 22).state == JobState.SUCCESS
    assert count(store, jobs, jobs.c.next_query_at == LATER) == 2


def test_callbacks_to_verify_in_one_queue_do_not_hold_up_those_of_another(store: SqlStore) -> None:
    decide = decides(policy="always")
    store.record(decoded_messages(9, queue="busy"), decide, at=NOON)
    store.record(decoded_messages(1, queue="calm"), decide, at=NOON)

    assert sorted(each.queue for each in claimed(store, limit=2)) == ["busy", "calm"]
    only = store.claim_unverified(at=NOON, until=LATER, limit=9, takes=lambda queue: queue != "busy")
    assert not only


def test_what_waits_for_mps_is_listed_and_not_decided_about_without_it(store: SqlStore) -> None:
    record(store, a_result())

    assert store.decide_waiting(decides(at=LATER), at=LATER, limit=10) == RecordSummary()
    assert the_row(store, results)["status"] == ResultStatus.VERIFYING
