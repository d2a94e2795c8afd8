"""``mns-listener reconcile``, where it can't be undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from listener.client import Client
from listener.settings.loader import settings_from
from tests.support.program import Place, unused_endpoint


def make_overdue(client: Client) -> None:
    with client.store.database.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET deadline_at = 0, next_query_at = 0")


def test_a_job_is_lost_only_if_a_queue_confirms_the_clock(place: Place, printed: Callable[..., Any]) -> None:
    with Client(settings_from(place.folder / "listener.toml")) as client:
        client.register("forgotten", function="Cover")
        outcomes = []
        for endpoint in (unused_endpoint(), place.server.url):
            make_overdue(client)
            (found,) = printed("reconcile", "--overdue", queues__0__endpoint=endpoint)
            outcomes.append(found["result"])

    assert outcomes == ["unknown", "lost"]
