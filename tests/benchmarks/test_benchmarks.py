"""The measuring instrument itself: that it counts rightly, and that its server answers as MNS does."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from listener.aliyun import flat_messages
from listener.aliyun.credentials import AccessKey, Credentials
from listener.aliyun.mns_connection import MnsConnection, MnsReply, MnsRequest, sdk_client
from listener.emulator import Options
from listener.emulator.mns.queue import draft
from listener.emulator.server import running
from listener.formats import safe_xml
from tests.benchmarks import pages, parts, stores
from tests.benchmarks.callbacks import body
from tests.benchmarks.daemons import cpu_samples, cpu_seconds, cpu_used, drained
from tests.benchmarks.figures import Figure, Machine, as_json, interleaved, percentile, ratios, table
from tests.benchmarks.measurements import QUICK, Bench, against_loops, cpu_time, latency, watched
from tests.benchmarks.places import Server, ceiling, running_server
from tests.benchmarks.series import QUEUE
from tests.benchmarks.stores import large_store, open_store
from tests.support import ROOT
from tests.support.builders import a_callback
from tests.support.cases import each_case
from tests.support.program import Program

KEY = Credentials(lambda: AccessKey("testKeyId", "testKeySecret"))
URI = f"/queues/{QUEUE}/messages"
TINY = replace(QUICK, rounds=1, rounds_close=1, messages=200, aside=200, watched=200, warm_up=0, slow=50)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as started:
        yield started


def test_ratios_are_taken_pair_by_pair_and_in_turn() -> None:
    order: list[str] = []

    def side(name: str, rates: list[float]) -> Callable[[int], float]:
        def run(number: int) -> float:
            order.append(name)
            return rates[number]

        return run

    pairs = interleaved(side("A", [10, 90, 30]), side("B", [5, 10, 10]), rounds=3)

    assert order == ["A", "B"] * 3
    figure = Figure(name="A to B", values=ratios((a, b) for a, b in pairs), unit=" x", at_least=3)
    assert figure.values == [2, 9, 3]
    assert (figure.median, figure.measured, figure.goal, figure.met) == (3, "3 x (2 to 9)", ">= 3 x", True)


@each_case(
    ("limits", "met"),
    [
        pytest.param({"at_least": 5.0}, True, id="at-least"),
        pytest.param({"at_least": 5.1}, False, id="less-than-at-least"),
        pytest.param({"at_most": 5.0}, True, id="at-most"),
        pytest.param({"at_most": 4.9}, False, id="more-than-at-most"),
        pytest.param({}, None, id="no-goal"),
    ],
)
def test_goal_is_held_against_the_median(limits: dict[str, Any], met: bool | None) -> None:
    assert Figure(name="one", values=[1, 5, 100], **limits).met is met


def test_percentile_is_a_value_that_was_measured() -> None:
    values = list(range(1, 101))

    assert [percentile(values, percent) for percent in (50, 99, 100)] == [50, 99, 100]
    assert percentile([7.0], 99) == 7.0


def test_rate_counts_until_the_last_callback_is_deleted_and_handled() -> None:
    state = {"first_received": 100.0, "last_deleted": 102.0, "requests": 26}

    assert drained(state, 200, last_settled=101.0).rate == 100
    assert drained(state, 200, last_settled=104.0).rate == 50
    assert drained(state, 200, last_settled=101.0).requests_per_1000 == 130


def test_drain_of_a_few_callbacks_gives_every_figure(server: Server, tmp_path: Path) -> None:
    figures = {figure.name: figure for figure in against_loops(Bench(server, TINY, tmp_path))}

    ours = figures["drain: callbacks"].median
    for baseline, name in (
        ("sample loop", "the SDK's sample loop"),
        ("expert's batch loop", "an expert's batch loop"),
        ("bare batch loop", "the SDK's bare batch loop"),
    ):
        ratio = figures[f"drain: listener / {baseline}"].median
        assert ratio == pytest.approx(ours / figures[f"drain: {name}"].median)
    assert figures["drain: requests for 1,000 callbacks"].median >= 125
    assert all(figure.name in table(figures.values()) for figure in figures.values())
    written = json.loads(as_json(figures.values(), Machine.this(), skipped=["one: not here"]))
    assert [each["name"] for each in written["figures"]] == list(figures)


def test_a_drain_is_watched_by_a_page_and_a_follower(server: Server, tmp_path: Path) -> None:
    cpu, rate = watched(Bench(server, TINY, tmp_path))

    assert (len(cpu.values), len(rate.values)) == (TINY.rounds_close, TINY.rounds_close)
    assert min(*cpu.values, *rate.values) > 0


@pytest.mark.parametrize("make", [large_store, open_store])
def test_every_page_of_a_store_is_measured(
    make: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(stores, "LONG_JOB_RESULTS", 3)
    found = list(pages.answers(make(60), 1, "job"))

    assert {answer.status for answer in found} <= {200, 303, 404}
    assert {"/jobs", "/v1/jobs?state=Fail&route=none"} < {answer.path for answer in found}
    assert min(answer.cpu for answer in found) > 0


@pytest.mark.parametrize("turn", ["single", "expert", "batch"])
def test_a_loop_of_the_sdk_ends_without_waiting_for_more(turn: str, server: Server, tmp_path: Path) -> None:
    drain = Bench(server, TINY, tmp_path).sdk(turn, count=16)

    assert drain.requests == (32 if turn == "single" else 2)


def test_no_callback_waits_for_its_job_where_latency_is_measured(server: Server, tmp_path: Path) -> None:
    tiny = replace(TINY, quiet=5, half_rate_seconds=0.05)
    quiet, *_ = latency(Bench(server, tiny, tmp_path))

    assert quiet.median > 0
    unknown = "SELECT count(*) FILTER (WHERE job IS NULL), count(*) FROM results"
    for path in tmp_path.glob("*/listener.db"):
        with closing(sqlite3.connect(path)) as connection:
            without_job, recorded = connection.execute(unknown).fetchone()
        assert (without_job, recorded > 0) == (0, True)


def test_cpu_time_and_switches_of_a_drain_are_those_of_the_daemon(server: Server, tmp_path: Path) -> None:
    cpu, switches = cpu_time(Bench(server, TINY, tmp_path))

    assert 10_000_000 > cpu.median * 200 > 0  # less than ten seconds, and not nothing
    assert cpu.goal == "<= 115 us"
    assert 1000 > switches.median > 0


def test_cpu_time_is_that_of_the_process(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(ROOT)}
    program = Program("--version", folder=tmp_path, environment=environment, fresh=True)
    try:
        # It stays a zombie, whose clock stands still.
        os.waitid(os.P_PID, program.process.pid, os.WEXITED | os.WNOWAIT)
        used = cpu_seconds(program)
    finally:
        before = _cpu_of_ended()
        program.close()

    assert used == pytest.approx(_cpu_of_ended() - before, rel=0.01)


def test_what_happens_after_the_end_of_a_drain_is_not_its_cpu_time() -> None:
    samples = [(10.0, 1.0), (10.01, 1.25), (10.02, 1.5), (10.03, 4.0)]

    assert [cpu_used(samples, until=until) for until in (10.015, 10.02, 11.0)] == [0.5, 0.5, 3.0]


def test_cpu_time_is_sampled_until_the_end(tmp_path: Path) -> None:
    program = Program("--version", folder=tmp_path, environment={"PYTHONPATH": str(ROOT)}, fresh=True)
    try:
        with cpu_samples(program) as samples:
            os.waitid(os.P_PID, program.process.pid, os.WEXITED | os.WNOWAIT)
        used = cpu_seconds(program)
    finally:
        program.close()

    assert samples == sorted(samples)
    assert cpu_used(samples, until=samples[-1][0]) == used - samples[0][1] > 0


def _cpu_of_ended() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_server_counts_what_was_received_and_deleted(server: Server) -> None:
    rate = ceiling(server, count=40)

    state = server.state()
    assert rate > 0
    assert (state["received"], state["deleted"], state["waiting"], state["invisible"]) == (40, 40, 0, 0)
    assert state["requests"] == 7  # three batches and a last look


def test_server_answers_as_the_emulator_does(server: Server) -> None:
    server.reset()
    server.fill("same", 4)
    with running(Options(queues=(QUEUE,))) as emulator:
        drafts = [draft(body("same", number)) for number in range(4)]
        emulator.call(lambda it: it.mns.queues[QUEUE].send(drafts))

        assert _conversation(server.url) == _conversation(emulator.url)


def test_batches_of_server_and_emulator_need_no_parser(server: Server) -> None:
    server.reset()
    server.fill("flat", 16)
    with running(Options(queues=(QUEUE,))) as emulator:
        drafts = [draft(body("flat", number)) for number in range(8)]
        drafts += [draft(a_callback(UserData='<"&">')) for _ in range(8)]
        emulator.call(lambda it: it.mns.queues[QUEUE].send(drafts))
        for url in (server.url, emulator.url):
            with closing(MnsConnection(sdk_client(url, KEY))) as connection:
                reply = _exchange(connection, MnsRequest("GET", f"{URI}?numOfMessages=16"))

            found = flat_messages.read(reply.body)
            assert found is not None
            assert found == [safe_xml.children_text(each) for each in safe_xml.parse(reply.body)]
            assert len(found) == 16


def _exchange(connection: MnsConnection, request: MnsRequest) -> MnsReply:
    connection.begin(request)
    reply = connection.finish()
    assert reply is not None
    return reply


def _conversation(url: str) -> list[Any]:
    """Everything that a consumer may ask; the replies without what differs from server to server."""
    replies: list[Any] = []
    with closing(MnsConnection(sdk_client(url, KEY))) as connection:

        def ask(method: str, query: str = "", content: str = "") -> MnsReply:
            reply = _exchange(connection, MnsRequest(method, f"{URI}{query}", content.encode()))
            replies.append((reply.status, _shape(reply.body)))
            return reply

        batch = _handles(ask("GET", "?numOfMessages=3&waitseconds=0"))
        single = _handles(ask("GET", "?waitseconds=0"))
        ask("GET", "?numOfMessages=3&waitseconds=0")
        ask("DELETE", content=_wanted(batch[:2]))
        ask("DELETE", content=_wanted(batch))
        ask("DELETE", f"?ReceiptHandle={single[0]}")
        ask("DELETE", f"?ReceiptHandle={single[0]}")
    return replies


def _wanted(handles: list[str]) -> str:
    elements = "".join(f"<ReceiptHandle>{handle}</ReceiptHandle>" for handle in handles)
    return f'<ReceiptHandles xmlns="http://mns.aliyuncs.com/doc/v1/">{elements}</ReceiptHandles>'


def _handles(reply: MnsReply) -> list[str]:
    root = ElementTree.fromstring(reply.body)
    return [str(each.text) for each in root.iter() if safe_xml.local(each.tag) == "ReceiptHandle"]


def _shape(reply: bytes) -> list[tuple[str, str]]:
    """Every element by name, with the text of those that must be the same everywhere."""
    if not reply:
        return []
    same = {"MessageBody", "MessageBodyMD5", "DequeueCount", "Priority", "Code", "ErrorCode"}
    found = [
        (safe_xml.local(each.tag), (each.text or "").strip()) for each in ElementTree.fromstring(reply).iter()
    ]
    return [(name, text if name in same else "") for name, text in found]


def test_every_part_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    parts.main(32)

    lines = [line.rsplit(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    rows = [
        line
        for line in lines
        if line[0].startswith(("receive", "delete", "decode", "record", "settle", "what", "dispatch"))
    ]
    assert len(rows) == 9
    assert all(float(cpu) > 0 and float(passed) > 0 for _, cpu, passed in rows)
