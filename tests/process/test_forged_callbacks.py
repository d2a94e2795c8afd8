"""What forged callbacks can do: the real program, an MPS with the true states, and whoever can send to the queue."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from listener.client import Client
from listener.core.model import Job, JobState
from listener.emulator import Emulator, Fault, FaultKind, Options
from listener.emulator.server import running
from listener.jobs.request import JobRequest
from listener.settings.loader import settings_from
from tests.support.builders import ABSENT
from tests.support.program import NOTIFY_URL, QUEUE, Place
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

ROUTES = """\
[[routes]]
name = "evil"
enrich = false
match = {{ route = "evil" }}
handlers = [{{ use = "jsonl", path = "{folder}/evil.jsonl" }}]
[[routes]]
name = "all"
enrich = false
handlers = [{{ use = "jsonl", path = "{folder}/results.jsonl" }}]
"""
INPUT = "oss://in-bucket.oss-cn-shanghai.aliyuncs.com/{name}.mp4"
OUTPUT = "oss://out-bucket.oss-cn-shanghai.aliyuncs.com/talk.mp4"
#: MPS sends no callback of its own; jobs of this function run until they are told to end.
SLOW = "VideoDelogo"
#: Every run imports the SDK of MPS, which takes long on a busy machine.
SLOW_MACHINE = 180.0
POLICIES = ("never", "known", "always")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    options = Options(
        job_seconds=0.01,
        durations={SLOW: 86400},
        queues=(QUEUE,),
        seed=7,
        faults=(Fault(kind=FaultKind.DROP, service="callback"),),
    )
    with running(options) as server:
        here = Place(tmp_path, server)
        here.settings(ROUTES)
        try:
            yield here
        finally:
            here.close()


def submit(place: Place, function: str = "VideoH2V", *, name: str = "talk") -> Job:
    """A job at MPS, which is still running or has reached its true state: Fail if ``fail`` is in its name."""
    with Client(settings_from(place.folder / "listener.toml")) as client:
        job = client.submit(
            JobRequest(
                function=function,
                input=INPUT.format(name=name),
                output=OUTPUT,
                notify_url=NOTIFY_URL,
                user_data="good:1",
            )
        )
    if function != SLOW:
        wait_until(lambda: true_state(place, job) in ("Success", "Fail"))
    return job


def true_state(place: Place, job: Job) -> str:
    return place.server.call(lambda emulator: emulator.engine.jobs[job.job_id].state)


def end_job(place: Place, job: Job, state: str) -> None:
    def end(emulator: Emulator) -> None:
        emulator.engine.jobs[job.job_id].enter(state)

    place.server.call(end)


def drained(place: Place, policy: str, **settings: str) -> list[dict[str, Any]]:
    """What the handler got, after a daemon has consumed the queue with this setting of ``correlation.verify``."""
    assert place.run("--drain", correlation__verify=policy, **settings).wait(seconds=SLOW_MACHINE) == 0
    return place.lines()


def state_of(place: Place, job: Job) -> str:
    with place.store() as store:
        found = store.find_job(job.job_id)
    assert found is not None
    return found.state


def reasons(place: Place) -> list[str]:
    return [each.reason for each in place.quarantined()]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("name", "true", "forged"), [("fail", "Fail", "Success"), ("talk", "Success", "Fail")]
)
def test_a_forged_state_of_a_job_that_has_ended(
    place: Place, policy: str, name: str, true: str, forged: str
) -> None:
    job = submit(place, name=name)
    place.send(job.job_id, State=forged)
    (line,) = drained(place, policy)

    recorded = forged if policy == "never" else true
    assert (line["state"], line["key"], state_of(place, job)) == (
        recorded,
        f"{job.job_id}:{recorded}:all:jsonl",
        recorded,
    )

    place.send(job.job_id, State=true)  # the true callback is late
    assert drained(place, policy) == [line]
    (stored,) = place.queries(lambda queries: queries.results())
    assert (stored.copies, stored.contradictions) == (2, int(policy == "never"))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_forged_success_of_a_job_that_is_still_running(place: Place, policy: str) -> None:
    job = submit(place, SLOW)
    place.send(job.job_id, State="Success")
    lines = drained(place, policy, enrich__max_wait="1s")

    assert [line["state"] for line in lines] == (["Success"] if policy == "never" else [])
    assert [reason.split(":")[0] for reason in reasons(place)] == ([] if policy == "never" else ["verify"])

    end_job(place, job, "Fail")
    place.send(job.job_id, State="Fail")
    recorded = "Success" if policy == "never" else "Fail"
    assert [line["state"] for line in drained(place, policy)] == [recorded]
    assert state_of(place, job) == recorded


@pytest.mark.parametrize("policy", POLICIES)
def test_a_forged_callback_of_a_job_that_exists_nowhere(place: Place, policy: str) -> None:
    place.send("f" * 32)
    lines = drained(place, policy)

    assert len(lines) == (0 if policy == "always" else 1)
    assert [reason.split(":")[0] for reason in reasons(place)] == (["verify"] if policy == "always" else [])


@pytest.mark.parametrize("policy", POLICIES)
def test_forged_user_data_does_not_pick_the_route(place: Place, policy: str) -> None:
    job = submit(place)
    place.send(job.job_id, UserData="evil:1", FunctionName="Cover")
    (line,) = drained(place, policy)

    assert (line["user_data"], line["function"], line["route"]) == ("good:1", "VideoH2V", "all")
    assert place.lines("evil.jsonl") == []


@pytest.mark.parametrize("policy", POLICIES)
def test_a_forged_loss_is_quarantined(place: Place, policy: str) -> None:
    job = submit(place)
    place.send(job.job_id, State="Lost")

    assert drained(place, policy) == []
    assert ["Lost" in reason for reason in reasons(place)] == [True]
    assert state_of(place, job) == JobState.SUBMITTED


@pytest.mark.parametrize("policy", POLICIES)
def test_another_type_does_not_evade_verification(place: Place, policy: str) -> None:
    job = submit(place, name="fail")
    place.send(job.job_id, State="Success", Type="Transcode")
    (line,) = drained(place, policy)

    assert line["state"] == ("Success" if policy == "never" else "Fail")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("type_", ["Report", "Start"])
def test_a_job_id_in_place_of_a_run_id_does_not_evade_verification(
    place: Place, policy: str, type_: str
) -> None:
    job = submit(place, name="fail")
    state = "Success" if type_ == "Report" else "Fail"
    place.send(ABSENT, RunId=job.job_id, State=state, Type=type_)
    (line,) = drained(place, policy)

    believed = policy == "never"
    assert (line["job_id"], line["state"]) == (("", state) if believed else (job.job_id, "Fail"))

    place.send(job.job_id, State="Fail")  # the true callback
    lines = drained(place, policy)
    assert len(lines) == (2 if believed and type_ == "Start" else 1)


@pytest.mark.parametrize(
    ("policy", "user_data"),
    [
        pytest.param("never", ["good:1"], id="never"),
        pytest.param("known", [None], id="known"),
        pytest.param("always", [], id="always"),
    ],
)
def test_a_forged_report_that_lists_a_job_is_not_handled_with_its_data(
    place: Place, policy: str, user_data: list[str | None]
) -> None:
    job = submit(place, SLOW)
    activity = {"Name": "a", "Type": "Transcode", "JobId": job.job_id, "State": "Success"}
    run = {"RunId": "f" * 32, "State": "Completed", "ActivityList": [activity]}
    place.send(
        ABSENT, RunId="f" * 32, Type="Report", State="Success", UserData=ABSENT, MediaWorkflowExecution=run
    )
    lines = drained(place, policy)

    assert [line["user_data"] for line in lines] == user_data
    assert [line["input"] for line in lines] == [job.input if given else "" for given in user_data]
    assert state_of(place, job) == ("Success" if policy == "never" else "submitted")


def test_verifying_and_enriching_take_one_call_together(place: Place) -> None:
    place.settings(ROUTES.replace("enrich = false", ""))
    job = submit(place)
    place.send(job.job_id)
    (line,) = drained(place, "known")

    assert line["outputs"]["code"] == "Success"
    assert place.asked("QueryIProductionJob") == 1


def test_a_process_killed_while_it_asks_mps_is_replaced_and_the_truth_delivered_once(place: Place) -> None:
    job = submit(place, name="fail")
    stall = Fault(kind=FaultKind.STALL, service="mps", operation="QueryIProductionJob", count=1)
    place.server.call(lambda emulator: emulator.faults.add([stall]))
    place.send(job.job_id, State="Success")
    program = place.run(correlation__verify="known").ready()
    wait_until(lambda: place.happened("stall") == 1)
    program.kill()
    assert (place.lines(), state_of(place, job)) == ([], JobState.SUBMITTED)

    expire_claims(place)
    assert [(line["state"], line["attempt"]) for line in drained(place, "known")] == [("Fail", 1)]
    assert state_of(place, job) == JobState.FAIL


KILLED_AFTER_THE_COMMIT = """\
import os, signal
from listener.store.sql_store import SqlStore
believe = SqlStore.believe
def believe_and_die(*args, **options):
    believe(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
SqlStore.believe = believe_and_die
"""


def test_a_process_killed_between_the_outcome_and_its_handler_leaves_it_to_the_next(place: Place) -> None:
    job = submit(place, name="fail")
    place.send(job.job_id, State="Success")
    (place.folder / "sitecustomize.py").write_text(KILLED_AFTER_THE_COMMIT)
    program = place.run(correlation__verify="known", dispatch__lease="3s")
    assert program.wait(seconds=SLOW_MACHINE) == -signal.SIGKILL
    assert (place.lines(), state_of(place, job)) == ([], JobState.FAIL)

    (place.folder / "sitecustomize.py").unlink()
    lines = drained(place, "known", dispatch__lease="3s")

    assert [(line["state"], line["attempt"], line["key"]) for line in lines] == [
        ("Fail", 2, f"{job.job_id}:Fail:all:jsonl")
    ]
    assert place.asked("QueryIProductionJob") == 1


def expire_claims(place: Place) -> None:
    """As if the time had passed for which the killed process had claimed its callbacks."""
    from sqlalchemy import update

    from listener.store.tables import EPOCH, results

    with place.store() as store, store.database.write() as connection:
        assert connection.execute(update(results).values(wait_until=EPOCH)).rowcount == 1
