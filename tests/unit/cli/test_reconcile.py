"""``mns-listener reconcile``: where it can't be undone, and overdue jobs that wait for their next query."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from listener.client import Client
from listener.core import clock
from listener.settings.loader import settings_from
from tests.support.builders import a_job
from tests.support.command_line import Invoke
from tests.support.program import Place, unused_endpoint
from tests.support.stores import jobs, the_row


def make_overdue(client: Client) -> None:
    with client.store.database.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET submitted_at = 0, deadline_at = 0, next_query_at = 0")


def test_a_job_is_lost_only_if_a_queue_confirms_the_clock(place: Place, printed: Callable[..., Any]) -> None:
    with Client(settings_from(place.folder / "listener.toml")) as client:
        client.register("forgotten", function="Cover")
        outcomes = []
        for endpoint in (unused_endpoint(), place.server.url):
            make_overdue(client)
            (found,) = printed("reconcile", "--overdue", queues__0__endpoint=endpoint)
            outcomes.append(found["result"])

    assert outcomes == ["unknown", "lost"]


def test_an_overdue_job_that_waits_for_its_next_query_is_listed_with_its_time(
    place: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    with place.store() as store:
        store.add_job(a_job(reference="talk-7", deadline_at=clock.now() - timedelta(minutes=1)))
    (asked,) = printed("reconcile", "--overdue")
    (waiting,) = printed("reconcile", "--overdue")

    assert (asked["result"], waiting["result"]) == ("unknown", "waiting")
    assert asked["next_query_at"] == waiting["next_query_at"]
    assert datetime.fromisoformat(waiting["next_query_at"]) > clock.now()
    head, line = (each.split("\t") for each in invoke("reconcile", "--overdue").stdout.splitlines())
    assert head == ["job", "kind", "function", "result", "next query"]
    assert (line[3], line[4][:2]) == ("waiting", "20")


def test_lists_of_jobs_name_the_kind(place: Place, printed: Callable[..., Any], invoke: Invoke) -> None:
    with place.store() as store:
        store.add_job(a_job(job_id="a-snapshot", kind="Snapshot", function="", deadline_at=clock.now()))

    for command in (("jobs", "list"), ("reconcile", "--overdue")):
        head, line = (each.split("\t") for each in invoke(*command).stdout.splitlines())
        assert dict(zip(head, line, strict=True))["kind"] == "Snapshot"


def test_without_overdue_jobs_it_says_so(place: Place, invoke: Invoke) -> None:
    with place.store() as store:
        store.add_job(a_job(deadline_at=clock.now() + timedelta(hours=1)))

    assert invoke("reconcile", "--overdue").stdout == "no overdue jobs\n"


def test_a_job_that_is_asked_about_by_name_keeps_its_schedule(
    place: Place, printed: Callable[..., Any]
) -> None:
    deadline = clock.now() + timedelta(hours=1)
    with place.store() as store:
        store.add_job(a_job(reference="talk-7", deadline_at=deadline))
        before = the_row(store, jobs)

        (asked,) = printed("reconcile", "--job", "talk-7")

        assert asked["result"] == "unknown"
        assert the_row(store, jobs) == before
