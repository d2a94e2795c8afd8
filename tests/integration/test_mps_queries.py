"""What the listener reads from the emulator's answers about jobs of every kind, and that callbacks say the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from listener.aliyun.credentials import AccessKey, Credentials
from listener.aliyun.mps_client import MpsClient
from listener.core.errors import MpsRejected
from listener.core.job_kinds import JOB_KINDS, WORKFLOW, JobKind
from listener.core.model import FAIL, SUCCESS, TERMINAL_STATES
from listener.emulator import Options
from listener.emulator.server import RunningEmulator, running
from listener.settings.sections import MpsSettings
from tests.support.emulated_jobs import (
    FILE_URL,
    USER_DATA,
    add_workflow,
    bind_pipeline,
    received,
    start_run,
    submit_job,
)
from tests.support.emulator_clients import KEY, SECRET, BareMps

UNKNOWN = "0" * 32
KINDS = [kind for kind in JOB_KINDS if kind is not WORKFLOW]
by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@pytest.fixture
def calls(server: RunningEmulator) -> Iterator[BareMps]:
    client = BareMps(server.url)
    with client.http:
        server.call(lambda emulator: emulator.mns.create("callbacks"))
        bind_pipeline(client, "callbacks")
        yield client


def client_of(url: str) -> MpsClient:
    return MpsClient(MpsSettings(endpoint=url), Credentials(lambda: AccessKey(KEY, SECRET)))


@by_kind
@pytest.mark.parametrize(("key", "state"), [("in/film.mp4", SUCCESS), ("in/fail.mp4", FAIL)])
def test_query_and_callback_agree(
    server: RunningEmulator, calls: BareMps, kind: JobKind, key: str, state: str
) -> None:
    job_id = submit_job(calls, kind, key=key)
    callbacks = received(server.url, 2 if kind.name == "smarttag" else 1, queue="callbacks")
    answer = client_of(server.url).query(job_id, kind=kind).result

    told = [
        (result.type, result.job_id, result.state, result.user_data) for result in (callbacks[-1], answer)
    ]
    assert told == [(kind.name, job_id, state, USER_DATA)] * 2


@by_kind
def test_job_that_is_running_is_not_over(kind: JobKind) -> None:
    with running(Options(job_seconds=3600)) as emulator:
        mps = BareMps(emulator.url)
        with mps.http:
            job_id = submit_job(mps, kind)
            answer = client_of(emulator.url).query(job_id, kind=kind).result

    assert answer.state
    assert answer.state not in TERMINAL_STATES


@by_kind
def test_unknown_job_has_no_answer(server: RunningEmulator, calls: BareMps, kind: JobKind) -> None:
    known = submit_job(calls, kind)
    client = client_of(server.url)

    if kind.ids_per_query > 1:
        assert list(client.query_all([UNKNOWN, known], kind=kind)) == [known]
    with pytest.raises(MpsRejected) as refusal:
        client.query(UNKNOWN, kind=kind)
    assert refusal.value.code == "InvalidParameter.ResourceNotFound"


@pytest.mark.parametrize(("url", "state"), [(FILE_URL, SUCCESS), (FILE_URL.replace("film", "fail"), FAIL)])
def test_query_for_a_run_agrees_with_its_report(
    server: RunningEmulator, calls: BareMps, url: str, state: str
) -> None:
    workflow_id = add_workflow(calls, "Transcode-1", queue="callbacks")
    run_id = start_run(calls, workflow_id, FileURL=url, MediaWorkflowUserData=USER_DATA)
    _, report = received(server.url, 2, queue="callbacks")
    answer = client_of(server.url).query(run_id, kind=WORKFLOW).result

    told = [(result.type, result.run_id, result.state, result.user_data) for result in (report, answer)]
    assert told == [("Report", run_id, state, USER_DATA)] * 2
