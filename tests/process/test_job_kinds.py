"""Jobs of every kind through the real program: called back, or reconciled when their callback is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import listener
from listener.core.job_kinds import JOB_KINDS, SUBMITTED_KINDS, WORKFLOW, JobKind
from listener.emulator import Fault, FaultKind
from listener.settings.loader import settings_from
from tests.soak.job_outcomes import HASTY, inject_faults
from tests.support.emulated_jobs import (
    BUCKET,
    DEFAULT_PIPELINE_ID,
    add_workflow,
    bind_pipeline,
    start_run,
    submit_job,
)
from tests.support.emulator_clients import BareMps
from tests.support.program import QUEUE, Place
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

INPUT = f"{BUCKET}/in/a film.mp4"


@pytest.fixture
def mps(place: Place) -> Iterator[BareMps]:
    """With the default pipeline bound to the queue of the settings."""
    place.settings()
    client = BareMps(place.server.url)
    with client.http:
        bind_pipeline(client, QUEUE)
        yield client


def started(mps: BareMps, kind: JobKind) -> str:
    """The id of a job of this kind, or of the run of a workflow."""
    if kind is WORKFLOW:
        return start_run(mps, add_workflow(mps, "Snapshot-1", queue=QUEUE))
    return submit_job(mps, kind)


def handled(place: Place) -> dict[str, Mapping[str, Any]]:
    """The documents that the handler got, by job or run id; each id once."""
    lines = [line for line in place.lines() if line["type"] != "Start"]
    found = {line["job_id"] or line["run_id"]: line for line in lines}
    assert len(found) == len(lines)
    return found


def test_a_lost_callback_of_each_kind_is_made_up_for(place: Place, mps: BareMps) -> None:
    inject_faults(place, Fault(kind=FaultKind.DROP))
    ids = {kind.name: started(mps, kind) for kind in JOB_KINDS}
    with listener.Client(settings_from(place.folder / "listener.toml")) as client:
        for name, job_id in ids.items():
            client.register(job_id, kind=name, reference=name, deadline=None)
    daemon = place.run(**HASTY).ready()
    with (
        place.store() as store,
        store.database.write() as connection,
    ):  # overdue now, rather than in six hours
        connection.exec_driver_sql("UPDATE jobs SET deadline_at = 0, next_query_at = 0")
    wait_until(lambda: len(handled(place)) == len(ids))

    assert daemon.stop() == 0
    found = handled(place)
    assert {name: found[job_id]["state"] for name, job_id in ids.items()} == dict.fromkeys(ids, "Success")
    assert {name: found[job_id]["source"] for name, job_id in ids.items()} == dict.fromkeys(ids, "query")
    assert found[ids["Snapshot"]]["outputs"]["files"]
    assert found[ids["Transcode"]]["outputs"]["files"][0]["width"]
    assert found[ids["Workflow"]]["activities"]


@pytest.mark.parametrize("kind", SUBMITTED_KINDS, ids=lambda kind: kind.name)
def test_what_can_be_submitted_is_submitted_and_handled(place: Place, mps: BareMps, kind: JobKind) -> None:
    output = {
        "IProduction": f"{BUCKET}/out/{{source}}.mp4",
        "Transcode": f"{BUCKET}/out/a film.mp4",
        "Snapshot": f"{BUCKET}/out/{{Count}}.jpg",
    }
    what = ["VideoClip"] if kind.name == "IProduction" else ["--kind", kind.name.lower()]
    params = {"Transcode": {"TemplateId": "S00000001-200010"}, "Snapshot": {"Num": "3", "Interval": "2"}}
    daemon = place.run().ready()
    options = ["--input", INPUT, "--output", output.get(kind.name, ""), "--pipeline", DEFAULT_PIPELINE_ID]
    given = ["--params", json.dumps(params.get(kind.name, {})), "--notify-url", "", "--data", "7"]
    submitted = place.start("submit", *what, *options, *given, "--wait", "--json", "-c", "listener.toml")

    assert submitted.wait() == 0, submitted.stderr
    job = json.loads(submitted.stdout)
    wait_until(lambda: bool(place.lines()))
    assert daemon.stop() == 0
    (line,) = place.lines()
    assert (line["job_id"], line["type"], line["user_data"]) == (job["job_id"], kind.name, "7")
    assert (job["kind"], job["state"]) == (kind.name, "Success")
