"""The demo is evidence only if it can fail: what it prints, and that a lost or repeated result is seen."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from click.testing import CliRunner

from listener.cli.demo import _show
from listener.core.model import Job
from listener.core.outputs import CoverImage, Outputs
from listener.demo import sandbox
from listener.demo.sandbox import DemoFailed, DemoReport, JobReport, make_jobs, run_demo
from listener.emulator.mps.sample_results import FUNCTION_NAMES
from tests.support.builders import a_job
from tests.support.forked import ForkedProgram
from tests.support.program import Program

KEYS = ["submitted", "results", "handled", "duplicates", "quarantined", "dead", "outputs", "lost", "seconds"]
#: The document of outputs without any.
NO_OUTPUTS = Outputs().to_document()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    """Starts the demo as a process; all of them are ended with the test."""
    programs: list[Program] = []

    def start(*arguments: str, **environment: str) -> Program:
        path = {"PYTHONPATH": str(Path.cwd())}
        programs.append(Program("demo", *arguments, folder=tmp_path, environment=path | environment))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


@pytest.fixture
def forked_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon of a demo that this process runs is forked; those of the program ``demo`` are started as it does."""

    def start(command: Sequence[str], *, env: Mapping[str, str], stderr: BinaryIO) -> ForkedProgram:
        _python, _option, module, *arguments = command
        log = Path(stderr.name)
        return ForkedProgram(module, *arguments, cwd=tmp_path, env=env, stdout=log, stderr=log)

    monkeypatch.setattr(subprocess, "Popen", start)


def counts(**fields: float) -> dict[str, float]:
    return dict.fromkeys(KEYS, 0) | {"quarantined": 2} | fields


def an_ending(number: int = 0, **changes: Any) -> JobReport:
    """That of a job which had exactly one outcome, at the right handler."""
    demo_job = make_jobs(None)[number]
    job: Job = a_job(job_id=f"job-{number}", function=demo_job.function)
    line: dict[str, Any] = {
        "job_id": job.job_id,
        "route": demo_job.wanted_route,
        "state": demo_job.wanted_state,
    }
    line["outputs"] = None if demo_job.fails else NO_OUTPUTS
    return replace(JobReport(demo_job=demo_job, job=job, deliveries=[line]), **changes)


def a_line(**changes: Any) -> dict[str, Any]:
    """What the handler of the first job writes."""
    return {"route": "everything-else", "state": "Success", "outputs": NO_OUTPUTS, **changes}


def test_outputs_are_shown_as_the_handlers_got_them(capsys: pytest.CaptureFixture[str]) -> None:
    number = FUNCTION_NAMES.index("Cover")
    cover = CoverImage(path="out/a.jpg", url="oss://demo/out/a.jpg", score=8.27, time_ms=278.25)
    outputs = Outputs(covers=(cover,)).to_document()
    ending = an_ending(number, deliveries=[a_line(route="covers", outputs=outputs)])

    _show(DemoReport(job_reports=[ending], counts=counts(outputs=1)), None)

    printed = capsys.readouterr().out
    assert printed.splitlines()[1].endswith("Success\t1 cover")
    assert (
        "\nOutputs that the handler of Cover got\ncovers  oss://demo/out/a.jpg, score 8.27, at 0.27825 s\n"
        in printed
    )
    assert "1 with a queried result" in printed


def test_json_holds_the_promised_numbers_and_nothing_else(started: Any) -> None:
    program = started("--json", MNS_LISTENER_STORE__URL="nonsense://", HTTP_PROXY="http://127.0.0.1:1")

    assert (program.wait(seconds=120), program.stderr) == (0, "")
    printed = json.loads(program.stdout)
    assert list(printed) == KEYS
    total = len(make_jobs(None))
    assert 0 < printed.pop("seconds") < 120
    assert printed.pop("duplicates") >= 1  # one is sent twice; a callback repeats the state of its reply
    assert printed == {
        "submitted": total,
        "results": total,
        "handled": total,
        "quarantined": 2,
        "dead": 0,
        "outputs": total - 1,  # one fails
        "lost": 0,
    }


