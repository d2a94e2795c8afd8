"""What ``submit`` refuses before anything is sent."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from listener.cli.bulk_submit import PRINTED_WARNINGS
from listener.client import PIPELINE_KNOWN_FOR, Client
from listener.emulator import Emulator
from listener.emulator.options import DEFAULT_PIPELINE_ID
from listener.jobs.request import JobRequest
from tests.support.cases import each_case
from tests.support.clocks import let_pass
from tests.support.command_line import Invoke
from tests.support.program import NOTIFY_URL, QUEUE, Place

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


@each_case(
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


def test_a_job_without_a_callback_is_refused_with_the_way_out(place: Place, invoke: Invoke) -> None:
    refused = invoke("submit", *ONE, "--notify-url", "")
    jobs = jobs_in_store(place)
    forced = invoke("submit", *ONE, "--notify-url", "", "--force")

    assert (refused.exit_code, jobs) == (2, 0)
    assert refused.stderr.startswith(
        "Error: the job has neither a NotifyUrl nor a pipeline, so MPS sends no callback"
    )
    assert "--force" in refused.stderr
    assert (forced.exit_code, jobs_in_store(place)) == (0, 1)
    assert forced.stderr.startswith("Warning: the job has neither a NotifyUrl nor a pipeline")


def test_the_only_queue_of_the_settings_is_the_notify_url_and_that_is_said_once(
    place: Place, jobs_file: Path, invoke: Invoke
) -> None:
    settings = {"mps__notify_url": "", "queues__0__url": NOTIFY_URL.replace(".mns.", ".oss-")}
    many = invoke("submit", *MANY, **settings)
    one = invoke("submit", *ONE, **settings)
    jobs = [job for _, job in place.queries(lambda queries: queries.jobs())]

    assert (many.exit_code, one.exit_code) == (0, 0)
    assert [job.notify_url for job in jobs] == [NOTIFY_URL] * 3
    words = f"NotifyUrl is not set; using the only queue in the settings, {NOTIFY_URL}"
    assert [words in line for line in many.stderr.splitlines()] == [True]
    assert [words in line for line in one.stderr.splitlines()] == [True]


def test_each_line_has_its_warnings_in_the_report_and_in_the_counts(place: Place, invoke: Invoke) -> None:
    line = {"function": "cover", "input": INPUT, "params": {"fps": 99}}
    texts = [json.dumps(line | {"reference": str(number)}) + "\n" for number in range(30)]
    (place.folder / "jobs.jsonl").write_text("".join(texts) + LINE)

    result = invoke("submit", *MANY, "--report", "report.jsonl", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "submitted": 31,
        "skipped": 0,
        "existing": 0,
        "invalid": 0,
        "failed": 0,
        "warned": 30,
    }
    printed = result.stderr.splitlines()
    assert printed[0].startswith(
        "line 1: warning: function 'cover' is not a documented function; did you mean Cover?"
    )
    assert (len(printed), printed[-1]) == (
        PRINTED_WARNINGS + 1,
        f"{30 - PRINTED_WARNINGS} more warnings are not printed; --report FILE has all of them",
    )
    assert [len(report["warnings"]) for report in place.lines("report.jsonl")] == [1] * 30 + [0]


def test_the_text_of_the_counts_names_warnings_only_if_there_are_any(
    place: Place, jobs_file: Path, invoke: Invoke
) -> None:
    assert invoke("submit", *MANY).stdout == "2 submitted, 0 skipped, 0 existing, 0 invalid, 0 failed\n"
    jobs_file.write_text(LINE.replace("VideoH2V", "VideoH2W"))
    assert invoke("submit", *MANY).stdout.endswith(", 0 failed, 1 with warnings\n")


def test_force_is_for_all_lines_that_do_not_say_otherwise(place: Place, invoke: Invoke) -> None:
    lines = [LINE, LINE.replace("}", ', "force": false}')]
    (place.folder / "jobs.jsonl").write_text("".join(lines))

    result = invoke("submit", *MANY, "--notify-url", "", "--force")

    assert result.stdout == "1 submitted, 0 skipped, 0 existing, 1 invalid, 0 failed, 1 with warnings\n"


def test_what_exists_already_is_no_wrong_usage(place: Place, invoke: Invoke) -> None:
    first, again = (invoke("submit", *ONE, "--reference", "talk-7") for _ in range(2))
    registered = [invoke("jobs", "register", "a" * 32) for _ in range(2)]

    assert (first.exit_code, again.exit_code) == (0, 73)
    assert "reference 'talk-7' already exists" in again.stderr
    assert [result.exit_code for result in registered] == [0, 73]


def test_an_empty_timeout_is_none(place: Place, invoke: Invoke) -> None:
    """As from a script whose variable is empty."""
    assert invoke("submit", *ONE, "--timeout", "").exit_code == 0


@pytest.mark.parametrize("name", ["jobs.toml", "jobs.csv.gz", "jobs.v2"])
def test_a_file_of_an_unknown_format_is_refused_with_the_way_out(
    place: Place, invoke: Invoke, name: str
) -> None:
    (place.folder / name).write_text(LINE)
    refused = invoke("submit", "--from", name)
    jobs = jobs_in_store(place)
    named = invoke("submit", "--from", name, "--format", "jsonl")

    assert (refused.exit_code, jobs, named.exit_code) == (2, 0, 0)
    assert f"--from {name}: " in refused.stderr
    assert "--format" in refused.stderr


@pytest.mark.parametrize("name", ["jobs", "jobs.NDJSON", "jobs.json"])
def test_a_file_without_an_extension_is_json_lines(place: Place, invoke: Invoke, name: str) -> None:
    (place.folder / name).write_text(LINE)

    assert invoke("submit", "--from", name).stdout.startswith("1 submitted")


BY_PIPELINE = ("--kind", "MediaInfo", "--input", INPUT, "--pipeline", DEFAULT_PIPELINE_ID)


def bind_pipeline(place: Place, queue: str) -> None:
    def bind(emulator: Emulator) -> None:
        emulator.engine.pipelines[DEFAULT_PIPELINE_ID].notify = {"QueueName": queue}

    place.server.call(bind)


@pytest.mark.parametrize(
    ("queue", "words"),
    [
        pytest.param("", "is bound to no queue: a job without a NotifyUrl has no callback", id="unbound"),
        pytest.param(
            "other", "sends callbacks to the queue other, which no [[queues]] entry polls", id="other"
        ),
        pytest.param(QUEUE, "", id="polled"),
    ],
)
def test_a_pipeline_whose_callbacks_do_not_come_here_is_a_warning(
    place: Place, invoke: Invoke, queue: str, words: str
) -> None:
    bind_pipeline(place, queue)
    result = invoke("submit", *BY_PIPELINE)

    assert result.exit_code == 0
    assert words in result.stderr
    assert ("Warning" in result.stderr) == bool(words)


def test_mps_is_asked_once_about_a_pipeline_and_not_at_all_about_that_of_the_settings(
    place: Place, invoke: Invoke
) -> None:
    line = {"kind": "MediaInfo", "input": INPUT, "pipeline": DEFAULT_PIPELINE_ID}
    (place.folder / "jobs.jsonl").write_text(f"{json.dumps(line)}\n" * 3)
    many = invoke("submit", *MANY, "--report", "report.jsonl")
    invoke("submit", *BY_PIPELINE, mps__pipeline=DEFAULT_PIPELINE_ID)

    assert many.exit_code == 0
    assert [len(each["warnings"]) for each in place.lines("report.jsonl")] == [1, 1, 1]
    assert place.asked("QueryPipelineList") == 1


def test_a_pipeline_that_was_bound_meanwhile_is_no_warning_any_more(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process that lives as long as a daemon."""
    request = JobRequest(kind="MediaInfo", input=INPUT, pipeline=DEFAULT_PIPELINE_ID)
    with Client(place.folder / "listener.toml") as client:
        before = client.check(request)
        bind_pipeline(place, QUEUE)
        soon = client.check(request)
        let_pass(PIPELINE_KNOWN_FOR + timedelta(seconds=1), monkeypatch)
        later = client.check(request)

    assert (len(before), soon, later) == (1, before, [])


@pytest.mark.parametrize(
    "arguments", [("submit", *ONE), ("submit", *MANY), ("jobs", "register", "j1")], ids=" ".join
)
@pytest.mark.usefixtures("jobs_file")
def test_what_a_traced_program_submits_continues_its_trace(
    place: Place, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    monkeypatch.setenv("TRACEPARENT", traceparent)

    assert invoke(*arguments).exit_code == 0

    found = place.queries(lambda queries: queries.jobs())
    assert {job.trace for _, job in found} == {traceparent}
