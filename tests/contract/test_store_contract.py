"""What every Store promises (listener.core.ports.Store), fulfilled by each supported database."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from listener.core.errors import UsageError
from listener.core.model import (
    Claim,
    Dead,
    DecodedMessage,
    Delivery,
    Done,
    Job,
    JobState,
    Outcome,
    RecordSummary,
    Result,
    ResultStatus,
    RetryAfter,
    RoutingDecision,
    Settlement,
    Target,
)
from listener.core.ports import Decide
from listener.rules.routing import Correlation, Match, Rule, decider
from listener.store.sql_store import SqlStore
from tests.support.builders import (
    JOB_ID,
    NOON,
    TOKEN,
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

RULES = (Rule(name="videos", handlers=("log",)),)
SECOND = timedelta(seconds=1)
WAIT = timedelta(seconds=5)
MINUTE, NO_WAIT = timedelta(minutes=1), timedelta(0)
LATER = NOON + MINUTE


def an_intent(**fields: object) -> Job:
    """A job whose submission has not been answered yet."""
    return a_job(**({"job_id": "", "state": JobState.INTENT, "submitted_at": None} | fields))


def decides(*, unknown: str = "deliver", at: datetime = NOON, wait_over: bool = False) -> Decide:
    correlation = Correlation(unknown=unknown, wait=WAIT)
    return decider(RULES, correlation, now=at, wait_over=wait_over)


def record_jobs(store: SqlStore, number: int, *, queue: str = "mps-callbacks") -> None:
    store.record(decoded_messages(number, queue=queue), routes_all(), at=NOON)


def claim_one(store: SqlStore, *, at: datetime = NOON, owner: str = "one") -> Delivery:
    (delivery,) = store.claim(a_claim(owner=owner, until=at + 30 * SECOND, limit=1), at=at)
    return delivery


def always(outcome: Outcome) -> Callable[[Delivery], Outcome]:
    return lambda _delivery: outcome


def settle(
    store: SqlStore, delivery: Delivery, outcome: Outcome, *, at: datetime = NOON
) -> Sequence[Settlement]:
    return store.settle([Settlement(delivery=delivery, outcome=outcome)], at=at)


class TestRecording:
    def test_a_result_is_recorded_once_as_long_as_it_is_retained(self, store: SqlStore) -> None:
        outcomes = [store.record([a_decoded_message()], routes_all(), at=NOON) for _ in range(3)]

        assert [(each.new, each.duplicates, each.deliveries) for each in outcomes] == [
            (1, 0, 1),
            (0, 1, 0),
            (0, 1, 0),
        ]
        assert the_row(store, results)["copies"] == 3
        assert count(store, deliveries) == 1

    def test_a_delivery_has_the_time_at_which_its_result_was_recorded(self, store: SqlStore) -> None:
        summary = store.record(decoded_messages(2), routes_all(), at=NOON, claim=a_claim(limit=1))

        delivered = [*summary.claimed, claim_one(store, at=LATER)]

        assert [delivery.received_at for delivery in delivered] == [NOON, NOON]

    def test_copies_within_one_batch_are_one_result(self, store: SqlStore) -> None:
        batch = [a_decoded_message(message=a_message(message_id=f"m{number}")) for number in range(3)]

        summary = store.record(batch, routes_all(), at=NOON)

        assert summary == RecordSummary(new=1, duplicates=2, deliveries=1)
        assert the_row(store, results)["copies"] == 3

    def test_processes_that_record_the_same_batch_at_once_record_it_once(self, open_store: OpenStore) -> None:
        stores = [open_store(), open_store()]
        batches = [decoded_messages(16, prefix=str(number)) for number in range(10)]
        together = threading.Barrier(2)

        def record_all(store: SqlStore) -> list[RecordSummary]:
            together.wait(30)
            return [store.record(batch, routes_all(), at=NOON) for batch in batches]

        with ThreadPoolExecutor(2) as threads:
            summaries = [each for outcome in threads.map(record_all, stores) for each in outcome]

        assert sum(each.new for each in summaries) == 160
        assert sum(each.duplicates for each in summaries) == 160
        assert count(stores[0], deliveries) == 160

    def test_a_contradiction_is_counted_and_not_applied(self, store: SqlStore) -> None:
        store.add_job(a_job())
        store.record([a_decoded_message()], routes_all(), at=NOON)

        summary = store.record([a_decoded_message(result=a_result(state="Fail"))], routes_all(), at=LATER)

        assert (summary.new, summary.contradictions, summary.deliveries) == (0, 1, 0)
        row = the_row(store, results)
        assert (row["state"], row["contradictions"], row["copies"]) == ("Success", 1, 2)
        assert the_job(store, TOKEN).state == JobState.SUCCESS

    def test_a_contradiction_within_one_batch_is_counted_too(self, store: SqlStore) -> None:
        batch = [a_decoded_message(), a_decoded_message(result=a_result(state="Fail"))]

        summary = store.record(batch, routes_all(), at=NOON)

        assert summary == RecordSummary(new=1, duplicates=1, contradictions=1, deliveries=1)

    def test_progress_does_not_take_the_place_of_the_outcome(self, store: SqlStore) -> None:
        store.add_job(a_job())
        batch = [a_decoded_message(result=a_result(state="Processing")), a_decoded_message()]

        assert store.record(batch, routes_all(), at=NOON).new == 2
        assert the_job(store, TOKEN).state == JobState.SUCCESS

    def test_everything_of_a_result_comes_back_to_its_handler(self, store: SqlStore) -> None:
        result = a_result(
            details=({"url": "oss://b/o"}, "ß"),
            user_data='{"route":"videos"}',
            pipeline="p",
            code="E",
            message="💥",
            activity_job_ids=("a", "b"),
            run_id="r",
        )
        store.record([a_decoded_message(result=result)], routes_all(), at=NOON)

        delivery = claim_one(store)

        assert (delivery.result, delivery.queue, delivery.attempt) == (result, "mps-callbacks", 1)

    def test_a_result_that_no_message_brought_belongs_to_no_queue(self, store: SqlStore) -> None:
        store.record([DecodedMessage(result=a_result())], routes_all(), at=NOON)

        row = the_row(store, results)
        assert (row["queue"], row["message_id"]) == ("", "")
        assert claim_one(store).queue == ""

    def test_an_entry_needs_a_message_or_a_result(self) -> None:
        with pytest.raises(ValueError, match="neither a message nor a result"):
            DecodedMessage(result=None)

    def test_claimed_deliveries_belong_to_their_owner_from_the_start(self, store: SqlStore) -> None:
        summary = store.record(decoded_messages(5), routes_all(), at=NOON, claim=a_claim(limit=3))

        assert summary.deliveries == 5
        assert [(each.owner, each.attempt, each.lease_until) for each in summary.claimed] == [
            ("one", 1, NOON + 30 * SECOND)
        ] * 3
        assert len(store.claim(a_claim(owner="two"), at=NOON)) == 2
        assert settle(store, summary.claimed[0], Done()) == ()

    def test_a_result_that_no_route_wants_is_parked(self, store: SqlStore) -> None:
        decision = RoutingDecision(status=ResultStatus.PARKED)

        summary = store.record([a_decoded_message()], lambda *_: decision, at=NOON)

        assert (summary.parked, summary.deliveries) == (1, 0)
        assert the_row(store, results)["status"] == ResultStatus.PARKED

    def test_a_refused_result_is_a_dead_letter_for_each_of_its_targets(self, store: SqlStore) -> None:
        targets = (Target("videos", "log"), Target("videos", "webhook"))
        decision = RoutingDecision(status=ResultStatus.REFUSED, targets=targets, reason="no such job")

        summary = store.record([a_decoded_message()], lambda *_: decision, at=NOON, claim=a_claim())

        assert (summary.deliveries, summary.claimed) == (2, [])
        assert states(store) == ["dead", "dead"]
        assert count(store, deliveries, deliveries.c.handler == "webhook") == 1
        assert store.claim(a_claim(), at=LATER) == ()

    def test_a_refused_result_without_a_route_is_a_dead_letter_all_the_same(self, store: SqlStore) -> None:
        decision = RoutingDecision(status=ResultStatus.REFUSED, reason="no such job")

        store.record([a_decoded_message()], lambda *_: decision, at=NOON)

        assert (states(store), the_row(store, deliveries)["last_error"]) == (["dead"], "no such job")

    def test_an_undecodable_message_is_stored_verbatim_and_its_copies_are_counted(
        self, store: SqlStore
    ) -> None:
        garbled = a_decoded_message(
            result=None, reason="not valid JSON", message=a_message(body="\ufffdé<", message_id="m")
        )

        summaries = [store.record([garbled, garbled], routes_all(), at=NOON) for _ in range(2)]

        assert [each.quarantined for each in summaries] == [2, 2]
        row = the_row(store, quarantine)
        assert (row["body"], row["reason"], row["copies"]) == ("\ufffdé<", "not valid JSON", 4)

    def test_messages_without_an_id_are_kept_apart(self, store: SqlStore) -> None:
        bodies = ("first", "second", "first")
        batch = [
            a_decoded_message(result=None, message=a_message(message_id="", body=body)) for body in bodies
        ]

        store.record(batch, routes_all(), at=NOON)

        assert count(store, quarantine) == 2


class TestJobs:
    def test_a_result_finishes_its_job(self, store: SqlStore) -> None:
        store.add_job(a_job())

        store.record(
            [a_decoded_message(result=a_result(state="Fail", code="E1", message="bad"))], decides(), at=NOON
        )

        job = the_job(store, TOKEN)
        assert (job.state, job.error, job.finished_at) == (JobState.FAIL, "E1: bad", NOON)
        assert claim_one(store).job == job

    def test_a_token_gives_an_intent_its_job_id(self, store: SqlStore) -> None:
        """The submitter died between the call and the saved JobId."""
        store.add_job(an_intent())

        store.record([a_decoded_message(result=a_result(token=TOKEN))], decides(), at=NOON)

        job = the_job(store, TOKEN)
        assert (job.job_id, job.state) == (JOB_ID, JobState.SUCCESS)

    def test_a_token_brings_back_a_job_that_was_taken_for_refused(self, store: SqlStore) -> None:
        store.add_job(an_intent())
        store.refuse_job(TOKEN, "time-out", NOON)

        store.record([a_decoded_message(result=a_result(token=TOKEN))], decides(), at=LATER)

        job = the_job(store, TOKEN)
        assert (job.job_id, job.state, job.finished_at) == (JOB_ID, JobState.SUCCESS, LATER)

    def test_a_copied_token_does_not_move_a_job_to_another_id(self, store: SqlStore) -> None:
        store.add_job(a_job())

        summary = store.record(
            [a_decoded_message(result=a_result(job_id="other", token=TOKEN))], decides(), at=NOON
        )

        assert summary.waiting == 1
        assert (the_job(store, TOKEN).job_id, the_job(store, TOKEN).state) == (JOB_ID, JobState.SUBMITTED)

    def test_two_tokens_that_claim_one_job_id_do_not_stop_the_batch(self, store: SqlStore) -> None:
        store.add_job(an_intent())
        store.add_job(an_intent(token="x" * 22))
        batch = [a_decoded_message(result=a_result(token=token)) for token in (TOKEN, "x" * 22)]

        summary = store.record(batch, decides(), at=NOON)

        assert (summary.new, summary.duplicates) == (1, 1)
        assert the_job(store, TOKEN).job_id == JOB_ID
        assert the_job(store, "x" * 22).state == JobState.INTENT

    def test_one_token_on_two_job_ids_binds_the_first(self, store: SqlStore) -> None:
        store.add_job(an_intent())
        batch = [
            a_decoded_message(result=a_result(job_id=job_id, token=TOKEN)) for job_id in ("first", "second")
        ]

        summary = store.record(batch, decides(), at=NOON)

        assert (summary.new, summary.waiting) == (2, 1)
        assert the_job(store, TOKEN).job_id == "first"

    def test_a_reference_is_taken_once(self, store: SqlStore) -> None:
        store.add_job(an_intent(reference="talk-1"))

        with pytest.raises(UsageError, match=r"reference 'talk-1' already exists; choose another"):
            store.add_job(an_intent(reference="talk-1", token="x" * 22))

        assert count(store, jobs) == 1

    def test_binding_again_changes_nothing(self, store: SqlStore) -> None:
        store.add_job(an_intent())
        store.bind_job(TOKEN, JOB_ID, NOON)
        store.bind_job(TOKEN, JOB_ID, LATER)

        assert the_job(store, TOKEN).submitted_at == NOON

    def test_a_bound_job_is_not_refused_any_more(self, store: SqlStore) -> None:
        store.add_job(a_job())
        store.refuse_job(TOKEN, "too late", NOON)

        assert the_job(store, TOKEN).state == JobState.SUBMITTED

    def test_a_refused_job_says_why(self, store: SqlStore) -> None:
        store.add_job(an_intent())
        store.refuse_job(TOKEN, "no such pipeline", NOON)

        job = the_job(store, TOKEN)
        assert (job.state, job.error, job.finished_at) == (JobState.REFUSED, "no such pipeline", NOON)


class TestWaiting:
    def test_an_early_result_goes_out_as_soon_as_its_job_is_bound(self, store: SqlStore) -> None:
        store.add_job(an_intent())
        assert store.record([a_decoded_message()], decides(), at=NOON) == RecordSummary(new=1, waiting=1)
        store.bind_job(TOKEN, JOB_ID, NOON + SECOND)

        second = store.decide_waiting(decides(wait_over=True), at=NOON + SECOND, limit=10)

        assert second.deliveries == 1
        delivery = claim_one(store, at=LATER)
        assert delivery.job == the_job(store, TOKEN)
        assert delivery.job is not None
        assert delivery.job.state == JobState.SUCCESS

    def test_a_result_waits_for_correlation_wait(self, store: SqlStore) -> None:
        store.record([a_decoded_message()], decides(), at=NOON)

        assert store.outstanding() == 1
        early = store.decide_waiting(decides(wait_over=True), at=NOON + WAIT - SECOND, limit=10)
        assert early == RecordSummary()
        assert store.decide_waiting(decides(wait_over=True), at=NOON + WAIT, limit=10).deliveries == 1
        assert store.decide_waiting(decides(wait_over=True), at=LATER, limit=10) == RecordSummary()

    def test_where_only_known_jobs_are_wanted_the_others_go_on_waiting(self, store: SqlStore) -> None:
        store.add_job(an_intent())
        store.record([a_decoded_message(), *decoded_messages(2, prefix="unknown")], decides(), at=NOON)
        store.bind_job(TOKEN, JOB_ID, NOON + SECOND)
        decide = decides(wait_over=True)

        early = store.decide_waiting(decide, at=LATER, limit=10, only_known=True)

        assert (early.decided, early.deliveries, store.outstanding()) == (1, 1, 3)
        assert store.decide_waiting(decide, at=LATER, limit=10, only_known=True) == RecordSummary()
        assert store.decide_waiting(decide, at=NOON + WAIT, limit=10).deliveries == 2

    @pytest.mark.parametrize(
        ("unknown", "expected"), [("deliver", ["pending"]), ("dead-letter", ["dead"]), ("drop", [])]
    )
    def test_the_policy_decides_about_results_of_unknown_jobs(
        self, store: SqlStore, unknown: str, expected: list[str]
    ) -> None:
        store.record([a_decoded_message()], decides(unknown=unknown), at=NOON)

        store.decide_waiting(decides(unknown=unknown, at=LATER, wait_over=True), at=LATER, limit=10)

        assert (states(store), store.outstanding()) == (expected, expected.count("pending"))

    def test_no_more_than_the_limit_is_decided_at_once(self, store: SqlStore) -> None:
        store.record(decoded_messages(5), decides(), at=NOON)
        decide = decides(wait_over=True)

        decided = [store.decide_waiting(decide, at=LATER, limit=2).deliveries for _ in range(4)]

        assert decided == [2, 2, 1, 0]

    def test_results_waiting_in_one_queue_do_not_hold_up_those_of_another(self, store: SqlStore) -> None:
        store.record(decoded_messages(9, queue="busy"), decides(), at=NOON)
        store.record(decoded_messages(1, queue="calm"), decides(at=NOON + SECOND), at=NOON + SECOND)

        summary = store.decide_waiting(decides(wait_over=True), at=LATER, limit=2)

        assert (summary.decided, summary.deliveries) == (2, 2)
        assert count(store, deliveries, deliveries.c.queue == "calm") == 1

    def test_a_copy_of_a_waiting_result_does_not_shorten_its_wait(self, store: SqlStore) -> None:
        store.record([a_decoded_message()], decides(), at=NOON)
        store.record([a_decoded_message()], decides(wait_over=True), at=NOON)

        assert count(store, deliveries) == 0

    def test_a_job_that_is_bound_after_its_result_went_out_is_finished(self, store: SqlStore) -> None:
        """MPS must not be queried indefinitely about a job whose outcome is recorded."""
        store.add_job(an_intent())
        store.record([a_decoded_message()], decides(), at=NOON)
        store.decide_waiting(decides(wait_over=True), at=NOON + WAIT, limit=10)

        store.bind_job(TOKEN, JOB_ID, LATER)

        job = the_job(store, TOKEN)
        assert (job.state, job.finished_at) == (JobState.SUCCESS, LATER)
        assert claim_one(store, at=LATER).job == job


class TestClaiming:
    def test_claims_never_overlap(self, open_store: OpenStore) -> None:
        stores = [open_store(), open_store()]
        record_jobs(stores[0], 400)

        def claim_all(number: int) -> list[int]:
            store, claim = stores[number % 2], a_claim(owner=f"owner-{number}", limit=7)
            taken: list[int] = []
            while found := store.claim(claim, at=NOON):
                taken += [delivery.id for delivery in found]
            return taken

        with ThreadPoolExecutor(8) as threads:
            taken = [row_id for ids in threads.map(claim_all, range(8)) for row_id in ids]

        assert len(taken) == 400
        assert len(set(taken)) == 400

    def test_a_busy_queue_does_not_starve_the_others(self, store: SqlStore) -> None:
        record_jobs(store, 5000, queue="busy")
        for queue in ("a", "b", "z"):
            record_jobs(store, 3, queue=queue)

        claimed = store.claim(a_claim(limit=32), at=NOON)

        assert Counter(each.queue for each in claimed) == {"busy": 23, "a": 3, "b": 3, "z": 3}

    def test_capacity_that_other_queues_leave_is_used(self, store: SqlStore) -> None:
        for queue in ("a", "b", "c"):
            record_jobs(store, 10, queue=queue)

        assert len(store.claim(a_claim(limit=100), at=NOON)) == 30

    def test_the_oldest_comes_first(self, store: SqlStore) -> None:
        for age, job_id in ((1, "younger"), (9, "oldest"), (0, "youngest")):
            store.record(
                [a_decoded_message(result=a_result(job_id=job_id))], routes_all(), at=NOON - age * SECOND
            )

        claimed = [claim_one(store).result.job_id for _ in range(3)]

        assert claimed == ["oldest", "younger", "youngest"]

    def test_what_is_not_due_is_not_claimed(self, store: SqlStore) -> None:
        record_jobs(store, 1)
        settle(store, claim_one(store), RetryAfter(wait=MINUTE, reason="later"))

        assert store.claim(a_claim(), at=LATER - SECOND) == ()
        assert claim_one(store, at=LATER).attempt == 2

    def test_what_runs_is_outstanding(self, store: SqlStore) -> None:
        record_jobs(store, 1)
        delivery = claim_one(store)

        assert store.outstanding() == 1
        settle(store, delivery, Done())
        assert store.outstanding() == 0


class TestLeases:
    def test_a_lease_that_is_renewed_does_not_end(self, store: SqlStore) -> None:
        record_jobs(store, 1)
        delivery = claim_one(store)
        store.renew([delivery], until=LATER)

        assert store.rescue_expired(always(Done()), at=LATER, limit=10) == []
        assert len(store.rescue_expired(always(Done()), at=LATER + SECOND, limit=10)) == 1

    def test_a_crashed_process_gives_its_deliveries_back(self, store: SqlStore) -> None:
        record_jobs(store, 3)
        store.claim(a_claim(), at=NOON)
        outcome = RetryAfter(wait=NO_WAIT, reason="its process died")

        ended = store.rescue_expired(always(outcome), at=LATER, limit=2)
        ended = [*ended, *store.rescue_expired(always(outcome), at=LATER, limit=2)]

        assert len({each.delivery.id for each in ended}) == 3
        second = store.claim(a_claim(owner="two"), at=LATER)
        assert [(each.attempt, each.failures, each.owner) for each in second] == [(2, 1, "two")] * 3

    def test_an_ended_lease_can_be_the_last(self, store: SqlStore) -> None:
        record_jobs(store, 1)
        claim_one(store)

        store.rescue_expired(always(Dead(reason="too often")), at=LATER, limit=10)

        assert (states(store), the_row(store, deliveries)["last_error"]) == (["dead"], "too often")

    @pytest.mark.parametrize("owner", ["one", "two"])
    def test_only_the_current_attempt_keeps_its_lease(self, store: SqlStore, owner: str) -> None:
        record_jobs(store, 1)
        first = claim_one(store)
        store.rescue_expired(always(RetryAfter(wait=NO_WAIT, reason="")), at=LATER, limit=10)
        claim_one(store, at=LATER, owner=owner)

        store.renew([first], until=LATER + timedelta(hours=1))

        assert the_row(store, deliveries)["lease_until"] == LATER + 30 * SECOND


class TestSettling:
    @pytest.mark.parametrize(
        ("outcome", "state", "failures", "error"),
        [
            pytest.param(Done(), "done", 0, None, id="done"),
            pytest.param(RetryAfter(wait=MINUTE, reason="boom"), "pending", 1, "boom", id="retry"),
            pytest.param(
                RetryAfter(wait=MINUTE, reason="down", spent=False), "pending", 0, "down", id="outage"
            ),
            pytest.param(Dead(reason="never"), "dead", 1, "never", id="dead"),
        ],
    )
    def test_an_outcome_is_written(
        self, store: SqlStore, outcome: Outcome, state: str, failures: int, error: str | None
    ) -> None:
        record_jobs(store, 1)

        assert settle(store, claim_one(store), outcome) == ()

        row = the_row(store, deliveries)
        assert (row["state"], row["failures"], row["last_error"], row["attempt"]) == (
            state,
            failures,
            error,
            1,
        )
        assert (row["owner"], row["lease_until"]) == (None, None)

    def test_every_start_counts_as_attempt_and_only_failures_as_spent(self, store: SqlStore) -> None:
        record_jobs(store, 1)
        for spent in (False, True, False):
            settle(store, claim_one(store), RetryAfter(wait=NO_WAIT, reason="", spent=spent))

        delivery = claim_one(store)
        assert (delivery.attempt, delivery.failures) == (4, 1)

    def test_different_outcomes_are_settled_together(self, store: SqlStore) -> None:
        record_jobs(store, 4)
        claimed = store.claim(a_claim(), at=NOON)
        outcomes: list[Outcome] = [Done(), Dead(reason="x"), RetryAfter(wait=MINUTE, reason="y"), Done()]

        late = store.settle(
            [
                Settlement(delivery=delivery, outcome=outcome)
                for delivery, outcome in zip(claimed, outcomes, strict=True)
            ],
            at=NOON,
        )

        assert (late, states(store)) == ((), ["done", "dead", "pending", "done"])

    def test_nothing_to_settle_is_nothing(self, store: SqlStore) -> None:
        assert store.settle([], at=NOON) == ()

    @pytest.mark.parametrize("outcome", [Done(), RetryAfter(wait=NO_WAIT, reason=""), Dead(reason="")])
    def test_an_attempt_that_another_one_followed_is_late(self, store: SqlStore, outcome: Outcome) -> None:
        record_jobs(store, 1)
        first = claim_one(store)
        store.rescue_expired(always(RetryAfter(wait=NO_WAIT, reason="lost")), at=LATER, limit=10)
        second = claim_one(store, at=LATER, owner="two")

        late = settle(store, first, outcome, at=LATER)

        assert [each.delivery for each in late] == [first]
        row = the_row(store, deliveries)
        assert (row["state"], row["owner"], row["attempt"]) == ("running", "two", 2)
        assert settle(store, second, Done(), at=LATER) == ()

    @pytest.mark.parametrize("lost", [RetryAfter(wait=NO_WAIT, reason="lost"), Dead(reason="lost too often")])
    def test_a_zombie_that_was_done_need_not_run_again(self, store: SqlStore, lost: Outcome) -> None:
        record_jobs(store, 1)
        first = claim_one(store)
        store.rescue_expired(always(lost), at=LATER, limit=10)

        assert settle(store, first, Done(), at=LATER) == ()
        assert (states(store), store.claim(a_claim(), at=LATER)) == (["done"], ())

    def test_a_zombie_that_failed_changes_nothing(self, store: SqlStore) -> None:
        record_jobs(store, 1)
        first = claim_one(store)
        store.rescue_expired(always(RetryAfter(wait=NO_WAIT, reason="lost")), at=LATER, limit=10)

        settle(store, first, Dead(reason="boom"), at=LATER)

        row = the_row(store, deliveries)
        assert (row["state"], row["failures"], row["last_error"]) == ("pending", 1, "lost")

    def test_only_the_late_ones_of_a_batch_are_returned(self, store: SqlStore) -> None:
        record_jobs(store, 2)
        good, gone = store.claim(a_claim(), at=NOON)
        unknown = replace(gone, id=gone.id + 100)

        late = store.settle([Settlement(delivery=each, outcome=Done()) for each in (good, unknown)], at=NOON)

        assert [each.delivery.id for each in late] == [unknown.id]
        assert states(store) == ["done", "running"]


def test_a_batch_is_recorded_atomically(store: SqlStore) -> None:
    def decide(result: Result, _job: Job | None, _queue: str) -> RoutingDecision:
        if result.job_id.endswith("3"):
            raise ZeroDivisionError
        return RoutingDecision(status=ResultStatus.ROUTED, targets=(Target("videos", "log"),))

    garbled = a_decoded_message(result=None)
    with pytest.raises(ZeroDivisionError):
        store.record([garbled, *decoded_messages(5)], decide, at=NOON)

    assert (count(store, results), count(store, deliveries), count(store, quarantine)) == (0, 0, 0)
    assert store.record([garbled, *decoded_messages(5)], routes_all(), at=NOON).new == 5


def test_routes_match_on_what_only_the_job_knows(store: SqlStore) -> None:
    rules = (Rule(name="mine", match=Match(route="mine"), handlers=("log",)),)
    store.add_job(a_job(user_data="mine:1"))

    decide = decider(rules, Correlation(), now=NOON, wait_over=False)

    assert store.record([a_decoded_message()], decide, at=NOON).deliveries == 1


def test_an_empty_batch_is_nothing(store: SqlStore) -> None:
    claim: Claim = a_claim()

    assert store.record([], routes_all(), at=NOON, claim=claim) == RecordSummary()


def test_it_is_known_since_when_a_delivery_has_waited_for_a_handler(store: SqlStore) -> None:
    """Until a process that has the handler runs an attempt."""
    store.record(decoded_messages(2), routes_all(), at=NOON)
    waiting = RetryAfter(wait=timedelta(0), reason="no handler", spent=False, no_handler_since=NOON)
    store.settle(
        [Settlement(delivery=each, outcome=waiting) for each in store.claim(a_claim(), at=NOON)], at=NOON
    )
    assert store.without_handler() == {Target("videos", "log"): 2}

    claimed = store.claim(a_claim(), at=NOON + SECOND)
    assert [delivery.no_handler_since for delivery in claimed] == [NOON, NOON]
    assert store.without_handler() == {}
    failed = RetryAfter(wait=timedelta(0), reason="boom")
    store.settle([Settlement(delivery=claimed[0], outcome=failed)], at=NOON + SECOND)
    store.settle([Settlement(delivery=claimed[1], outcome=waiting)], at=NOON + SECOND)

    assert store.without_handler() == {Target("videos", "log"): 1}
    again = store.claim(a_claim(limit=2), at=NOON + SECOND)
    assert {delivery.id: delivery.no_handler_since for delivery in again} == {
        claimed[0].id: None,
        claimed[1].id: NOON,
    }
