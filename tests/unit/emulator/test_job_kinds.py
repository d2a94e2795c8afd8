"""The promises that the emulator keeps for every kind of MPS jobs: calls, states, queries, callbacks and faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

import pytest

from listener.core.job_kinds import JobKind
from listener.core.model import Result
from listener.emulator import Emulator, Options
from listener.emulator.faults import Fault, FaultKind
from listener.emulator.mps.jobs import BAD_CONTENT, BAD_CONTENT_TEXT, EmulatedJob, EmulatedKind
from listener.emulator.mps.kinds import EMULATED_KINDS
from listener.emulator.mps.kinds.workflow import WORKFLOW
from listener.emulator.server import RunningEmulator, running
from tests.support.clocks import freeze_time
from tests.support.emulated_jobs import (
    USER_DATA,
    bind_pipeline,
    call_sdk,
    done,
    job_ids,
    parameters_of,
    query_job,
    received,
    submit_job,
)
from tests.support.emulator_clients import BareMns, BareMps, code, mps_client
from tests.support.waiting import wait_until

UNKNOWN = "0" * 32
#: Those that one call submits; runs of workflows have tests of their own.
KINDS = {kind.api.name: kind for kind in EMULATED_KINDS if kind is not WORKFLOW}
LISTED = [kind for kind in KINDS.values() if kind.api.entries]
by_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
by_listed_kind = pytest.mark.parametrize("kind", LISTED, ids=[kind.api.name for kind in LISTED])
by_signature = pytest.mark.parametrize("algorithm", [None, "v2"], ids=["acs3", "rpc-v1"])


@pytest.fixture(autouse=True)
def bound(bare: BareMns, mps: BareMps) -> None:
    """The default pipeline calls back to the queue ``q``."""
    bind_pipeline(mps)


def outcome(server: RunningEmulator, kind: EmulatedKind) -> Result:
    """The last callback of the only job."""
    *earlier, last = received(server.url, 1 + kind.reports_start)
    assert [result.state for result in earlier] == [kind.states.running] * kind.reports_start
    return last


def user_data_of(job: Mapping[str, Any], api: JobKind) -> str:
    found: Any = job
    for name in api.user_data:
        found = found[name]
    return str(found)


@by_signature
@by_kind
def test_official_sdk_submits_and_queries(
    server: RunningEmulator, mps: BareMps, kind: EmulatedKind, algorithm: str | None
) -> None:
    client = mps_client(server.port, algorithm)
    (job_id,) = job_ids(call_sdk(client, kind.api.submitted_by, parameters_of(kind.api)))
    result = outcome(server, kind)
    reply = call_sdk(client, kind.api.queried_by, {kind.api.ids: job_id})
    job = query_job(mps, kind.api, job_id)

    assert (result.type, result.job_id, result.state) == (kind.api.name, job_id, "Success")
    assert result.user_data == USER_DATA
    assert (job[kind.api.state], user_data_of(job, kind.api)) == (kind.states.success, USER_DATA)
    # The model of the SDK has kept everything, so it knows all members.
    raw = done(mps.call(kind.api.queried_by, **{kind.api.ids: job_id}))
    assert {**reply, "RequestId": ""} == {**raw, "RequestId": ""}


@by_kind
def test_xml_has_the_same_members(server: RunningEmulator, mps: BareMps, kind: EmulatedKind) -> None:
    submitted = mps.call(kind.api.submitted_by, Format="XML", **parameters_of(kind.api))
    result = outcome(server, kind)
    queried = mps.call(kind.api.queried_by, Format="XML", **{kind.api.ids: result.job_id})

    assert ElementTree.fromstring(submitted.content).tag == f"{kind.api.submitted_by}Response"
    root = ElementTree.fromstring(queried.content)
    assert root.tag == f"{kind.api.queried_by}Response"
    path = "/".join([*kind.api.entries, kind.api.state])
    assert [element.text for element in root.findall(path)] == [kind.states.success]


@by_listed_kind
def test_unknown_ids_are_listed_apart(mps: BareMps, kind: EmulatedKind) -> None:
    known = submit_job(mps, kind.api)
    reply = done(mps.call(kind.api.queried_by, **{kind.api.ids: f"{known},{UNKNOWN},{known}"}))
    outer, inner = kind.api.entries

    assert [job[kind.api.id] for job in reply[outer][inner]] == [known]
    assert reply[kind.missing[0]] == {kind.missing[1]: [UNKNOWN]}
    assert kind.missing[0] not in done(mps.call(kind.api.queried_by, **{kind.api.ids: known}))


@by_kind
def test_job_of_another_kind_is_unknown(mps: BareMps, kind: EmulatedKind) -> None:
    other = KINDS["MediaInfo" if kind.api.name == "Transcode" else "Transcode"]
    response = mps.call(kind.api.queried_by, **{kind.api.ids: submit_job(mps, other.api)})

    if kind.api.entries:
        assert kind.missing[0] in done(response)
    else:
        assert code(response) == (404, "InvalidParameter.ResourceNotFound")


@by_listed_kind
def test_more_ids_than_a_query_takes_are_refused(mps: BareMps, kind: EmulatedKind) -> None:
    ids = [f"{number:032x}" for number in range(kind.api.ids_per_query + 1)]
    within, beyond = (
        mps.call(kind.api.queried_by, **{kind.api.ids: ",".join(some)}) for some in (ids[:-1], ids)
    )

    assert done(within)[kind.missing[0]] == {kind.missing[1]: ids[:-1]}
    assert code(beyond) == (400, "InvalidParameter.OutOfRange")


@by_listed_kind
def test_query_without_ids_lists_all_jobs_or_is_refused(mps: BareMps, kind: EmulatedKind) -> None:
    response = mps.call(kind.api.queried_by)

    if not kind.lists_all:
        assert code(response) == (400, "InvalidParameter")
        return
    jobs = [submit_job(mps, kind.api) for _ in range(3)]
    outer, inner = kind.api.entries
    first = done(mps.call(kind.api.queried_by, MaximumPageSize="2"))
    second = done(mps.call(kind.api.queried_by, MaximumPageSize="2", NextPageToken=first["NextPageToken"]))
    assert [job[kind.api.id] for page in (first, second) for job in page[outer][inner]] == jobs
    assert "NextPageToken" not in second
    assert done(mps.call(kind.api.queried_by, State="Nonsense"))[outer][inner] == []


class Lookups(dict[str, EmulatedJob]):
    """Jobs that can be found by their ids, but not read one after the other."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all jobs are read")

    def values(self) -> Any:
        raise AssertionError("all jobs are read")

    def items(self) -> Any:
        raise AssertionError("all jobs are read")


