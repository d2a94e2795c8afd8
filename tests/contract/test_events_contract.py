"""Events of IMS and VOD: each is delivered once, and those about a whole job end it; the same on every database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from listener.core.model import FAIL, SUCCESS, JobState, RecordKind, RecordSummary, ResultStatus
from listener.formats.callback import decode
from listener.rules.routing import Correlation, Match, Rule, decider
from listener.rules.verification import Verification, VerifyPolicy
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, TOKEN, a_decoded_message, a_job
from tests.support.event_samples import a_vod_event, an_ims_event
from tests.support.stores import count, deliveries, results, the_job

LATER = NOON + timedelta(hours=1)
RULES = (
    Rule(name="begun", match=Match(state="Running"), handlers=("log",)),
    Rule(name="all", handlers=("log",)),
)
#: A job of IMS, registered by its id.
REGISTERED: dict[str, Any] = {"job_id": "j", "function": "", "input": "", "output": "", "params": ""}
STREAM = {"VideoId": "v", "JobId": "j"}


def record(
    store: SqlStore, *bodies: str, correlation: Correlation | None = None, wait_over: bool = True
) -> RecordSummary:
    decide = decider(RULES, correlation or Correlation(), now=NOON, wait_over=wait_over)
    return store.record([a_decoded_message(result=decode(body)) for body in bodies], decide, at=LATER)


def test_all_events_of_one_job_or_medium_are_delivered_and_their_copies_are_not(store: SqlStore) -> None:
    events = [
        a_vod_event("StreamTranscodeComplete", **STREAM, Definition="LD"),
        a_vod_event("StreamTranscodeComplete", **STREAM, Definition="HD"),
        a_vod_event("StreamTranscodeComplete", **STREAM, Definition="HD", Status="fail", ErrorCode="E"),
        a_vod_event("StreamTranscodeComplete", **STREAM, Definition="HD", time="2024-07-26T09:21:36Z"),
        a_vod_event("TranscodeComplete", **STREAM),
        a_vod_event("SnapshotComplete", VideoId="v"),
        a_vod_event("SnapshotComplete", VideoId="v", time="2024-07-26T09:21:36Z"),
        a_vod_event("LiveRecordVideoComposeStart", VideoId="v"),
        an_ims_event("MediaConvertOutputComplete", JobId="j"),
        an_ims_event("MediaConvertComplete", JobId="j"),
    ]

    first, again = record(store, *events), record(store, *events)

    assert (first.new, first.deliveries, first.contradictions) == (len(events), len(events), 0)
    assert again.kinds == {RecordKind.DUPLICATE: len(events)}
    assert count(store, results) == count(store, deliveries) == len(events)


def test_an_event_about_the_whole_job_ends_it_and_one_about_a_part_does_not(store: SqlStore) -> None:
    store.add_job(a_job(**REGISTERED))

    record(store, an_ims_event("MediaConvertOutputComplete", JobId="j", Status="Failed"))
    assert the_job(store, TOKEN).state == JobState.SUBMITTED
    record(
        store,
        an_ims_event("MediaConvertComplete", JobId="j", Status="Failed", ErrorCode="E", ErrorMessage="m"),
    )
    record(store, an_ims_event("MediaConvertComplete", JobId="j", time="2024-07-26T09:21:36Z"))

    job = the_job(store, TOKEN)
    assert (job.state, job.error) == (FAIL, "E: m")
    assert count(store, deliveries) == 3


def test_an_event_that_came_before_its_job_was_registered_ends_it(store: SqlStore) -> None:
    record(
        store,
        an_ims_event("MediaConvertOutputComplete", JobId="j", Status="Failed"),
        an_ims_event("MediaConvertComplete", JobId="j"),
        an_ims_event("MediaConvertComplete", JobId="j", Status="Failed", time="2024-07-26T09:21:36Z"),
    )

    store.add_job(a_job(**REGISTERED))

    assert the_job(store, TOKEN).state == SUCCESS


FORGED = an_ims_event("ForgedComplete", JobId="j", UserData="forged")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="submitted-here"),
        pytest.param({"params": ""}, id="function-known"),
        pytest.param({"params": "", "function": "", "kind": "Transcode"}, id="kind-known"),
        pytest.param({"params": "", "function": "", "kind": "NewKind"}, id="kind-of-a-newer-release"),
    ],
)
@pytest.mark.parametrize("early", [False, True], ids=["after-the-job", "before-the-job"])
def test_no_event_ends_a_job_of_mps_or_is_taken_for_its_callback(
    store: SqlStore, fields: dict[str, Any], early: bool
) -> None:
    """It would get past the verification of callbacks."""
    verification = Verification(policy=VerifyPolicy.KNOWN, tenants=frozenset({""}))
    correlation = Correlation(verification=verification)
    job = a_job(**{"job_id": "j", "user_data": "mine"} | fields)
    if early:
        record(store, FORGED, correlation=correlation)
    store.add_job(job)
    if not early:
        record(store, FORGED, correlation=correlation)

    assert the_job(store, TOKEN).state == JobState.SUBMITTED
    assert count(store, results, results.c.job.is_not(None)) == 0


def test_an_event_of_a_part_is_delivered_though_its_job_was_reported_lost(store: SqlStore) -> None:
    store.add_job(a_job(**REGISTERED | {"state": JobState.LOST, "finished_at": NOON}))

    summary = record(
        store,
        an_ims_event("MediaConvertOutputComplete", JobId="j"),
        an_ims_event("MediaConvertComplete", JobId="j"),
    )

    assert summary.kinds == {RecordKind.ROUTED: 1, RecordKind.CONTRADICTION: 1}


@pytest.mark.parametrize(
    ("unknown", "status"),
    [
        ("deliver", ResultStatus.ROUTED),
        ("drop", ResultStatus.DROPPED),
        ("dead-letter", ResultStatus.REFUSED),
    ],
)
def test_an_event_about_a_medium_waits_for_no_job(
    store: SqlStore, unknown: str, status: ResultStatus
) -> None:
    correlation = Correlation(unknown=unknown, wait=timedelta(hours=1))

    of_medium = record(
        store, a_vod_event("SnapshotComplete", VideoId="v"), correlation=correlation, wait_over=False
    )
    of_job = record(
        store, an_ims_event("MediaConvertComplete", JobId="k"), correlation=correlation, wait_over=False
    )

    assert of_medium.kinds == {RecordKind(status): 1}
    assert of_job.kinds == {RecordKind.WAITING: 1}


def test_the_events_of_a_medium_are_found_by_its_id(store: SqlStore) -> None:
    record(
        store,
        a_vod_event("StreamTranscodeComplete", **STREAM),
        a_vod_event("TranscodeComplete", VideoId="v"),
        a_vod_event("TranscodeComplete", VideoId="w"),
    )

    history = Queries(store.database).history("v")

    assert history is not None
    assert [stored.result.type for stored in history.results] == [
        "StreamTranscodeComplete",
        "TranscodeComplete",
    ]
    assert len(history.deliveries) == 2
