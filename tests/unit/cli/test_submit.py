"""What ``submit`` refuses before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import Invoke
from tests.support.program import Place

INPUT = "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4"
LINE = json.dumps({"function": "VideoH2V", "input": INPUT}) + "\n"
ONE = ("VideoH2V", "--input", INPUT)
MANY = ("--from", "jobs.jsonl")


@pytest.fixture
def jobs_file(place: Place) -> Path:
    path = place.folder / "jobs.jsonl"
    path.write_text(LINE * 2)
    return path


def jobs_in_store(place: Place) -> int:
    return len(place.queries(lambda queries: queries.jobs()))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([*ONE, "--wait", "--timeout", "5x"], "--timeout: '5x' is not", id="timeout"),
        pytest.param([*ONE, "--timeout", "5m"], "--timeout requires --wait", id="timeout-without-wait"),
        pytest.param([*ONE, "--deadline", "5x"], "--deadline: '5x' is not", id="deadline"),
        pytest.param([*ONE, "--resume"], "--resume requires --from", id="resume-of-one"),
        pytest.param([*ONE, "--report", "r"], "--report requires --from", id="report-of-one"),
        pytest.param([*ONE, "--concurrency", "8"], "--concurrency requires --from", id="concurrency-of-one"),
        pytest.param([*ONE, "--format", "csv"], "--format requires --from", id="format-of-one"),
        pytest.param([*MANY, "--timeout", "5m"], "--timeout applies to a single job", id="timeout-of-many"),
        pytest.param([*MANY, "--wait"], "--wait applies to a single job", id="wait-for-many"),
        pytest.param([*MANY, "--user-data", "x"], "--user-data applies to a single job", id="data-of-many"),
        pytest.param([*MANY, "--report", "/nonexistent/r"], "/nonexistent/r", id="report-without-folder"),
        pytest.param(
            [*MANY, "--report", "./jobs.jsonl"], "would overwrite the requests", id="report-is-input"
        ),
        pytest.param([*MANY, "--report", "."], "Is a directory", id="report-is-folder"),
    ],
)
def test_what_can_be_refused_is_refused_before_anything_is_sent(
    place: Place, jobs_file: Path, invoke: Invoke, arguments: list[str], words: str
) -> None:
    result = invoke("submit", *arguments)

    assert (result.exit_code, words in result.stderr) == (2, True), result.stderr
    assert (place.asked("SubmitIProductionJob"), jobs_in_store(place)) == (0, 0)
    assert jobs_file.read_text() == LINE * 2


def test_without_mps_a_file_is_refused_once_and_not_line_by_line(
    place: Place, jobs_file: Path, invoke: Invoke
) -> None:
    result = invoke("submit", *MANY, mps__endpoint="")

    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.count("MPS is not configured") == 1
    assert jobs_in_store(place) == 0


def test_a_repeat_without_resume_is_one_message_with_the_way_out(
    place: Place, jobs_file: Path, invoke: Invoke
) -> None:
    assert invoke("submit", *MANY).exit_code == 0
    again = invoke("submit", *MANY)
    as_json = invoke("submit", *MANY, "--json", "--report", "report.jsonl")

    assert (again.exit_code, as_json.exit_code) == (1, 1)
    assert again.stdout == "0 submitted, 0 skipped, 2 existing, 0 invalid, 0 failed\n"
    (message,) = again.stderr.splitlines()
    assert message.startswith(
        "Not sent because the reference exists already: 2 (first: line 1, 'jobs.jsonl:1:"
    )
    assert "--resume" in message
    assert json.loads(as_json.stdout)["existing"] == 2
    assert [line[:6] for line in as_json.stderr.splitlines()] == ["line 1", "line 2", "Not se"]
    assert [line["outcome"] for line in place.lines("report.jsonl")] == ["existing"] * 2
    assert invoke("submit", *MANY, "--resume").exit_code == 0


def test_an_empty_timeout_is_none(place: Place, invoke: Invoke) -> None:
    """As from a script whose variable is empty."""
    assert invoke("submit", *ONE, "--timeout", "").exit_code == 0
