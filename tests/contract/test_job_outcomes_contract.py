"""Every job reaches one terminal state, whatever reports it and in whatever order: the same on every database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from listener.core.errors import UsageError
from listener.core.model import (
    LOST,
    DecodedMessage,
    DeliveryState,
    JobState,
    Result,
    ResultStatus,
    Source,
    Target,
    Tenants,
)
from listener.jobs.reconciler import lost
from listener.rules.routing import Correlation, Match, Rule, decider
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore
from tests.support.builders import JOB_ID, NOON, TOKEN, a_claim, a_decoded_message, a_job, a_result
from tests.support.stores import OpenStore, count, deliveries, jobs, results, states, the_job

LATER = NOON + timedelta(hours=1)
ALL = decider(
    (Rule(name="lost", match=Match(state=LOST), handlers=("log",)), Rule(name="all", handlers=("log",))),
    Correlation(),
    now=NOON,
    wait_over=True,
)
INTENT: dict[str, Any] = {"job_id": "", "state": JobState.INTENT, "submitted_at": None}
OVERDUE: dict[str, Any] = {"deadline_at": NOON}


def record_results(store: SqlStore, *reported: Result) -> Any:
    return store.record([a_decoded_message(result=result) for result in reported], ALL, at=LATER)


def declare_lost(store: SqlStore, token: str = TOKEN) -> Any:
    """Give a job up as it was when it was claimed, which may be long ago."""
    return record_results(store, lost(the_job(store, token), now=LATER))


def a_report(**fields: Any) -> Result:
    return a_result(**({"job_id": "", "run_id": "run", "type": "Report", "function": ""} | fields))


def at_once(*works: Callable[[], object]) -> None:
    """Do all of them as nearly at the same moment as can be; raises what one of them raised."""
    barrier, errors = threading.Barrier(len(works)), []

    def run(work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            work()
        except Exception as error:  # raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class TestLost:
    @pytest.mark.parametrize("fields", [{}, INTENT], ids=["with-an-id", "intent"])
    def test_it_is_delivered_once(self, store: SqlStore, fields: dict[str, Any]) -> None:
        store.add_job(a_job(**fields))
        decision = lost(the_job(store, TOKEN), now=LATER)

        assert (record_results(store, decision).deliveries, record_results(store, decision).deliveries) == (
            1,
            0,
        )
        job = the_job(store, TOKEN)
        assert (job.state, job.finished_at, count(store, deliveries)) == (JobState.LOST, LATER, 1)

    def test_an_intent_is_identified_by_its_token_alone(self, store: SqlStore) -> None:
        store.add_job(a_job(**INTENT))
        summary = store.record(
            [DecodedMessage(result=lost(the_job(store, TOKEN), now=LATER))],
            ALL,
            at=LATER,
            claim=a_claim(),
        )

        (delivery,) = summary.claimed
        result = delivery.result
        assert (result.job_id, result.run_id, result.token) == ("", "", TOKEN)
        assert result.lost_intent == result.terminal_id == result.key == result.dedup_key == TOKEN
        assert delivery.job is not None
        assert delivery.job.token == TOKEN
        history = Queries(store.database).history(TOKEN)
        assert history is not None
        assert [stored.result for stored in history.results] == [result]

    def test_a_callback_with_a_token_is_no_lost_intent(self) -> None:
        assert a_result(token=TOKEN).lost_intent == ""
        assert a_result(job_id="", run_id="run", token=TOKEN).lost_intent == ""
        assert lost(a_job(), now=LATER).lost_intent == ""

    def test_without_a_route_it_is_a_dead_letter(self, store: SqlStore) -> None:
        store.add_job(a_job())
        all_others = decider((Rule(name="all", handlers=("log",)),), Correlation(), now=NOON, wait_over=True)
        store.record([a_decoded_message(result=lost(a_job(), now=LATER))], all_others, at=LATER)

        assert (states(store), the_job(store, TOKEN).state) == ([DeliveryState.DEAD], JobState.LOST)

    @pytest.mark.parametrize("fields", [{}, INTENT], ids=["with-an-id", "intent"])
    def test_a_callback_that_comes_later_is_absorbed_and_counted(
        self, store: SqlStore, fields: dict[str, Any]
    ) -> None:
        store.add_job(a_job(**fields))
        declare_lost(store)
        summary = record_results(store, a_result(token=TOKEN))

        assert (summary.deliveries, summary.contradictions) == (0, 1)
        job = the_job(store, TOKEN)
        assert (job.state, job.job_id, job.finished_at) == (JobState.LOST, JOB_ID, LATER)
        assert not store.claim_overdue(at=LATER, until=LATER, limit=9)

    @pytest.mark.parametrize("fields", [{}, INTENT], ids=["with-an-id", "intent"])
    def test_a_callback_that_came_first_makes_it_moot(self, store: SqlStore, fields: dict[str, Any]) -> None:
        store.add_job(a_job(**fields))
        decision = lost(the_job(store, TOKEN), now=LATER)
        record_results(store, a_result(token=TOKEN))
        record_results(store, decision)

        assert (the_job(store, TOKEN).state, count(store, deliveries)) == (JobState.SUCCESS, 1)

    def test_a_report_that_came_first_makes_a_workflows_moot_too(self, store: SqlStore) -> None:
        store.add_job(a_job(job_id="run", function=""))
        decision = lost(the_job(store, TOKEN), now=LATER)
        record_results(store, a_report())
        record_results(store, decision)

        assert (the_job(store, TOKEN).state, count(store, deliveries)) == (JobState.SUCCESS, 1)

    @pytest.mark.parametrize("fields", [{}, INTENT], ids=["with-an-id", "intent"])
    def test_at_the_same_moment_as_the_callback_only_one_of_them_is_delivered(
        self, open_store: OpenStore, fields: dict[str, Any]
    ) -> None:
        one, other = open_store(), open_store()
        for number in range(20):
            token, job_id = f"{number:022d}", f"job-{number}"
            one.add_job(a_job(**({"token": token, "job_id": job_id} | fields)))
            decision = lost(the_job(one, token), now=LATER)
            callback = a_result(job_id=job_id, token=token)
            at_once(lambda: record_results(one, decision), lambda: record_results(other, callback))  # noqa: B023 - called within the turn

        assert count(one, deliveries) == 20
        assert count(one, jobs, jobs.c.finished_at.is_not(None)) == 20


class TestAnswers:
    def test_the_answer_to_a_query_and_the_callback_make_one_delivery(self, open_store: OpenStore) -> None:
        one, other = open_store(), open_store()
        for number in range(20):
            one.add_job(a_job(token=f"{number:022d}", job_id=f"job-{number}"))
            callback = a_result(job_id=f"job-{number}")
            answer = a_result(job_id=f"job-{number}", source=Source.QUERY, outputs="{}")
            at_once(lambda: record_results(one, answer), lambda: record_results(other, callback))  # noqa: B023 - called within the turn

        assert (count(one, deliveries), count(one, results)) == (20, 20)
        assert count(one, jobs, jobs.c.state == JobState.SUCCESS) == 20


class TestOverdue:
    def test_no_two_replicas_get_the_same_job(self, open_store: OpenStore) -> None:
        first = open_store()
        for number in range(40):
            first.add_job(a_job(token=f"{number:022d}", job_id=f"job-{number}", **OVERDUE))
        claimed: list[str] = []

        def claim(store: SqlStore) -> None:
            while found := store.claim_overdue(at=LATER, until=LATER + timedelta(minutes=5), limit=3):
                claimed.extend(job.job_id for job in found)

        replicas = [open_store() for _ in range(3)]
        at_once(*(lambda store=store: claim(store) for store in replicas))

        assert sorted(claimed) == sorted(f"job-{number}" for number in range(40))

    def test_a_claim_that_was_never_ended_comes_back_when_it_is_over(self, store: SqlStore) -> None:
        store.add_job(a_job(**OVERDUE))
        until = LATER + timedelta(minutes=5)
        assert len(store.claim_overdue(at=LATER, until=until, limit=9)) == 1
        assert not store.claim_overdue(at=LATER, until=until, limit=9)
        assert len(store.claim_overdue(at=until, until=until, limit=9)) == 1

    def test_a_job_that_gets_its_id_while_it_is_looked_at_is_asked_about_at_once(
        self, store: SqlStore
    ) -> None:
        store.add_job(a_job(**INTENT, **OVERDUE))
        [looked_at] = store.claim_overdue(at=LATER, until=LATER + timedelta(minutes=5), limit=9)
        store.bind_job(TOKEN, JOB_ID, LATER)

        store.postpone(looked_at, until=LATER + timedelta(hours=1), asked=True)

        assert [job.job_id for job in store.claim_overdue(at=LATER, until=LATER, limit=9)] == [JOB_ID]

    def test_tenants_are_distinguished(self, store: SqlStore) -> None:
        for number, tenant in enumerate(("", "a", "b", "gone")):
            store.add_job(a_job(token=f"{number:022d}", job_id=str(number), tenant=tenant, **OVERDUE))

        def claimed(tenants: Tenants) -> list[str]:
            found = store.claim_overdue(at=LATER, until=LATER, limit=9, tenants=tenants)
            return sorted(job.tenant for job in found)

        assert claimed(Tenants(only=("a",))) == ["a"]
        assert claimed(Tenants(without=("a", "b"))) == ["", "gone"]
        assert claimed(Tenants()) == ["", "a", "b", "gone"]

    def test_neither_finished_jobs_nor_those_without_a_deadline_are_overdue(self, store: SqlStore) -> None:
        store.add_job(a_job(token="1" * 22, job_id="endless"))
        store.add_job(a_job(token="2" * 22, job_id="done", **OVERDUE))
        record_results(store, a_result(job_id="done"))

        assert not store.claim_overdue(at=LATER, until=LATER, limit=9)


class TestWorkflows:
    def test_a_run_ends_with_its_report_and_not_with_its_start(self, store: SqlStore) -> None:
        store.add_job(a_job(job_id="run", function=""))
        record_results(store, a_report(type="Start"))
        assert the_job(store, TOKEN).state == JobState.SUBMITTED
        record_results(store, a_report())

        assert (the_job(store, TOKEN).state, count(store, deliveries)) == (JobState.SUCCESS, 2)

    def test_an_activity_ends_as_the_report_says_though_its_own_callback_never_comes(
        self, store: SqlStore
    ) -> None:
        activities = {"good": "Success", "bad": "Fail", "open": "Running"}
        for number, job_id in enumerate(activities):
            store.add_job(a_job(token=f"{number:022d}", job_id=job_id, function="", **OVERDUE))
        report = a_report(activity_job_ids=tuple(activities), activity_states=tuple(activities.values()))
        record_results(store, report)

        states = [the_job(store, f"{number:022d}").state for number in range(3)]
        assert states == [JobState.SUCCESS, JobState.FAIL, JobState.SUBMITTED]
        assert "run" in the_job(store, f"{1:022d}").error
        assert [job.job_id for job in store.claim_overdue(at=LATER, until=LATER, limit=9)] == ["open"]
        assert count(store, deliveries) == 1  # the Report's own

    def test_the_callback_of_an_activity_is_a_result_of_its_own(self, store: SqlStore) -> None:
        store.add_job(a_job(job_id="act", function=""))
        record_results(store, a_report(activity_job_ids=("act",), activity_states=("Success",)))
        record_results(store, a_result(job_id="act", type="Transcode"))

        assert (count(store, deliveries), the_job(store, TOKEN).state) == (2, JobState.SUCCESS)

    def test_a_report_is_delivered_though_one_of_its_activities_was_reported_lost(
        self, store: SqlStore
    ) -> None:
        store.add_job(a_job(job_id="act", function=""))
        declare_lost(store)
        summary = record_results(store, a_report(activity_job_ids=("act",), activity_states=("Success",)))

        assert (summary.deliveries, the_job(store, TOKEN).state) == (1, JobState.LOST)


class TestRegistering:
    @pytest.mark.parametrize(
        ("job_id", "result"),
        [
            pytest.param(JOB_ID, a_result(type="Transcode"), id="job"),
            pytest.param("run", a_report(), id="workflow"),
        ],
    )
    def test_what_came_before_ends_the_job(self, store: SqlStore, job_id: str, result: Result) -> None:
        record_results(store, result)
        store.add_job(a_job(job_id=job_id, function="", **OVERDUE))

        assert the_job(store, TOKEN).state == JobState.SUCCESS
        assert not store.claim_overdue(at=LATER, until=LATER, limit=9)

    @pytest.mark.parametrize(
        ("job_id", "result"),
        [
            pytest.param(JOB_ID, a_result(type="Transcode"), id="job"),
            pytest.param("run", a_report(), id="workflow"),
        ],
    )
    def test_what_was_waiting_for_it_waits_no_longer(
        self, store: SqlStore, job_id: str, result: Result
    ) -> None:
        patient = decider(
            (Rule(name="all", handlers=("log",)),),
            Correlation(wait=timedelta(hours=9)),
            now=NOON,
            wait_over=False,
        )
        assert store.record([a_decoded_message(result=result)], patient, at=NOON).waiting == 1
        store.add_job(a_job(job_id=job_id, function="", created_at=LATER))

        assert store.decide_waiting(ALL, at=LATER, limit=9).deliveries == 1
        assert the_job(store, TOKEN).state == JobState.SUCCESS

    @pytest.mark.parametrize(
        ("fields", "taken"),
        [
            ({"reference": "talk"}, "reference 'talk' already exists"),
            ({"job_id": JOB_ID, "reference": "other"}, f"job '{JOB_ID}' is already registered"),
        ],
    )
    def test_a_name_in_use_is_reported(self, store: SqlStore, fields: dict[str, str], taken: str) -> None:
        store.add_job(a_job(reference="talk"))
        with pytest.raises(UsageError, match=taken):
            store.add_job(a_job(**({"token": "2" * 22, "job_id": "new"} | fields)))

        assert count(store, jobs) == 1

    @pytest.mark.parametrize(
        "kind", ["Transcode", "Snapshot", "Analysis", "MediaInfo", "smarttag", "FpShot", "MediaCensor"]
    )
    def test_jobs_of_every_type_are_known_by_their_id(self, store: SqlStore, kind: str) -> None:
        store.add_job(a_job(function="", user_data="covers:7"))
        by_route = (Rule(name="mine", match=Match(route="covers", type=kind), handlers=("log",)),)
        decide = decider(by_route, Correlation(unknown="drop"), now=NOON, wait_over=True)
        summary = store.record([a_decoded_message(result=a_result(type=kind, function=""))], decide, at=LATER)

        assert (summary.deliveries, the_job(store, TOKEN).state) == (1, JobState.SUCCESS)


def test_a_lost_job_without_an_id_shows_what_came_too_late(store: SqlStore) -> None:
    store.add_job(a_job(**INTENT))
    declare_lost(store)
    record_results(store, a_result(token=TOKEN))

    assert count(store, results, results.c.status == ResultStatus.DROPPED) == 1
    assert Target("lost", "log") == Target(*_targets(store)[0])


def _targets(store: SqlStore) -> list[tuple[str, str]]:
    with store.database.read() as connection:
        rows = connection.execute(deliveries.select())
        return [(row.route, row.handler) for row in rows]
