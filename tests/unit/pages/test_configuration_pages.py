"""Routes, queues and settings, and the explanation of a message."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from listener.core import clock
from listener.core.queue_status import QueueReport
from listener.emulator.server import running
from listener.pages.application import Pages
from listener.pages.routes import MAX_MESSAGE
from listener.settings.sections import Settings
from listener.store.sql_store import SqlStore
from tests.support.builders import a_callback, a_job, decoded_messages, routes_all, wrapped
from tests.support.pages import Browser, browsing

COVERS = {
    "name": "covers",
    "match": {"function": ["Cover", "VideoH2V"], "data": {"article": 7}},
    "handlers": [
        {"use": "webhook", "name": "app", "url": "https://app.example/?key=testKeySecret"},
        {"use": "log"},
    ],
    "retry": {"max_attempts": 3},
    "deadline": "2h",
}


def explained(browser: Browser, message: str) -> str:
    reply = browser.post("/routes/explain", csrf=browser.csrf("/routes"), message=message)
    assert reply.status_code == 200, reply.text
    return reply.text


def test_routes_are_shown_with_what_is_open_and_without_options(store: SqlStore) -> None:
    store.record(decoded_messages(3), routes_all(), at=clock.now())
    with browsing(store, Settings.model_validate({"routes": [COVERS]})) as browser:
        page = browser.text("/routes")

    assert "&#39;Cover&#39; or &#39;VideoH2V&#39;" in page
    assert "3 attempts within" in page
    assert "deadline 2h" in page
    assert "videos / log" in page  # has deliveries, but is not in the settings
    assert "3 pending" in page
    assert "testKeySecret" not in page


def test_a_message_is_explained_and_not_recorded(browser: Browser, store: SqlStore) -> None:
    store.add_job(a_job(job_id="job-1"))
    page = explained(browser, wrapped(a_callback(JobId="job-1"), "topic-xml"))

    assert "Recorded as <strong>routed</strong>" in page
    assert "topic-xml" in page
    assert "videos / log" in page
    assert "No outcome yet" in browser.text("/job?name=job-1")


def test_a_garbled_message_is_shown_where_it_breaks(browser: Browser) -> None:
    page = explained(browser, '{"JobId": "job-1", <b>')

    assert "Recorded as <strong>quarantined</strong>" in page
    assert "Cannot be decoded" in page
    assert "<b>" not in page


@pytest.mark.parametrize(("message", "status"), [(" ", 422), ("x" * (MAX_MESSAGE + 1), 422)])
def test_what_is_no_message_is_an_error_page(browser: Browser, message: str, status: int) -> None:
    reply = browser.post("/routes/explain", csrf=browser.csrf("/routes"), message=message)

    assert reply.status_code == status


def test_queues_show_how_receiving_goes_and_their_depth_on_request(store: SqlStore) -> None:
    with running() as server:
        server.call(lambda emulator: emulator.mns.create("q"))
        queues = [{"endpoint": server.url, "queue": name} for name in ("q", "gone")]
        reports = (
            QueueReport(
                name="q", pollers=2, last_receive=timedelta(seconds=65), delay=timedelta(seconds=185)
            ),
            QueueReport(name="gone", error="no such queue <q>"),
        )
        with browsing(store, Settings.model_validate({"queues": queues})) as browser:
            browser.pages = Pages(replace(browser.api.context, queues=lambda: reports))
            before, asked = browser.text("/queues"), browser.text("/queues?ask=1")

    assert "1m5s ago" in before
    assert "3m5s" in before
    assert "2 of 8" in before
    assert "no such queue &lt;q&gt;" in before
    assert "Delayed" not in before
    assert asked.count('data-label="Delayed"') == 1
    assert "QueueNotExist" in asked


def test_settings_are_shown_without_secrets_and_mark_what_was_set(store: SqlStore) -> None:
    given = {
        "store": {"url": "postgresql://writer:testKeySecret@db/listener"},
        "dispatch": {"lease": "45s"},
        "routes": [COVERS],
    }
    with browsing(store, Settings.model_validate(given)) as browser:
        page = browser.text("/settings")

    assert "<strong>45s</strong>" in page
    assert "writer" in page
    assert "testKeySecret" not in page


def test_defaults_are_not_marked(browser: Browser) -> None:
    assert "<strong>" not in browser.text("/settings")
