"""The overview, and the figures that its script draws."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from listener.core import clock
from listener.core.model import Source
from listener.daemon.statistics_loop import StatisticsLoop
from listener.pages.rendering import words
from listener.rules.attention import MIN_OUTCOMES
from listener.settings.sections import Settings
from listener.store.sql_store import SqlStore
from listener.store.statistics import Statistics
from tests.support.builders import NOON, a_decoded_message, a_job, a_result, decoded_messages, routes_all
from tests.support.pages import Browser, browsing


def test_what_needs_attention_is_counted_and_linked(
    browser: Browser, dead_letters: list[int], quarantined: list[int]
) -> None:
    page = browser.text("/")

    assert 'class="tile bad" href="/dead-letters"' in page
    assert 'class="tile warn" href="/quarantine"' in page
    assert 'class="tile " href="/parked"' in page
    assert "not ready" not in page


def test_a_daemon_that_is_not_ready_says_so(store: SqlStore, settings: Settings) -> None:
    with browsing(store, settings, ready=False) as browser:
        assert "The daemon is not ready: the store is away." in browser.text("/")


def test_outcomes_without_callbacks_are_shown_as_a_share(browser: Browser, store: SqlStore) -> None:
    now = clock.now()
    store.add_job(a_job(submitted_at=now - timedelta(minutes=3), created_at=now - timedelta(minutes=3)))
    others = [a_result(job_id=f"job-{number}", source=Source.QUERY) for number in range(1, MIN_OUTCOMES)]
    pages = []
    for results in ([a_result(source=Source.QUERY)], others):
        entries = [a_decoded_message(message=None, queue="", result=result) for result in results]
        store.record(entries, routes_all(), at=now)
        pages.append(browser.text("/"))

    assert ["100.0 %</strong>" in page for page in pages] == [True, True]
    assert ["mns-listener check" in page for page in pages] == [False, True]
    assert '<td class="num">3m</td>' in pages[0]


def test_the_figures_are_those_of_whole_minutes(
    browser: Browser, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = NOON + timedelta(minutes=2, seconds=30)
    monkeypatch.setattr(clock, "now", lambda: now)
    store.record(decoded_messages(3), routes_all(), at=NOON + timedelta(seconds=10))
    store.record(decoded_messages(1, prefix="now"), routes_all(), at=now)
    figures = browser.get("/overview.json").json()

    assert figures["minutes"][-1] == NOON.timestamp() + 60
    assert figures["received"][-2:] == [3, 0]
    assert figures["backlog"] == [[now.timestamp()], [4], [2.33]]
    assert {each["name"]: each["count"] for each in figures["tiles"]}["pending"] == "4"


def test_whoever_has_not_signed_in_gets_no_figures(store: SqlStore, tokens: Path) -> None:
    with browsing(store, token_file=tokens) as browser:
        assert browser.get("/overview.json").status_code == 303


def test_a_large_store_is_not_read_for_each_look(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = Statistics(store.database)
    store.record(decoded_messages(3), routes_all(), at=clock.now())
    loop = StatisticsLoop(statistics.totals, stop=threading.Event(), read_activity=statistics.activity)
    loop.turn()
    for name in ("totals", "activity"):
        monkeypatch.setattr(Statistics, name, None)

    with browsing(store, statistics=loop) as browser:
        assert '<span class="count">3</span>' in browser.text("/")
        figures = browser.get("/overview.json").json()
    assert figures["backlog"][1] == [3]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("CaptionExtraction", "Caption<wbr>Extraction", id="words"),
        pytest.param("ASR", "ASR", id="capitals"),
        pytest.param("aB<i>", "a<wbr>B&lt;i&gt;", id="escaped"),
    ],
)
def test_a_long_name_of_a_function_is_broken_between_its_words(name: str, shown: str) -> None:
    assert words(name) == shown