@pytest.mark.usefixtures("forked_daemon")
@pytest.mark.parametrize("jobs", [1, len(FUNCTION_NAMES) + 4])
def test_any_number_of_jobs_comes_out_whole(tmp_path: Path, jobs: int) -> None:
    report = run_demo(make_jobs(jobs), folder=tmp_path, report_progress=lambda _what, _done, _of: None)

    assert report.correct
    assert (report.counts["handled"], report.counts["lost"]) == (jobs, 0)


def test_folder_with_an_odd_name_is_kept_and_can_be_looked_at(started: Any, tmp_path: Path) -> None:
    program = started("--jobs", "2", "--keep", 'a "kept" #folder')

    assert program.wait(seconds=120) == 0
    assert "2 jobs, 2 handled once each" in program.stdout
    demo_folder = tmp_path / 'a "kept" #folder'
    listing = Program(
        "jobs",
        "list",
        "-c",
        str(demo_folder / "listener.toml"),
        "--json",
        folder=tmp_path,
        environment={"PYTHONPATH": str(Path.cwd())},
    )
    assert listing.wait() == 0
    listing.close()
    assert [job["state"] for job in json.loads(listing.stdout)] == ["Success", "Success"]


def test_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    from listener.cli.demo import demo as command

    result = CliRunner().invoke(command, ["--keep", str(tmp_path)])
    assert (result.exit_code, "not empty" in result.stderr) == (2, True)


def test_right_endings_are_right() -> None:
    report = DemoReport(
        job_reports=[an_ending(number) for number in range(len(make_jobs(None)))], counts=counts()
    )
    assert report.correct


@pytest.mark.parametrize(
    "deliveries",
    [
        pytest.param([], id="lost"),
        pytest.param([a_line()] * 2, id="twice"),
        pytest.param([a_line(route="covers")], id="wrong-route"),
        pytest.param([a_line(state="Fail")], id="wrong-state"),
        pytest.param([a_line(outputs=None)], id="no-outputs"),
    ],
)
def test_one_wrong_ending_makes_the_demo_fail(
    deliveries: Sequence[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    report = DemoReport(job_reports=[an_ending(1), an_ending(deliveries=deliveries)], counts=counts())
    _show(report, None)

    assert not report.correct
    printed = capsys.readouterr()
    assert "<-- unexpected" in printed.out
    assert "The demo failed" in printed.err


def test_garbage_that_is_not_in_quarantine_makes_the_demo_fail() -> None:
    assert not DemoReport(job_reports=[an_ending()], counts=counts(quarantined=1)).correct


@pytest.mark.usefixtures("forked_daemon")
def test_line_that_a_handler_lost_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evidence is the handlers' own files; the store alone would call this job done."""
    look = sandbox.Sandbox._evidence

    def lossy(sandbox: sandbox.Sandbox) -> list[dict[str, Any]]:
        for path in sandbox.folder.glob("*.jsonl"):
            path.write_text("".join(path.read_text().splitlines(True)[1:]))
        return look(sandbox)

    monkeypatch.setattr(sandbox.Sandbox, "_evidence", lossy)
    report = run_demo(make_jobs(3), folder=tmp_path, report_progress=lambda _what, _done, _of: None)

    assert not report.correct
    assert report.counts["lost"] > 0
    assert report.counts["handled"] == 3


@pytest.mark.usefixtures("forked_daemon")
def test_daemon_that_dies_ends_the_demo_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "SETTINGS", sandbox.SETTINGS + "\n[surprise]\nkey = 1\n")

    with pytest.raises(DemoFailed, match=r"status 78(.|\n)*surprise is an unknown key"):
        run_demo(make_jobs(2), folder=tmp_path, report_progress=lambda _what, _done, _of: None)