@by_kind
def test_query_for_one_job_does_not_read_them_all(
    server: RunningEmulator, mps: BareMps, kind: EmulatedKind
) -> None:
    job_id = submit_job(mps, kind.api)
    outcome(server, kind)

    kept = server.call(lambda emulator: emulator.engine.jobs)
    server.call(lambda emulator: setattr(emulator.engine, "jobs", Lookups(kept)))
    try:
        assert query_job(mps, kind.api, job_id)[kind.api.state] == kind.states.success
    finally:
        server.call(lambda emulator: setattr(emulator.engine, "jobs", kept))


@by_kind
def test_job_named_to_fail_says_why(server: RunningEmulator, mps: BareMps, kind: EmulatedKind) -> None:
    job_id = submit_job(mps, kind.api, key="please-fail.mp4")
    result = outcome(server, kind)
    job = query_job(mps, kind.api, job_id)

    assert (result.job_id, result.state, job[kind.api.state]) == (job_id, "Fail", kind.states.fail)
    assert BAD_CONTENT_TEXT in str(job)
    if kind.api.name == "smarttag":  # neither has a code, and its callback no message
        assert (result.code, result.message) == ("", "")
    else:
        assert BAD_CONTENT in str(job)
        assert (result.code, result.message) == (BAD_CONTENT, BAD_CONTENT_TEXT)


