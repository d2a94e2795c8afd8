"""From an empty account to the first callback, with the real program, and Ctrl-C on the way there."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.core.job_kinds import JOB_KINDS, WORKFLOW
from listener.core.model import ResultStatus
from listener.emulator import DEFAULT_PIPELINE_ID, Emulator, Fault, FaultKind, Options
from listener.emulator.mns.queue import Attributes
from listener.emulator.server import running
from listener.formats.setup_message import setup_message
from tests.support.emulated_jobs import add_workflow, start_run, submit_job
from tests.support.emulator_clients import BareMps
from tests.support.program import QUEUE, Place, Program
from tests.support.terminal import run_at_terminal
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

INPUT = "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4"
OUTPUT = "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}.mp4"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An account without queues, and a folder without settings."""
    with running(Options(job_seconds=0.01)) as server:
        here = Place(tmp_path, server)
        try:
            yield here
        finally:
            here.close()


def setup_arguments(place: Place, *more: str) -> list[str]:
    url = place.server.url
    where = [
        "--region",
        "cn-shanghai",
        "--account",
        "1234567890",
        "--mns-endpoint",
        url,
        "--mps-endpoint",
        url,
    ]
    return ["setup", *where, *more]


def wait_for_result(daemon: Program, job_id: str) -> None:
    wait_until(lambda: job_id in [line["job_id"] for line in daemon.logs("result.received")])


def test_from_an_empty_account_to_the_first_handled_callback(place: Place) -> None:
    set_up = place.start(*setup_arguments(place, "--new-pipeline", "transcode", "--json"))
    assert set_up.wait() == 0, set_up.stderr
    pipeline = json.loads(set_up.stdout)["pipeline_id"]
    checked = place.start("check", http__listen="")
    assert (checked.wait(), checked.stderr) == (0, "")

    daemon = place.start("run", "-c", str(place.folder / "listener.toml"), http__listen="").ready()
    for more in (
        [],
        ["--pipeline", pipeline, "--notify-url", ""],
    ):  # called back through NotifyUrl, then the pipeline
        submitted = place.start(
            "submit", "VideoH2V", "--input", INPUT, "--output", OUTPUT, "--wait", "--json", *more
        )
        assert submitted.wait() == 0, submitted.stderr
        job_id = json.loads(submitted.stdout)["job_id"]
        wait_for_result(daemon, job_id)

    assert daemon.stop() == 0
    assert [line["state"] for line in daemon.logs("result.received")] == ["Success", "Success"]


def test_from_an_empty_account_to_a_handled_callback_of_each_kind(place: Place) -> None:
    set_up = place.start(*setup_arguments(place, "--new-pipeline", "transcode", "--json"))
    assert set_up.wait() == 0, set_up.stderr
    pipeline = json.loads(set_up.stdout)["pipeline_id"]
    assert place.start("check", http__listen="").wait() == 0
    daemon = place.start("run", "-c", str(place.folder / "listener.toml"), http__listen="").ready()
    mps = BareMps(place.server.url)
    with mps.http:
        kinds = [kind for kind in JOB_KINDS if kind is not WORKFLOW]
        ids = [submit_job(mps, kind, PipelineId=pipeline) for kind in kinds]
        run_id = start_run(mps, add_workflow(mps, "Snapshot-1", queue=QUEUE))
    for job_id in ids:
        wait_for_result(daemon, job_id)
    wait_until(lambda: run_id in [line.get("run_id") for line in daemon.logs("result.received")])

    assert daemon.stop() == 0
    found = {line.get("job_id"): line for line in daemon.logs("result.received")}
    assert {found[job_id]["state"] for job_id in ids} == {"Success"}


def test_a_daemon_calls_no_handler_for_a_test_message_and_says_that_it_came(place: Place) -> None:
    place.server.call(lambda emulator: emulator.mns.create(QUEUE, Attributes()))
    place.settings()
    daemon = place.run(correlation__unknown="deliver").ready()
    place.send_raw(setup_message("token"))
    place.send("j1")
    wait_until(lambda: len(place.lines()) == 1)

    assert daemon.stop() == 0
    assert [line["job_id"] for line in place.lines()] == ["j1"]
    (dropped,) = place.queries(lambda queries: queries.results(status=ResultStatus.DROPPED))
    assert dropped.result.type == "mns-listener-setup"


def test_ctrl_c_says_what_was_done_and_the_next_run_goes_on(place: Place) -> None:
    stall = Fault(kind=FaultKind.STALL, operation="AddPipeline", count=1)
    place.server.call(lambda emulator: emulator.faults.add([stall]))
    interrupted = place.start(*setup_arguments(place, "--new-pipeline", "transcode"))
    wait_until(lambda: place.happened("stall") > 0)
    interrupted.send(signal.SIGINT)

    assert interrupted.wait() == 130
    assert f"queue {QUEUE}: created" in interrupted.stderr
    assert not (place.folder / "listener.toml").exists()

    again = place.start(*setup_arguments(place, "--new-pipeline", "transcode", "--json"))
    assert again.wait() == 0, again.stderr
    answer = {step["name"].split()[0]: step["status"] for step in json.loads(again.stdout)["steps"]}
    assert (answer["queue"], answer["settings"]) == ("unchanged", "created")


@pytest.mark.fresh_interpreter
@pytest.mark.parametrize(("typed", "status", "delay"), [("y\n", "changed", 0), ("n\n", "differs", 3)])
def test_a_terminal_is_asked_before_a_queue_is_changed(
    place: Place, typed: str, status: str, delay: int
) -> None:
    place.server.call(lambda emulator: emulator.mns.create(QUEUE, Attributes(delay_seconds=3)))
    code, displayed = run_at_terminal(*setup_arguments(place), folder=place.folder, typed=typed)

    assert code == 0
    assert "Change it?" in displayed
    assert status in displayed
    assert place.server.call(lambda emulator: emulator.mns.queues[QUEUE].attributes.delay_seconds) == delay


@pytest.mark.fresh_interpreter
def test_a_terminal_is_asked_before_a_pipeline_is_taken_away(place: Place) -> None:
    def bind(emulator: Emulator) -> None:
        emulator.engine.pipelines[DEFAULT_PIPELINE_ID].notify = {"QueueName": "other"}

    place.server.call(bind)
    arguments = setup_arguments(place, "--pipeline", DEFAULT_PIPELINE_ID)
    refused, displayed = run_at_terminal(*arguments, folder=place.folder, typed="n\n")
    assert (refused, "queue other, which would get no more" in " ".join(displayed.split())) == (2, True)

    assert run_at_terminal(*arguments, folder=place.folder, typed="y\n")[0] == 0
    notify = place.server.call(lambda emulator: emulator.engine.pipelines[DEFAULT_PIPELINE_ID].notify)
    assert notify == {"QueueName": QUEUE}
