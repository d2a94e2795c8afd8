"""``python -m tests.soak.job_outcomes``: many jobs, many lost callbacks; each job reaches its terminal state once."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from listener.core.model import Job, JobState
from listener.emulator import Fault, FaultKind, Options
from listener.emulator.server import running
from tests.support.program import QUEUE, Place, Program
from tests.support.waiting import wait_until

NUMBER = 2_000
INPUT = "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4"
ROUTES = """\
[[routes]]
name = "all"
enrich = false
match = {{ state = ["Success", "Fail", "Cancelled", "Lost"] }}
handlers = [{{ use = "jsonl", path = "{folder}/results.jsonl" }}]
"""
#: Overdue soon, queried often.
HASTY = {
    "reconcile__deadline": "2s",
    "reconcile__interval": "200ms",
    "reconcile__initial_backoff": "500ms",
    "reconcile__max_backoff": "2s",
}
TROUBLE = (
    Fault(kind=FaultKind.DROP, probability=0.2),
    Fault(kind=FaultKind.DUPLICATE, probability=0.05),
    Fault(kind=FaultKind.REORDER, probability=0.05, seconds=0.3),
    Fault(kind=FaultKind.EARLY, probability=0.05, operation="SubmitIProductionJob", seconds=0.05),
    Fault(kind=FaultKind.DROP_REPLY, every=50, operation="SubmitIProductionJob"),
)


def inject_faults(place: Place, *faults: Fault) -> None:
    place.server.call(lambda emulator: emulator.faults.add(faults))


def jobs_at_mps(place: Place) -> dict[str, str]:
    """State by job id, as MPS itself has it."""
    jobs = place.server.call(lambda emulator: emulator.state()["jobs"])
    return {job_id: job["state"] for job_id, job in jobs.items()}


def write_lines(place: Place, number: int, name: str = "jobs.jsonl", **fields: Any) -> None:
    """A file of requests; every tenth one's job fails."""
    lines = [
        {
            "function": "VideoH2V",
            "input": INPUT if place_in_file % 10 else INPUT.replace("talk", "fail"),
            "reference": f"ref-{place_in_file}",
            **fields,
        }
        for place_in_file in range(number)
    ]
    (place.folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def submit(place: Place, *arguments: str, **settings: str) -> Program:
    return place.start("submit", *arguments, "-c", "listener.toml", **settings)


def run_jobs(place: Place, number: int) -> None:
    """Submit jobs through the official SDK while faults of every kind are injected, and compare the results."""
    inject_faults(place, *TROUBLE)
    write_lines(place, number)
    # Longer than a callback takes on a busy machine, otherwise MPS is queried about jobs that need no query.
    settings = HASTY | {"reconcile__deadline": "5s"}
    daemon = place.run(**settings).ready()
    bulk = submit(place, "--from", "jobs.jsonl", "--concurrency", "16", **settings)
    assert bulk.wait(seconds=180 + number / 10) == 1  # replies were dropped
    wait_until(lambda: not _jobs(place, JobState.SUBMITTED), seconds=180 + number / 10)
    wait_until(lambda: _all_brought(place, number) and not place.messages_left())
    true = jobs_at_mps(place)
    # If both the reply and the callback were dropped, there is no ID to query: such a job becomes Lost, days later.
    unheard = len(_jobs(place, JobState.INTENT))
    wait_until(lambda: len(place.lines()) >= number - unheard)
    assert daemon.stop() == 0

    reported = {line["job_id"]: line["state"] for line in place.lines()}
    assert len(place.lines()) == len(reported), "a handler was called twice"
    assert reported.items() <= true.items(), "a handler received a wrong state"
    assert (len(true), len(reported)) == (number, number - unheard)
    assert {job.job_id: job.state for job in _jobs(place) if job.job_id} == reported
    assert [fault.kind for fault in TROUBLE if not place.happened(fault.kind)] == []
    queried = place.asked("QueryIProductionJob")
    still_running = sum(job.queries for job in _jobs(place))
    # Each job is queried once: its callback is verified, or it is reconciled.
    assert queried < 1.2 * number + still_running, "MPS was queried too often"


def _all_brought(place: Place, number: int) -> bool:
    """Whether no callback is held back any more: each was put into the queue, or dropped."""
    callbacks = place.server.call(lambda emulator: emulator.state()["callbacks"])
    return bool(callbacks["sent"] + callbacks["dropped"] == number + place.happened("duplicate"))


def _jobs(place: Place, state: str = "") -> list[Job]:
    return [job for _, job in place.queries(lambda queries: queries.jobs(state=state, limit=100_000))]


def main() -> int:
    os.environ |= {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "testKeyId",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "testKeySecret",
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Options(job_seconds=0.01, queues=(QUEUE,))) as server,
    ):
        place = Place(Path(folder), server)
        place.settings(ROUTES)
        try:
            run_jobs(place, NUMBER)
        finally:
            place.close()
    print(f"{NUMBER:,} jobs, each delivered once with its true state")
    return 0


if __name__ == "__main__":
    sys.exit(main())
