"""A release before ours goes on working at a store that ours has upgraded: replicas are replaced one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import Connection, select, text

from listener.core.model import Done, Settlement
from listener.store.database import Database
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore
from listener.store.tables import EPOCH, MICROSECOND, jobs, quarantine, results
from tests.support.builders import NOON, a_claim, a_decoded_message, a_result, routes_all
from tests.support.stores import count, deliveries, migrate_to, states, the_job

SECOND: Final = timedelta(seconds=1)
AT: Final = (NOON - EPOCH) // MICROSECOND

# What schema 0001 had, and what the release that made it knew. These statements never change.
ADD_JOB = """
INSERT INTO jobs (token, job_id, reference, function, pipeline, input, output, params, model, schedule_params,
    notify_url, user_data, state, error, created_at, submitted_at, finished_at)
VALUES (:token, :job_id, NULL, 'Cover', '', '', '', '', '', '', '', NULL, 'submitted', '', :at, :at, NULL)
"""
ADD_RESULT = """
INSERT INTO results (dedup_key, job_id, run_id, job, type, function, state, code, message, details, user_data, token,
    activities, pipeline, source, raw, queue, message_id, status, wait_until, received_at, copies,
    contradictions)
VALUES (:dedup_key, :job_id, '', (SELECT id FROM jobs WHERE job_id = :known), 'IProduction', 'Cover', 'Success', '', '',
    NULL, NULL, '', NULL, '', 'callback', '{}', 'q', 'm', 'routed', NULL, :at, 1, 0)
"""
ADD_DELIVERY = """
INSERT INTO deliveries (result, queue, route, handler, state, attempt, failures, next_at, owner, lease_until,
    last_error, created_at, settled_at)
VALUES ((SELECT id FROM results WHERE dedup_key = :dedup_key), 'q', 'videos', 'log', 'pending', 0, 0, :at, NULL, NULL,
    NULL, :at, NULL)
"""
CLAIM = """
UPDATE deliveries SET state = 'running', owner = 'old', lease_until = :at + 30000000, attempt = attempt + 1,
    next_at = NULL
WHERE id = (SELECT min(id) FROM deliveries WHERE state = 'pending') RETURNING id
"""
SETTLE = """
UPDATE deliveries SET state = 'done', owner = NULL, lease_until = NULL, next_at = NULL, settled_at = :at,
    last_error = NULL
WHERE id = :id AND attempt = 1 AND state = 'running'
"""
QUARANTINE = """
INSERT INTO quarantine (queue, message_id, body, reason, dequeue_count, enqueued_at, received_at, copies)
VALUES ('q', :id, 'x', 'no JSON', 1, NULL, :at, 1)
"""


class OldRelease:
    """Speaks to the store as the release of schema 0001 did."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def receive(self, job_id: str) -> None:
        with self._database.write() as connection:
            run(connection, ADD_JOB, token=job_id, job_id=job_id)
            run(connection, ADD_RESULT, dedup_key=job_id, job_id=job_id, known=job_id)
            run(connection, ADD_DELIVERY, dedup_key=job_id)
            run(connection, QUARANTINE, id=job_id)

    def handle_one(self) -> None:
        with self._database.write() as connection:
            claimed = run(connection, CLAIM).scalar_one()
        with self._database.write() as connection:
            assert run(connection, SETTLE, id=claimed).rowcount == 1


def run(connection: Connection, statement: str, **values: Any) -> Any:
    return connection.execute(text(statement), {"at": AT, **values})


@pytest.fixture
def old(empty_url: str) -> Iterator[OldRelease]:
    """A store at schema 0001 with one job handled and one pending, and the old release at work on it."""
    with closing(Database(empty_url)) as database:
        with database.write() as connection:
            migrate_to(connection, "0001")
        release = OldRelease(database)
        for job_id in ("handled", "pending"):
            release.receive(job_id)
        release.handle_one()
        yield release


def test_what_the_old_release_wrote_the_new_one_finishes(old: OldRelease, empty_url: str) -> None:
    with closing(SqlStore.open(empty_url)) as store:
        (delivery,) = store.claim(a_claim(), at=NOON)
        assert delivery.result.job_id == "pending"
        assert delivery.job is not None
        assert (delivery.job.tenant, delivery.job.queries) == ("", 0)
        store.settle([Settlement(delivery=delivery, outcome=Done())], at=NOON)

        assert states(store) == ["done", "done"]
        assert Queries(store.database).counts()["jobs"] == {"submitted": 2}


def test_both_releases_work_at_the_upgraded_store(old: OldRelease, empty_url: str) -> None:
    with closing(SqlStore.open(empty_url)) as store:
        old.receive("old-after-upgrade")
        store.record([a_decoded_message(result=a_result(job_id="new"))], routes_all(), at=NOON + SECOND)
        claimed = store.claim(a_claim(limit=2), at=NOON)
        store.settle([Settlement(delivery=each, outcome=Done()) for each in claimed], at=NOON)
        old.handle_one()

        assert [each.result.job_id for each in claimed] == ["pending", "old-after-upgrade"]
        assert states(store) == ["done"] * 4
        copy = store.record([a_decoded_message(result=a_result(job_id="handled"))], routes_all(), at=NOON)
        assert (copy.new, copy.duplicates) == (0, 1)
        assert count(store, deliveries) == 4
        assert the_job(store, "handled").state == "Success", "the old release had not finished it"


def test_no_id_from_before_the_upgrade_is_assigned_again(old: OldRelease, empty_url: str) -> None:
    tables = (jobs, results, deliveries, quarantine)
    with closing(SqlStore.open(empty_url)) as store:
        with store.database.write() as connection:
            assert [sorted(connection.scalars(select(table.c.id))) for table in tables] == [[1, 2]] * 4
            for table in tables:
                connection.execute(table.delete())
        old.receive("later")

        with store.database.read() as connection:
            assert [sorted(connection.scalars(select(table.c.id))) for table in tables] == [[3]] * 4