@by_kind
def test_job_goes_through_the_states_of_its_kind(
    server: RunningEmulator, mps: BareMps, kind: EmulatedKind
) -> None:
    job_id = submit_job(mps, kind.api)
    outcome(server, kind)

    job = server.call(Emulator.state)["jobs"][job_id]
    assert job["kind"] == kind.api.name
    assert job["history"] == list(
        dict.fromkeys([kind.states.waiting, kind.states.running, kind.states.success])
    )


@by_kind
def test_forgotten_job_is_called_back_but_not_found(kind: EmulatedKind) -> None:
    with running(Options(unknown_rate=1, job_seconds=0, queues=("q",))) as server:
        mps = BareMps(server.url)
        with mps.http:
            bind_pipeline(mps)
            job_id = submit_job(mps, kind.api)
            result = outcome(server, kind)
            response = mps.call(kind.api.queried_by, **{kind.api.ids: job_id})

    assert result.job_id == job_id
    if kind.api.entries:
        assert done(response)[kind.missing[0]] == {kind.missing[1]: [job_id]}
    else:
        assert code(response) == (404, "InvalidParameter.ResourceNotFound")


@by_kind
def test_rate_of_lost_callbacks_loses_them(kind: EmulatedKind) -> None:
    with running(Options(lost_rate=1, job_seconds=0, queues=("q",))) as server:
        mps = BareMps(server.url)
        with mps.http:
            bind_pipeline(mps)
            submit_job(mps, kind.api)
            wait_until(
                lambda: (
                    server.call(lambda emulator: emulator.sender.deliveries.dropped) == 1 + kind.reports_start
                )
            )

            assert server.call(Emulator.state)["callbacks"]["sent"] == 0


@by_kind
def test_kind_may_take_a_time_of_its_own(kind: EmulatedKind) -> None:
    name = "VideoClip" if kind.api.name == "IProduction" else kind.api.name
    options = Options(job_seconds=60, durations={name: 5.0})
    with (
        freeze_time() as clock,
        running(options) as server,
    ):
        mps = BareMps(server.url)
        with mps.http:
            job_id = submit_job(mps, kind.api)
            server.call(Emulator.wake)
            before = query_job(mps, kind.api, job_id)[kind.api.state]
            clock.tick(5)
            after = query_job(mps, kind.api, job_id)[kind.api.state]

    assert (before, after) == (kind.states.running, kind.states.success)


@by_kind
def test_faults_may_choose_submissions_and_callbacks_of_one_kind(
    server: RunningEmulator, mps: BareMps, kind: EmulatedKind
) -> None:
    function = "VideoClip" if kind.api.name == "IProduction" else kind.api.name
    faults = [
        Fault(kind=FaultKind.THROTTLE, function=function, count=1),
        Fault(kind=FaultKind.DUPLICATE, function=function),
        Fault(kind=FaultKind.DROP, function="another"),
    ]
    server.call(lambda emulator: emulator.faults.add(faults))

    assert code(mps.call(kind.api.submitted_by, **parameters_of(kind.api))) == (400, "Throttling.User")
    job_id = submit_job(mps, kind.api)
    copies = 2 + 2 * kind.reports_start
    assert [result.job_id for result in received(server.url, copies)] == [job_id] * copies


@by_kind
def test_job_may_end_before_its_submission_is_answered(
    server: RunningEmulator, mps: BareMps, kind: EmulatedKind
) -> None:
    server.call(lambda emulator: emulator.faults.add([Fault(kind=FaultKind.EARLY, seconds=0)]))
    job_id = submit_job(mps, kind.api)

    assert server.call(lambda emulator: emulator.engine.jobs[job_id].over)
    assert server.call(lambda emulator: [row["happened"] for row in emulator.faults.report()]) == [1]
