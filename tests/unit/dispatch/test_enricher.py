"""Asking MPS for outputs before handlers are called, with MPS in memory and a real store."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from listener.core.errors import FailureKind, MpsUnavailable, Unavailable
from listener.core.job_kinds import IPRODUCTION, JobKind
from listener.core.model import Answer, Delivery, Result, RetryAfter, Source, Target
from listener.core.ports import AgeCheck
from listener.dispatch.enricher import Enricher
from listener.dispatch.job_result import job_result
from listener.emulator.mps.sample_results import FUNCTION_NAMES, Work, result
from listener.rules.backoff import ENRICH_BACKOFF
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_claim, a_decoded_message, a_job, a_result, routes_all
from tests.support.clocks import RIGHT, UNKNOWN, WRONG, freeze_time
from tests.support.memory_mps import MemoryMps
from tests.support.rejecting import reject
from tests.support.sqlite import new_sqlite_store
from tests.support.stores import results, the_row

MAX_WAIT = timedelta(minutes=10)
OUTPUTS = '{"Code":"Success","Data":"{\\"result\\":[{\\"file\\":\\"a.mp4\\"}]}"}'


class Outputs(MemoryMps):
    """Answers every question with the same text."""

    text = OUTPUTS

    def query(self, job_id: str, *, kind: JobKind = IPRODUCTION) -> Answer:
        answer = super().query(job_id, kind=kind)
        found = a_result(job_id=job_id, source=Source.QUERY, outputs=self.text)
        return answer if answer.result.state != "Success" else Answer(result=found)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


@pytest.fixture
def mps() -> Outputs:
    return Outputs(job="Success")


def an_enricher(store: SqlStore, mps: MemoryMps | None, *, clock_check: AgeCheck = RIGHT) -> Enricher:
    return Enricher(
        store=store,
        mps_of=lambda _tenant: mps,
        tenant_of=lambda _delivery: "",
        max_wait=MAX_WAIT,
        clock_check=clock_check,
    )


def claimed(store: SqlStore, *recorded: Result, handlers: Sequence[str] = ("one",)) -> list[Delivery]:
    targets = [Target("all", name) for name in handlers]
    store.record([a_decoded_message(result=each) for each in recorded], routes_all(*targets), at=NOON)
    return list(store.claim(a_claim(), at=NOON))


def done(**fields: str) -> Result:
    return a_result(**({"job_id": "job"} | fields))


def test_outputs_are_fetched_and_stored_with_the_result(store: SqlStore, mps: Outputs) -> None:
    (delivery,) = claimed(store, done())
    enriched = an_enricher(store, mps).enrich(delivery)

    assert enriched.result.outputs == the_row(store, results)["outputs"] == OUTPUTS
    made = job_result(enriched).outputs
    assert made is not None
    assert [file.path for file in made.files] == ["a.mp4"]


def test_outputs_that_the_store_rejects_reach_the_handler(store: SqlStore, mps: Outputs) -> None:
    (delivery,) = claimed(store, done())
    reject(store, "results", "outputs", when="IS NOT NULL")

    assert an_enricher(store, mps).enrich(delivery).result.outputs == OUTPUTS


def test_all_handlers_of_a_result_share_one_question(store: SqlStore, mps: Outputs) -> None:
    deliveries = claimed(store, done(), handlers=[f"handler-{number}" for number in range(8)])
    enricher, outputs = an_enricher(store, mps), []
    threads = [
        threading.Thread(target=lambda one=one: outputs.append(enricher.enrich(one).result.outputs))
        for one in deliveries
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (outputs, mps.asked) == ([OUTPUTS] * 8, ["job"])


def test_a_retry_does_not_ask_again_not_even_after_a_restart(store: SqlStore, mps: Outputs) -> None:
    (delivery,) = claimed(store, done())
    an_enricher(store, mps).enrich(delivery)
    store.rescue_expired(
        lambda _one: RetryAfter(wait=timedelta(0), reason="once more"), at=NOON + timedelta(hours=1), limit=9
    )
    (second,) = store.claim(a_claim(), at=NOON + timedelta(hours=1))

    assert an_enricher(store, mps).enrich(second).result.outputs == OUTPUTS
    assert mps.asked == ["job"]


@pytest.mark.parametrize(
    ("recorded", "kind"),
    [
        pytest.param(done(), "IProduction", id="smart-production"),
        pytest.param(done(type=""), "IProduction", id="no-type"),
        pytest.param(done(type="transcode"), "Transcode", id="transcode"),
        pytest.param(done(type="Snapshot"), "Snapshot", id="snapshot"),
    ],
)
def test_each_kind_is_asked_for_by_its_own_query(
    store: SqlStore, mps: Outputs, recorded: Result, kind: str
) -> None:
    (delivery,) = claimed(store, recorded)
    an_enricher(store, mps).enrich(delivery)

    assert mps.kinds == [kind]


def test_the_kind_of_a_known_job_is_asked_for_whatever_its_callback_says(
    store: SqlStore, mps: Outputs
) -> None:
    store.add_job(a_job(job_id="job", kind="MediaInfo", function=""))
    (delivery,) = claimed(store, done(type="Snapshot"))
    an_enricher(store, mps).enrich(delivery)

    assert mps.kinds == ["MediaInfo"]


def test_why_a_job_failed_is_fetched(store: SqlStore) -> None:
    class Reason(MemoryMps):
        def query(self, job_id: str, *, kind: JobKind = IPRODUCTION) -> Answer:
            return Answer(result=done(state="Fail", outputs='{"Code":"Bad"}', output="oss://b.oss-x/y"))

    (delivery,) = claimed(store, done(state="Fail"))
    result = an_enricher(store, Reason()).enrich(delivery).result
    row = the_row(store, results)

    assert (result.outputs, result.output) == (row["outputs"], row["output"])
    assert (result.outputs, result.output) == ('{"Code":"Bad"}', "oss://b.oss-x/y")


def test_a_query_that_is_not_permitted_for_one_kind_holds_up_no_other_kind(store: SqlStore) -> None:
    class OnlyOne(Outputs):
        def query(self, job_id: str, *, kind: JobKind = IPRODUCTION) -> Answer:
            if kind is not IPRODUCTION:
                raise MpsUnavailable("denied", kind=FailureKind.DENIED)
            return super().query(job_id, kind=kind)

    denied, permitted = claimed(store, done(type="Transcode"), done(job_id="other"))
    enricher = an_enricher(store, OnlyOne(other="Success"))
    with freeze_time(), pytest.raises(Unavailable, match="denied"):
        enricher.enrich(denied)

    assert enricher.enrich(permitted).result.outputs == OUTPUTS


@pytest.mark.parametrize(
    "recorded",
    [
        pytest.param(done(type="Subtitle"), id="unknown-type"),
        pytest.param(done(state="Cancelled"), id="cancelled"),
        pytest.param(done(outputs="{}"), id="known-already"),
        pytest.param(a_result(job_id="", run_id="run", type="Report"), id="workflow"),
    ],
)
def test_mps_is_not_queried_where_there_is_nothing_to_ask(
    store: SqlStore, mps: Outputs, recorded: Result
) -> None:
    (delivery,) = claimed(store, recorded)

    assert an_enricher(store, mps).enrich(delivery) == delivery
    assert mps.asked == []


def test_without_mps_deliveries_go_as_they_are(store: SqlStore) -> None:
    (delivery,) = claimed(store, done())

    assert an_enricher(store, None).enrich(delivery) == delivery


def test_outputs_that_mps_refuses_to_return_are_empty_and_not_queried_again(store: SqlStore) -> None:
    mps = MemoryMps()
    deliveries = claimed(store, done(), handlers=("one", "two"))
    enricher = an_enricher(store, mps)

    assert [enricher.enrich(delivery).result.outputs for delivery in deliveries] == ["", ""]
    assert mps.asked == ["job"]


def test_outputs_that_cannot_be_read_are_flagged_and_block_nothing(store: SqlStore, mps: Outputs) -> None:
    mps.text = "{{{no JSON"
    (delivery,) = claimed(store, done())
    made = job_result(an_enricher(store, mps).enrich(delivery)).outputs

    assert made is not None
    assert (made.malformed, bool(made.problems), made.raw) == (True, True, "{{{no JSON")


@pytest.mark.parametrize("malformed", [False, True])
@pytest.mark.parametrize("function", FUNCTION_NAMES)
def test_the_outputs_of_every_function_reach_the_handler_typed(
    store: SqlStore, mps: Outputs, function: str, malformed: bool
) -> None:
    job = a_job(job_id="job", function=function)
    store.add_job(job)
    work = Work(function=function, input=job.input, output=job.output, params={}, timestamp=1)
    mps.text = result(work, malformed=malformed)
    (delivery,) = claimed(store, done(function=function))
    made = job_result(an_enricher(store, mps).enrich(delivery)).outputs

    assert made is not None
    assert (made.code, made.problems) == ("Success", ())
    found = [made.files, made.inline, made.covers, made.segments, made.splits, made.details]
    assert any(found) == (function not in EMPTY)
    assert all(file.bucket == "out-bucket" for file in made.files)


#: Their documented results hold nothing.
EMPTY = {"VideoH2V", "VideoDelogo", "ImageH2V", "ImageDelogo", "VideoDetext"}


def test_an_outage_delays_without_spending_an_attempt_until_max_wait_is_over(
    store: SqlStore, mps: Outputs
) -> None:
    with freeze_time() as time:
        mps.away = True
        (delivery,) = claimed(store, done())
        enricher = an_enricher(store, mps)
        with pytest.raises(Unavailable, match="not available yet") as caught:
            enricher.enrich(delivery)
        assert caught.value.counts is False

        time.tick(MAX_WAIT)
        assert enricher.enrich(delivery) == delivery  # without, rather than never
        assert the_row(store, results)["outputs"] is None


@pytest.mark.parametrize("clock_check", [UNKNOWN, WRONG], ids=["unconfirmed", "wrong"])
def test_a_jump_of_the_clock_does_not_end_the_wait_for_outputs(
    store: SqlStore, mps: Outputs, clock_check: AgeCheck
) -> None:
    with freeze_time() as time:
        mps.away = True
        (delivery,) = claimed(store, done())
        time.tick(timedelta(days=31))

        with pytest.raises(Unavailable, match="not available yet"):
            an_enricher(store, mps, clock_check=clock_check).enrich(delivery)


def test_a_success_that_is_not_final_at_mps_waits_until_max_wait_is_over(store: SqlStore) -> None:
    with freeze_time() as time:
        mps = Outputs(job="Analysing")
        (delivery,) = claimed(store, done())
        enricher = an_enricher(store, mps)
        with pytest.raises(
            Unavailable, match="not available yet: MPS reports the state 'Analysing'"
        ) as caught:
            enricher.enrich(delivery)
        assert caught.value.counts is False
        assert the_row(store, results)["outputs"] is None

        time.tick(MAX_WAIT - timedelta(seconds=1))
        mps.states = {"job": "Success"}
        assert enricher.enrich(delivery).result.outputs == OUTPUTS


def test_a_success_that_never_becomes_final_at_mps_is_delivered_without_outputs(store: SqlStore) -> None:
    with freeze_time() as time:
        (delivery,) = claimed(store, done())
        time.tick(MAX_WAIT)

        assert an_enricher(store, Outputs(job="Analysing")).enrich(delivery) == delivery
        assert the_row(store, results)["outputs"] is None


def test_a_success_that_mps_contradicts_has_no_outputs_and_is_logged(store: SqlStore) -> None:
    (delivery,) = claimed(store, done())
    with capture_logs() as logs:
        enriched = an_enricher(store, MemoryMps(job="Fail")).enrich(delivery)

    assert enriched.result.outputs == ""
    assert [(each["event"], each["mps_state"]) for each in logs] == [("outputs.contradiction", "Fail")]


def test_while_mps_is_away_one_call_now_and_then_finds_out(store: SqlStore, mps: Outputs) -> None:
    with freeze_time() as time:
        mps.away = True
        successes = [done(job_id=f"job-{number}") for number in range(50)]
        deliveries = claimed(store, *successes)
        enricher = an_enricher(store, mps)
        for _ in range(60):
            refused(enricher, deliveries)
            time.tick(timedelta(seconds=1))
        assert 4 <= len(mps.asked) <= 8  # not 3,000: pauses of 1, 2, 4, 8, 16 and then 30 seconds

        mps.away = False
        mps.states = {each.job_id: "Success" for each in successes}
        time.tick(ENRICH_BACKOFF.maximum)
        assert {enricher.enrich(delivery).result.outputs for delivery in deliveries} == {OUTPUTS}
        assert ENRICH_BACKOFF.initial < ENRICH_BACKOFF.maximum


def refused(enricher: Enricher, deliveries: Sequence[Delivery]) -> None:
    for delivery in deliveries:
        with pytest.raises(Unavailable):
            enricher.enrich(delivery)


def test_a_question_that_failed_is_asked_anew_by_the_next_attempt(store: SqlStore, mps: Outputs) -> None:
    with freeze_time() as time:
        mps.away = True
        (delivery,) = claimed(store, done())
        enricher = an_enricher(store, mps)
        refused(enricher, [delivery])
        mps.away = False
        time.tick(ENRICH_BACKOFF.initial)

        assert enricher.enrich(delivery).result.outputs == OUTPUTS
