"""No field of a job or a result is forgotten on its way into a row, back, and into what the CLI prints."""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from listener.cli.jobs import jobs as jobs_command
from listener.core.model import Job, Result, Source
from listener.store.queries import Queries
from listener.store.rows import JSON_FIELDS, job_of, values_of_job
from listener.store.sql_store import SqlStore
from listener.store.tables import jobs, results
from tests.support.builders import NOON, a_decoded_message, routes_all
from tests.support.stores import the_job

#: Values that their fields' types do not allow to be made up.
SPECIAL: dict[str, Any] = {
    "token": "t" * 22,
    "state": "Success",
    "queries": 7,
    "source": Source.QUERY,
    "details": ({"url": "oss://b/o"}, "ß"),
    "activity_job_ids": ("a", "b"),
    "activity_states": ("Success", "Fail"),
}


def a_value(field: Field[Any], place: int) -> Any:
    """A value that differs from the field's default and from the values of all other fields."""
    if field.name in SPECIAL:
        return SPECIAL[field.name]
    return NOON + timedelta(minutes=place) if field.name.endswith("_at") else f"{field.name}-{place}"


def complete(kind: type[Any]) -> Any:
    """An instance whose fields are all set."""
    instance = kind(**{field.name: a_value(field, place) for place, field in enumerate(fields(kind))})
    assert all(
        field.default is MISSING or getattr(instance, field.name) != field.default for field in fields(kind)
    )
    return instance


JOB: Job = complete(Job)
RESULT: Result = replace(complete(Result), job_id="job", run_id="run")


def names_of(kind: type[Any]) -> set[str]:
    return {field.name for field in fields(kind)}


def test_every_field_of_a_job_is_a_column() -> None:
    assert names_of(Job) <= set(jobs.c.keys())


def test_every_column_of_a_job_is_written() -> None:
    assert set(values_of_job(JOB)) == set(jobs.c.keys()) - {"id"}


def test_a_job_is_the_same_after_both_directions() -> None:
    assert job_of(values_of_job(JOB)) == JOB


def test_a_job_comes_back_from_the_database_complete(store: SqlStore) -> None:
    store.add_job(JOB)

    assert the_job(store, JOB.token) == JOB


@pytest.mark.parametrize("name", ["job_id", "reference"])
def test_jobs_without_a_unique_name_do_not_collide(store: SqlStore, name: str) -> None:
    nameless = replace(JOB, job_id="", reference="")
    first = replace(nameless, token="1" * 22)
    second = replace(nameless, token="2" * 22)

    for job in (first, second):
        store.add_job(job)

    assert getattr(the_job(store, first.token), name) == ""
    assert getattr(the_job(store, second.token), name) == ""


def test_every_field_of_a_result_is_a_column_or_part_of_a_json_column() -> None:
    assert names_of(Result) - set(JSON_FIELDS) <= set(results.c.keys())


def test_a_result_comes_back_from_the_database_complete(store: SqlStore) -> None:
    store.record([a_decoded_message(result=RESULT)], routes_all(), at=NOON)

    (stored,) = Queries(store.database).results()
    assert stored.result == RESULT


def test_jobs_show_prints_every_field(
    store: SqlStore, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNS_LISTENER_STORE__URL", url)
    store.add_job(JOB)
    store.record([a_decoded_message(result=RESULT)], routes_all(), at=NOON)

    of_job = CliRunner().invoke(jobs_command, ["show", JOB.job_id, "--json"])
    of_result = CliRunner().invoke(jobs_command, ["show", "job", "--json"])

    assert (of_job.exit_code, of_result.exit_code) == (0, 0), of_job.output
    job = json.loads(of_job.stdout)["job"]
    assert set(job) == names_of(Job)
    assert (job["tenant"], job["queries"]) == (JOB.tenant, 7)
    assert job["deadline_at"] == JOB.deadline_at.isoformat() if JOB.deadline_at else None
    (result,) = json.loads(of_result.stdout)["results"]
    assert names_of(Result) <= set(result)
