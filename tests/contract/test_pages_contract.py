"""The pages, on each supported database: their queries are those of the API, and some of their own."""

from __future__ import annotations

from listener.core.model import Dead, ResultStatus, RoutingDecision, Settlement, Target
from listener.pages.application import AREAS
from listener.settings.sections import Settings
from listener.store.sql_store import SqlStore
from tests.support.builders import (
    JOB_ID,
    NOON,
    a_claim,
    a_decoded_message,
    a_job,
    a_message,
    a_result,
    decoded_messages,
    routes_all,
)
from tests.support.pages import browsing

SETTINGS = Settings.model_validate({"routes": [{"name": "videos", "handlers": [{"use": "log"}]}]})


def fill(store: SqlStore) -> None:
    """One row of everything that the pages list."""
    store.add_job(a_job())
    undecodable = a_decoded_message(message=a_message(message_id="m"), result=None, reason="garbled")
    parked = a_decoded_message(message=a_message(message_id="p"), result=a_result(job_id="parked"))
    store.record([a_decoded_message(), undecodable], routes_all(Target("videos", "log")), at=NOON)
    store.record([parked], lambda *_: RoutingDecision(status=ResultStatus.PARKED), at=NOON)
    (claimed,) = store.claim(a_claim(limit=1), at=NOON)
    store.settle([Settlement(delivery=claimed, outcome=Dead(reason="no"))], at=NOON)
    store.record(decoded_messages(1), routes_all(Target("videos", "log")), at=NOON)


def test_every_area_shows_what_there_is(store: SqlStore) -> None:
    fill(store)
    with browsing(store, SETTINGS) as browser:
        replies = {
            path: browser.get(path) for path in (*(area.path for area in AREAS), f"/job?name={JOB_ID}")
        }

    assert {path: reply.status_code for path, reply in replies.items() if reply.status_code != 200} == {}
    shown = {"/jobs": JOB_ID, "/dead-letters": JOB_ID, "/quarantine": "garbled", "/parked": "parked"}
    assert [path for path, text in shown.items() if text not in replies[path].text] == []
