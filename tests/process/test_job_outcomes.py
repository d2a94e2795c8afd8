"""Every job reaches its terminal state: real programs, the real SDK; lost, duplicated, early and late callbacks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.client import Client
from listener.core.model import JobState
from listener.emulator import Fault, FaultKind, Options
from listener.emulator.server import running
from listener.jobs.request import JobRequest
from listener.settings.loader import settings_from
from tests.soak.job_outcomes import (
    HASTY,
    INPUT,
    ROUTES,
    inject_faults,
    jobs_at_mps,
    run_jobs,
    submit,
    write_lines,
)
from tests.support import ROOT
from tests.support.program import NOTIFY_URL, QUEUE, Place
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with running(Options(job_seconds=0.01, queues=(QUEUE,), seed=7)) as server:
        here = Place(tmp_path, server)
        here.settings(ROUTES)
        try:
            yield here
        finally:
            here.close()


def ledger(place: Place) -> dict[str, str]:
    """State by reference, for all jobs."""
    return {job.reference: job.state for _, job in place.queries(lambda queries: queries.jobs(limit=10_000))}


class TestBulk:
    def test_bad_lines_are_named_the_others_submitted_and_the_report_lists_each(self, place: Place) -> None:
        good = json.dumps({"function": "VideoH2V", "input": INPUT})
        (place.folder / "jobs.jsonl").write_text(f'{good}\n{{"function": 1}}\n{good}\nnot json\n')
        program = submit(place, "--from", "jobs.jsonl", "--report", "report.jsonl")

        assert (program.wait(), len(jobs_at_mps(place))) == (1, 2)
        assert [line.split(":")[0] for line in program.stderr.splitlines()] == ["line 2", "line 4"]
        assert program.stdout == "2 submitted, 0 skipped, 0 existing, 2 invalid, 0 failed\n"
        assert [line["outcome"] for line in place.lines("report.jsonl")] == ["submitted", "invalid"] * 2
        assert {line["job_id"] for line in place.lines("report.jsonl")} - {""} == set(jobs_at_mps(place))

    def test_csv_is_recognized_by_its_name(self, place: Place) -> None:
        (place.folder / "jobs.csv").write_text(f"function,input,route,data\nVideoH2V,{INPUT},covers,7\n")
        assert submit(place, "--from", "jobs.csv").wait() == 0

        ((_, job),) = place.queries(lambda queries: queries.jobs())
        assert (job.user_data, job.notify_url) == ("covers:7", NOTIFY_URL)

    def test_what_is_killed_in_mid_run_is_resumed_and_no_reference_is_submitted_twice(
        self, place: Place
    ) -> None:
        write_lines(place, 200)
        inject_faults(place, Fault(kind=FaultKind.LATENCY, operation="SubmitIProductionJob", seconds=0.02))
        first = submit(place, "--from", "jobs.jsonl")
        wait_until(lambda: len(jobs_at_mps(place)) >= 30)
        first.kill()
        before = len(jobs_at_mps(place))
        place.server.call(lambda emulator: emulator.faults.clear())
        second = submit(place, "--from", "jobs.jsonl", "--resume", "--json")

        assert second.wait() == 0
        summary = json.loads(second.stdout)
        assert (before < 200, summary["invalid"], summary["failed"]) == (True, 0, 0)
        assert summary["skipped"] + summary["submitted"] == 200
        # Intents of calls that never went out are not sent again; there are 8 at most, one for each thread.
        assert 200 - 8 <= len(jobs_at_mps(place)) <= 200
        assert len(ledger(place)) == 200
        assert place.run("--drain").wait() == 0
        assert Counter(line["reference"] for line in place.lines()).most_common(1)[0][1] == 1

    def test_what_is_interrupted_in_mid_run_says_how_to_go_on_and_is_resumed(self, place: Place) -> None:
        write_lines(place, 200)
        inject_faults(place, Fault(kind=FaultKind.LATENCY, operation="SubmitIProductionJob", seconds=0.02))
        first = submit(place, "--from", "jobs.jsonl", "--report", "report.jsonl")
        wait_until(lambda: len(jobs_at_mps(place)) >= 30)
        first.send(signal.SIGINT)

        assert first.wait() == 130
        sent = len(jobs_at_mps(place))
        assert 30 <= sent < 200
        assert first.stdout == f"{sent} submitted, 0 skipped, 0 existing, 0 invalid, 0 failed\n"
        assert "run the same command with --resume to go on" in first.stderr
        assert {line["outcome"] for line in place.lines("report.jsonl")} == {"submitted"}
        assert set(ledger(place).values()) == {JobState.SUBMITTED}

        second = submit(place, "--from", "jobs.jsonl", "--resume")
        assert second.wait() == 0
        assert second.stdout.startswith(f"{200 - sent} submitted, {sent} skipped, ")
        assert len(jobs_at_mps(place)) == 200

    def test_a_second_interrupt_does_not_wait_for_calls_that_hang(self, place: Place) -> None:
        write_lines(place, 20)
        inject_faults(place, Fault(kind=FaultKind.STALL, operation="SubmitIProductionJob"))
        program = submit(place, "--from", "jobs.jsonl")
        wait_until(lambda: place.happened("stall") > 0)
        program.send(signal.SIGINT)
        wait_until(lambda: "Press Ctrl-C again" in program.stderr)
        program.send(signal.SIGINT)

        assert program.wait() == 130
        assert "calls under way were abandoned" in program.stderr
        assert "--resume" in program.stderr

    def test_all_threads_together_keep_to_the_rate(self, place: Place) -> None:
        write_lines(place, 220)
        program = submit(place, "--from", "jobs.jsonl", "--concurrency", "16", mps__rate_limit="90")

        assert (program.wait(), program.stdout) == (
            0,
            "220 submitted, 0 skipped, 0 existing, 0 invalid, 0 failed\n",
        )
        # On a busy machine, calls that waited for their turn may go out together: hardly one is throttled and repeated.
        assert 220 <= place.asked("SubmitIProductionJob") <= 225

    def test_throttling_by_others_is_waited_out(self, place: Place) -> None:
        write_lines(place, 20)
        inject_faults(
            place, Fault(kind=FaultKind.THROTTLE, operation="SubmitIProductionJob", probability=0.5, count=15)
        )
        program = submit(place, "--from", "jobs.jsonl")

        assert (program.wait(), len(jobs_at_mps(place))) == (0, 20)
        assert place.happened("throttle") >= 5

    def test_options_for_one_job_are_refused_with_a_file(self, place: Place) -> None:
        write_lines(place, 1)
        program = submit(place, "--from", "jobs.jsonl", "--reference", "x")

        assert (program.wait(), "--reference applies to a single job" in program.stderr) == (2, True)
        assert jobs_at_mps(place) == {}


class TestWaiting:
    def test_an_interrupted_wait_names_the_job_and_how_to_go_on(self, place: Place) -> None:
        program = submit(place, "VideoH2V", "--input", INPUT, "--wait")
        wait_until(lambda: "no daemon is running" in program.stderr)
        program.send(signal.SIGINT)

        assert program.wait() == 130
        (job_id,) = jobs_at_mps(place)
        assert f"mns-listener jobs wait {job_id}" in program.stderr

    def test_any_other_command_that_is_interrupted_exits_with_130(self, place: Place) -> None:
        assert submit(place, "VideoH2V", "--input", INPUT, "--reference", "talk").wait() == 0
        program = place.start("jobs", "wait", "talk", "-c", "listener.toml")
        wait_until(lambda: "no daemon is running" in program.stderr)
        program.send(signal.SIGINT)

        assert (program.wait(), program.stderr.splitlines()[-1]) == (130, "Error: interrupted")

    def test_the_exit_status_reports_the_outcome(self, place: Place) -> None:
        daemon = place.run().ready()
        good = submit(place, "VideoH2V", "--input", INPUT, "--reference", "good", "--wait", "--json")
        bad = submit(
            place, "VideoH2V", "--input", INPUT.replace("talk", "fail"), "--reference", "bad", "--wait"
        )

        assert (good.wait(), bad.wait()) == (0, 1)
        assert json.loads(good.stdout)["state"] == "Success"
        both = place.start("jobs", "wait", "good", "bad", "-c", "listener.toml")
        assert (both.wait(), [line.split()[1] for line in both.stdout.splitlines()]) == (
            1,
            ["Success", "Fail"],
        )
        assert daemon.stop() == 0

    def test_a_wait_that_is_too_long_is_124(self, place: Place) -> None:
        program = submit(
            place, "VideoH2V", "--input", INPUT, "--reference", "r", "--wait", "--timeout", "100ms"
        )

        assert (program.wait(), "timed out waiting" in program.stderr) == (124, True)
        assert program.stdout  # the job is printed all the same

    def test_the_library_waits_too(self, place: Place) -> None:
        daemon = place.run().ready()
        with Client(settings_from(place.folder / "listener.toml")) as client:
            job = client.submit(JobRequest(function="VideoH2V", input=INPUT, notify_url=NOTIFY_URL))
            assert client.wait(job, timeout=120).state == JobState.SUCCESS
            late = client.register("never-heard-of")
            with pytest.raises(TimeoutError, match="timed out waiting for job never-heard-of"):
                client.wait(late, timeout=0)
        assert daemon.stop() == 0

    def test_the_readmes_lines_of_python_do_as_they_say(self, place: Place) -> None:
        readme = (ROOT / "README.md").read_text("utf-8")
        code = readme.split("## Submitting and waiting")[1].split("```python\n")[1].split("```")[0]
        daemon = place.run().ready()
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=place.folder,
            env={**os.environ, "PYTHONPATH": place.path},
            check=True,
            capture_output=True,
            text=True,
        )

        assert done.stdout.startswith("Success Outputs(source='query', code='Success', ")
        assert daemon.stop() == 0


class TestReconciling:
    def test_by_hand_a_lost_callback_is_made_up_for_and_the_daemon_delivers_it(self, place: Place) -> None:
        inject_faults(place, Fault(kind=FaultKind.DROP))
        assert submit(place, "VideoH2V", "--input", INPUT, "--reference", "talk").wait() == 0
        wait_until(lambda: set(jobs_at_mps(place).values()) == {"Success"})
        by_hand = place.start("reconcile", "--job", "talk", "--json", "-c", "listener.toml")

        assert (by_hand.wait(), json.loads(by_hand.stdout)[0]["result"]) == (0, "recorded")
        assert place.run("--drain").wait() == 0
        assert [(line["reference"], line["source"]) for line in place.lines()] == [("talk", "query")]

    def test_an_unavailable_mps_is_reported_by_the_exit_status(self, place: Place) -> None:
        inject_faults(place, Fault(kind=FaultKind.ERROR, operation="QueryIProductionJob"))
        options = ("--input", INPUT, "--reference", "talk", "--notify-url", "", "--force", "--deadline", "0s")
        assert submit(place, "VideoH2V", *options).wait() == 0
        by_hand = place.start("reconcile", "--overdue", "-c", "listener.toml")

        assert (by_hand.wait(), "unavailable" in by_hand.stdout) == (69, True)
        assert ledger(place) == {"talk": JobState.SUBMITTED}

    def test_a_job_that_mps_forgot_is_delivered_as_lost(self, place: Place) -> None:
        daemon = place.run(**HASTY, reconcile__timeout="1s", queues__0__wait="1s").ready()
        wait_until(lambda: place.asked("BatchReceiveMessage") > 1)  # the first reply confirms the clock
        with Client(settings_from(place.folder / "listener.toml")) as client:
            client.register("f" * 32, function="Cover", reference="forgotten", deadline=None)
            wait_until(lambda: bool(client.store.find_job("forgotten")))
            with client.store.database.write() as connection:  # overdue now, rather than in six hours
                connection.exec_driver_sql("UPDATE jobs SET deadline_at = 0, next_query_at = 0")
            assert client.wait("forgotten", timeout=120).state == JobState.LOST
        wait_until(lambda: bool(place.lines()))

        assert daemon.stop() == 0
        assert [(line["state"], line["reference"], line["source"]) for line in place.lines()] == [
            ("Lost", "forgotten", "listener")
        ]

    def test_a_stop_does_not_wait_for_an_mps_that_hangs(self, place: Place) -> None:
        inject_faults(place, Fault(kind=FaultKind.STALL, operation="QueryIProductionJob"))
        options = ("--input", INPUT, "--notify-url", "", "--force", "--deadline", "0s")
        assert submit(place, "VideoH2V", *options).wait() == 0
        daemon = place.run(**HASTY).ready()
        wait_until(lambda: place.happened("stall") > 0)
        daemon.send(signal.SIGTERM)

        assert daemon.wait(seconds=13) == 0  # the call itself would take 15 s to time out


@pytest.mark.long
def test_every_job_reaches_its_true_state_once_despite_faults_of_every_kind(place: Place) -> None:
    run_jobs(place, 200)
