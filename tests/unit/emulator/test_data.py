"""With ``--data``, what the emulator has acknowledged is there after a crash.

A crash between two requests leaves the files as they are at that moment, so most tests copy them.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from listener.emulator import Emulator, Options
from listener.emulator.data_file import DataError, DataFile
from listener.emulator.mns.features import DeadLetterPolicy, QueueFeatures
from listener.emulator.server import running
from listener.emulator.testing import MnsEmulator, emulator
from tests.support.emulator_clients import BareMns, BareMps, elements
from tests.support.waiting import wait_until

Crash = Callable[[], MnsEmulator]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def first(tmp_path: Path, stack: ExitStack) -> MnsEmulator:
    return stack.enter_context(emulator(data=tmp_path / "data", seed=1, job_seconds=3600))


@pytest.fixture
def crash(tmp_path: Path, stack: ExitStack, first: MnsEmulator) -> Crash:
    """Start another emulator with the files that a crash of the first would leave."""

    def start() -> MnsEmulator:
        shutil.copytree(tmp_path / "data", tmp_path / "copy")
        return stack.enter_context(emulator(data=tmp_path / "copy", seed=1, job_seconds=3600))

    return start


@pytest.fixture
def mns(first: MnsEmulator, stack: ExitStack) -> BareMns:
    client = BareMns(first.endpoint)
    stack.enter_context(client.http)
    client.request("PUT", "/queues/q", "<Queue><VisibilityTimeout>600</VisibilityTimeout></Queue>")
    return client


@pytest.fixture
def mps(first: MnsEmulator, stack: ExitStack) -> BareMps:
    client = BareMps(first.endpoint)
    stack.enter_context(client.http)
    return client


def submit(mps: BareMps, first: MnsEmulator, **parameters: str) -> str:
    call = {"FunctionName": "Cover", "NotifyUrl": first.notify_url("q"), **parameters}
    return str(mps.call("SubmitIProductionJob", **call).json()["JobId"])


def test_messages_are_as_they_were(first: MnsEmulator, mns: BareMns, crash: Crash, stack: ExitStack) -> None:
    ids = [elements(mns.send("q", text))["MessageId"] for text in ("received", "deleted", "visible")]
    handles = [elements(mns.receive("q"))["ReceiptHandle"] for _ in range(2)]
    mns.request("DELETE", f"/queues/q/messages?ReceiptHandle={handles[1]}")
    mns.send("q", "delayed", DelaySeconds=60)

    second = crash()
    client = BareMns(second.endpoint)
    stack.enter_context(client.http)

    shown = [(each.body, each.state, each.dequeue_count) for each in second.messages("q")]
    assert shown == [("received", "received", 1), ("visible", "visible", 0), ("delayed", "delayed", 0)]
    assert [each.message_id for each in second.messages("q")][:2] == [ids[0], ids[2]]
    assert client.request("DELETE", f"/queues/q/messages?ReceiptHandle={handles[0]}").status_code == 204
    assert elements(client.request("GET", "/queues/q"))["VisibilityTimeout"] == "600"
    second.clock.advance(minutes=1)
    assert [elements(client.receive("q"))["MessageBody"] for _ in range(2)] == ["visible", "delayed"]


def test_a_queue_that_was_deleted_is_not_there_nor_are_its_messages(mns: BareMns, crash: Crash) -> None:
    mns.send("q", "x")
    mns.request("DELETE", "/queues/q")
    mns.request("PUT", "/queues/q")

    assert crash().messages("q") == []


def test_jobs_go_on_and_are_called_back(first: MnsEmulator, mns: BareMns, mps: BareMps, crash: Crash) -> None:
    running_job = submit(mps, first, UserData="early")
    first.clock.advance(minutes=59)
    finished = first.finish_job(submit(mps, first)).job_id
    for _ in range(12):
        submit(mps, first)

    second = crash()

    states = [job.state for job in second.jobs()]
    assert (second.job(running_job).state, second.job(finished).state) == ("Analysing", "Success")
    assert sorted(states).count("Queuing") == 4 - 1
    second.clock.advance(minutes=1)
    assert [each.callback()["JobId"] for each in second.messages("q")] == [finished, running_job]
    second.clock.advance(hours=2)
    assert {job.state for job in second.jobs()} == {"Success"}
    assert len(second.messages("q")) == 14


def test_the_parts_of_a_workflow_go_on(first: MnsEmulator, mns: BareMns, mps: BareMps, crash: Crash) -> None:
    activities = {
        "Act-Start": {"Type": "Start", "Parameters": {"QueueName": "q"}},
        "Act-T": {"Type": "Transcode"},
        "Act-Report": {"Type": "Report"},
    }
    topology = json.dumps({"Activities": activities})
    added = mps.call("AddMediaWorkflow", Name="w", Topology=topology).json()
    workflow = added["MediaWorkflow"]["MediaWorkflowId"]
    url = "http://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4"
    mps.call("AddMedia", FileURL=url, MediaWorkflowId=workflow)
    wait_until(lambda: len(first.messages("q")) == 1)

    second = crash()
    second.clock.advance(hours=1)

    start, report = (each.callback() for each in second.messages("q"))
    assert (start["Type"], report["Type"], report["State"]) == ("Start", "Report", "Success")
    assert len(report["MediaWorkflowExecution"]["ActivityList"]) == 3
    assert len(second.jobs()) == 3


def test_a_late_callback_is_sent_in_time(
    first: MnsEmulator, mns: BareMns, mps: BareMps, crash: Crash
) -> None:
    first.faults.add("late", seconds=86_400)
    job_id = submit(mps, first)
    first.clock.advance(hours=1)
    mns.receive("q")

    second = crash()
    second.clock.advance(hours=23)
    assert second.messages("q") == []
    second.clock.advance(hours=2)

    assert [each.callback()["JobId"] for each in second.messages("q")] == [job_id]


def test_topics_and_pushes_that_failed_go_on(first: MnsEmulator, mns: BareMns, crash: Crash) -> None:
    mns.request("PUT", "/topics/t")
    endpoint = f"acs:mns:cn-shanghai:{first.account_id}:queues/later"
    body = f"<Subscription><Endpoint>{endpoint}</Endpoint></Subscription>"
    mns.request("PUT", "/topics/t/subscriptions/s", body)
    mns.request("POST", "/topics/t/messages", "<Message><MessageBody>news</MessageBody></Message>")

    second = crash()
    second.create_queue("later")
    second.clock.advance(minutes=1)

    (message,) = second.messages("later")
    assert "news" in message.body


def test_a_pipeline_keeps_its_queue_and_the_clock_its_time(
    first: MnsEmulator, mns: BareMns, mps: BareMps, crash: Crash
) -> None:
    first.bind_pipeline("q")
    first.clock.advance(days=7)
    before = first.clock.now()

    second = crash()

    assert second.call(lambda it: it.engine.pipelines[second.pipeline_id].notify) == {"QueueName": "q"}
    assert 0 <= (second.clock.now() - before).total_seconds() < 3600


def test_a_later_start_makes_other_ids_of_the_same_seed(
    first: MnsEmulator, mns: BareMns, mps: BareMps, crash: Crash
) -> None:
    job_id = submit(mps, first)

    assert crash().submit_job() != job_id


@pytest.mark.parametrize("fifo", [True, False])
def test_order_and_dead_letters_hold_on(first: MnsEmulator, crash: Crash, mns: BareMns, fifo: bool) -> None:
    policy = DeadLetterPolicy(enabled=True, target="q", max_receive_count=1)
    features = QueueFeatures(fifo=fifo, dead_letter=policy)
    first.call(lambda it: it.mns.create("work", features=features))
    first.call(Emulator.save)
    for text in ("one", "two"):
        mns.send("work", text, MessageGroupId="g")
    mns.receive("work")

    second = crash()

    assert second.call(lambda it: [message.body for message in it.mns.queues["work"].peek(16)]) == (
        [] if fifo else ["two"]
    )
    second.clock.advance(minutes=1)
    assert [each.body for each in second.messages("q")] == ["one"]
    assert [each.body for each in second.messages("work")] == ["two"]


def test_a_reset_forgets_what_was_saved(first: MnsEmulator, mns: BareMns, mps: BareMps, crash: Crash) -> None:
    mns.send("q", "x")
    submit(mps, first)
    first.reset()

    second = crash()

    assert (second.call(lambda it: list(it.mns.queues)), second.jobs()) == ([], [])


def test_a_stop_gives_the_folder_to_the_next_emulator(tmp_path: Path) -> None:
    with emulator(data=tmp_path) as one:
        one.create_queue("q")
        one.call(Emulator.save)
        one.send("q", "x")
        one.call(Emulator.save)
    with emulator(data=tmp_path, queues=("q",)) as two:
        assert [each.body for each in two.messages("q")] == ["x"]


def test_a_second_emulator_cannot_have_the_same_folder(first: MnsEmulator, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another emulator"), running(Options(data=tmp_path / "data")):
        pytest.fail("two emulators write to one file")


def test_a_folder_that_cannot_be_made_is_said_in_words() -> None:
    with pytest.raises(DataError, match=r"^cannot use /proc/none: No such file"):
        DataFile(Path("/proc/none"))


@pytest.mark.process
def test_kill_9_amid_requests_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    def start() -> tuple[subprocess.Popen[bytes], str]:
        port_file = tmp_path / "port"
        port_file.unlink(missing_ok=True)
        program = [sys.executable, "-c", "from listener.cli.emulator import emulator; emulator()"]
        arguments = [
            "--data",
            tmp_path / "data",
            "--port",
            "0",
            "--port-file",
            port_file,
            "--job-seconds",
            "60",
        ]
        process = subprocess.Popen([*program, *arguments], stdout=subprocess.DEVNULL)
        wait_until(port_file.exists)
        return process, f"http://127.0.0.1:{port_file.read_text().strip()}"

    process, url = start()
    mns, mps = BareMns(url), BareMps(url)
    mns.request("PUT", "/queues/q")
    notify = "mns://1234567890.mns.cn-shanghai.aliyuncs.com/queues/q"
    job_id = mps.call("SubmitIProductionJob", FunctionName="Cover", NotifyUrl=notify).json()["JobId"]
    kept, deleted = _work_until_it_is_killed(mns, process)
    mns.http.close()
    mps.http.close()
    process.wait()

    process, url = start()
    with httpx.Client(base_url=url, trust_env=False) as http:
        http.post("/_emulator/clock", json={"advance": "2m"})
        mns = BareMns(url)
        bodies = _drained(mns)
        mns.http.close()
        process.kill()
        process.wait()

    assert kept <= bodies
    assert not deleted & bodies
    assert [body for body in bodies if job_id in body]


def _work_until_it_is_killed(mns: BareMns, process: subprocess.Popen[bytes]) -> tuple[set[str], set[str]]:
    """Send, receive and delete; returns what must be there afterwards, and what must not."""
    kept: set[str] = set()
    deleted: set[str] = set()
    try:
        for number in range(10_000):
            if number == 40:
                os.kill(process.pid, signal.SIGKILL)
            if mns.send("q", f"message {number}").status_code == 201:
                kept.add(f"message {number}")
            if number % 3 == 0:
                received: dict[str, Any] = elements(mns.receive("q"))
                # If the reply to the next request is lost, either is right.
                kept.discard(received["MessageBody"])
                done = mns.request("DELETE", f"/queues/q/messages?ReceiptHandle={received['ReceiptHandle']}")
                if done.status_code == 204:
                    deleted.add(received["MessageBody"])
    except httpx.TransportError:
        return kept, deleted
    raise AssertionError("it was not killed")


def _drained(mns: BareMns) -> set[str]:
    bodies: set[str] = set()
    while (reply := mns.receive("q")).status_code == 200:
        text = elements(reply)["MessageBody"]
        bodies.add(text if text.startswith("message ") else base64.b64decode(text).decode())
    return bodies
