"""Lists with their filters and cursors, and what can be done to their rows."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from listener.core import clock
from listener.core.model import JobState, ResultStatus, RoutingDecision
from listener.pages import bulk, filter_form
from listener.settings.sections import Settings
from listener.store import filters
from listener.store.dead_letters import DeadLetters
from listener.store.deliveries import Deliveries
from listener.store.quarantined_messages import QuarantinedMessages
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, TOKEN, a_claim, a_job, decoded_messages, events_of_medium, routes_all
from tests.support.pages import Browser, browsing


def job_ids(store: SqlStore, count: int, **fields: str) -> list[str]:
    """The ids of new jobs, oldest first."""
    ids = [f"{number:032x}" for number in range(count)]
    for number, job_id in enumerate(ids):
        store.add_job(a_job(token=f"{TOKEN}-{number}", job_id=job_id, **fields))
    return ids


def test_jobs_are_listed_with_the_states_of_their_deliveries(browser: Browser, store: SqlStore) -> None:
    store.add_job(a_job(job_id="mps-callbacks-job-0", reference="talk-<7>"))
    store.record(decoded_messages(1), routes_all(), at=clock.now())
    page = browser.text("/jobs")

    assert "mps-callbacks-job-0" in page
    assert "talk-&lt;7&gt;" in page
    assert '<span class="state warn">pending</span>' in page


def test_pages_follow_each_other_and_keep_their_filters(
    browser: Browser, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter_form, "PAGE", 2)
    ids = job_ids(store, 3)
    first = browser.text("/jobs?function=videoh2v")
    older = first.split('rel="next"')[0].rpartition('href="')[2].rstrip('" ').replace("&amp;", "&")
    second = browser.text(older)

    assert [job in first for job in ids] == [False, True, True]
    assert older.startswith("/jobs?function=videoh2v&before=")
    assert [job in second for job in ids] == [True, False, False]
    assert 'href="/jobs?function=videoh2v">Newest</a>' in second
    assert 'rel="next"' not in second


def test_a_long_timeline_has_pages(
    browser: Browser, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter_form, "PAGE", 2)
    store.record(events_of_medium(3), routes_all(), at=clock.now())
    newest, oldest = browser.text("/job?name=v"), browser.text("/job?name=v&before=2")

    assert [page.count("Callback received") for page in (newest, oldest)] == [2, 1]
    assert "2 of its results are shown, the newest ones" in newest
    assert 'href="/job?name=v&amp;before=2" rel="next">Older</a>' in newest
    assert 'href="/job?name=v">Newest</a>' in oldest
    assert 'rel="next"' not in oldest


@pytest.mark.parametrize("path", ["/jobs", "/deliveries"])
def test_a_page_that_has_searched_enough_offers_to_search_on(
    browser: Browser, store: SqlStore, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(filters, "JOINED_ROWS", 1)
    job_ids(store, 2)
    store.record(decoded_messages(2), routes_all(), at=clock.now())
    first = browser.text(f"{path}?result_state=Lost")

    assert "searches on" in first
    assert f'href="{path}?result_state=Lost&amp;before=2" rel="next">Older</a>' in first
    last = browser.text(f"{path}?result_state=Lost&before=2")
    assert "searches on" not in last
    assert 'rel="next"' not in last


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=submitted", True),
        ("state=Fail", False),
        ("function=Cover", False),
        ("reference=talk-*", True),
        ("since=2024-05-01T11:00", True),
        ("since=2024-05-01T12:00:01", False),
        ("since=2024-05-01T14:00:01%2B02:00", False),
        ("until=1s", True),
        ("route=videos", False),
    ],
)
def test_filters_narrow_a_list_and_stay_in_its_form(
    browser: Browser, store: SqlStore, query: str, found: bool
) -> None:
    [job] = job_ids(store, 1, reference="talk-1")
    page = browser.text(f"/jobs?{query}")

    assert (job in page, "No jobs match." in page) == (found, not found)
    assert '<details class="filters" open>' in page


@pytest.mark.parametrize("query", ["since=yesterday", "before=x", "before=9999999999999999999", "before=²"])
def test_an_invalid_filter_is_an_error_page(browser: Browser, query: str) -> None:
    reply = browser.get(f"/jobs?{query}")

    assert (reply.status_code, "<h1>" in reply.text) == (422, True)


def test_an_exact_name_leads_to_its_job_and_a_beginning_to_those_that_it_fits(
    browser: Browser, store: SqlStore
) -> None:
    job_ids(store, 2)
    store.add_job(a_job(token="t" * 22, job_id="", reference="talk/7 ä", state=JobState.INTENT))

    assert browser.get("/jobs?name=talk%2F7+%C3%A4").headers["location"] == "/job?name=talk%2F7+%C3%A4"
    assert browser.get("/jobs?name=talk").headers["location"] == "/job?name=talk%2F7+%C3%A4"
    assert browser.text("/jobs?name=000").count("/job?name=0000") == 2
    assert "Nothing has this name." in browser.text("/jobs?name=%3Cb%3E")
    assert "talk/7 ä" in browser.text("/job?name=talk%2F7+%C3%A4")


def test_parked_results_say_why_and_are_routed_once_a_route_matches(store: SqlStore, tokens: Path) -> None:
    parked = RoutingDecision(status=ResultStatus.PARKED, reason="no route matches")
    store.record(decoded_messages(2), lambda _result, _job, _queue: parked, at=clock.now())
    route = {"name": "covers", "match": {"function": "Cover"}, "handlers": [{"use": "log"}]}
    with browsing(store, Settings.model_validate({"routes": [route]})) as browser:
        reason = "function is &#34;VideoH2V&#34;, wanted &#34;Cover&#34;"
        assert reason in browser.text("/parked")
        assert reason in browser.text("/parked/show?id=1")
        asked = browser.post("/parked/route", csrf=browser.csrf("/parked"), id="1")
        assert "1 cannot be routed: no route matches" in asked.text
    with browsing(store, Settings.model_validate({"routes": [route | {"match": {}}]})) as browser:
        done = browser.post("/parked/route", csrf=browser.csrf("/parked"), id="1", confirmed="1")
        assert "1 parked result routed" in done.text
        assert "to covers/log" in done.text
        browser.post("/parked/drop", csrf=browser.csrf("/parked"), all="1", confirmed="1")
        assert "Nothing is parked." in browser.text("/parked")
        assert browser.get("/parked/show?id=1").status_code == 404
    assert [each.result.subject for each in Deliveries(store.database).page()] == ["mps-callbacks-job-0"]


def test_pending_deliveries_are_retried_or_cancelled_and_running_ones_are_not(
    browser: Browser, store: SqlStore
) -> None:
    store.record(decoded_messages(2), routes_all(), at=clock.now(), claim=a_claim(limit=1))
    page = browser.text("/deliveries")
    assert page.count("disabled") == 1
    assert "mps-callbacks-job-1" in page

    retried = browser.post("/deliveries/retry", csrf=browser.csrf("/deliveries"), all="1", confirmed="1")
    assert "1 pending delivery retried" in retried.text
    browser.post("/deliveries/cancel", csrf=browser.csrf("/deliveries"), all="1", confirmed="1")
    assert [letter.result.subject for letter in DeadLetters(store.database).page()] == ["mps-callbacks-job-1"]


def test_empty_lists_say_what_that_means(browser: Browser) -> None:
    assert "No jobs yet." in browser.text("/jobs")
    assert "No dead letters." in browser.text("/dead-letters")
    assert "Quarantine is empty." in browser.text("/quarantine")
    assert "Nothing is parked." in browser.text("/parked")
    assert "Nothing is pending." in browser.text("/deliveries")


def test_what_a_callback_contains_is_text_and_no_markup(
    browser: Browser, dead_letters: list[int], quarantined: list[int]
) -> None:
    assert "no such &lt;b&gt;bucket&lt;/b&gt;" in browser.text("/dead-letters")
    assert "no such &lt;b&gt;bucket&lt;/b&gt;" in browser.text(f"/dead-letters/show?id={dead_letters[0]}")
    assert "<script>alert" not in browser.text("/quarantine")
    assert "&lt;script&gt;alert(1)" in browser.text(f"/quarantine/show?id={quarantined[0]}")


def test_selected_dead_letters_are_replayed_once_that_is_confirmed(
    browser: Browser, store: SqlStore, dead_letters: list[int]
) -> None:
    ids = list(map(str, dead_letters[:2]))
    asked = browser.post("/dead-letters/replay", id=ids)
    assert "Replay 2 dead letters?" in asked.text
    assert "to videos/log" in asked.text
    assert len(DeadLetters(store.database).page()) == 3

    done = browser.post("/dead-letters/replay", id=ids, confirmed="1")
    assert "2 dead letters replayed" in done.text
    assert [letter.id for letter in DeadLetters(store.database).page()] == dead_letters[2:]
    assert [each.id for each in Deliveries(store.database).page()] == dead_letters[:2]
    assert browser.api.woken == 1
    again = browser.post("/dead-letters/replay", id=ids, confirmed="1")
    assert "0 dead letters replayed" in again.text
    assert "2 are no longer there" in again.text


def test_a_dead_letter_that_no_route_takes_stays_with_the_reason(
    store: SqlStore, tokens: Path, dead_letters: list[int]
) -> None:
    only_covers = {"name": "covers", "match": {"function": "Cover"}, "handlers": [{"use": "log"}]}
    with browsing(store, Settings.model_validate({"routes": [only_covers]})) as browser:
        asked = browser.post("/dead-letters/replay", id=str(dead_letters[0]))
        done = browser.post("/dead-letters/replay", id=str(dead_letters[0]), confirmed="1")

    assert "1 cannot be replayed: no route matches its result" in asked.text
    assert "1 could not be replayed: no route matches its result" in done.text
    assert len(DeadLetters(store.database).page()) == 3


def test_all_that_match_are_dropped_but_none_that_came_after_the_confirmation(
    browser: Browser, store: SqlStore, dead_letters: list[int]
) -> None:
    asked = browser.post("/dead-letters/drop", all="1", route="videos")
    assert "Drop 3 dead letters?" in asked.text
    store.record(decoded_messages(1, prefix="later"), routes_all(), at=clock.now())
    later = Deliveries(store.database).page()[0].id
    Deliveries(store.database).cancel([later], at=clock.now())

    form = {"all": "1", "route": "videos", "newest": str(dead_letters[0]), "confirmed": "1"}
    assert "3 dead letters dropped" in browser.post("/dead-letters/drop", **form).text
    assert [letter.id for letter in DeadLetters(store.database).page()] == [later]


def test_of_very_many_a_bounded_number_is_changed_at_once(
    browser: Browser, store: SqlStore, dead_letters: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MAX_AT_ONCE", 2)
    asked = browser.post("/dead-letters/drop", all="1")
    done = browser.post("/dead-letters/drop", all="1", confirmed="1")

    assert "More than 2 match" in asked.text
    assert "There may be more" in done.text
    assert [letter.id for letter in DeadLetters(store.database).page()] == dead_letters[2:]


def test_nothing_selected_is_an_error_page(browser: Browser, dead_letters: list[int]) -> None:
    reply = browser.post("/dead-letters/drop")

    assert (reply.status_code, "No dead letters were selected" in reply.text) == (422, True)


def test_quarantined_messages_are_retried_and_those_that_stay_garbled_stay(
    browser: Browser, store: SqlStore, quarantined: list[int]
) -> None:
    ids = list(map(str, quarantined))
    asked = browser.post("/quarantine/retry", csrf=browser.csrf("/quarantine"), id=ids)
    assert "Retry 1 quarantined message?" in asked.text
    assert len(QuarantinedMessages(store.database).page()) == 2

    done = browser.post("/quarantine/retry", csrf=browser.csrf("/quarantine"), id=ids, confirmed="1")
    assert "1 quarantined message retried" in done.text
    assert "1 could not be retried" in done.text
    assert [entry.id for entry in QuarantinedMessages(store.database).page()] == quarantined[:1]
    assert Queries(store.database).history("job-1") is not None


def test_a_message_is_dropped(browser: Browser, store: SqlStore, quarantined: list[int]) -> None:
    ids, csrf = str(quarantined[0]), browser.csrf("/quarantine")
    assert "They are deleted permanently." in browser.post("/quarantine/drop", csrf=csrf, id=ids).text
    browser.post("/quarantine/drop", csrf=csrf, id=ids, confirmed="1")

    assert [entry.id for entry in QuarantinedMessages(store.database).page()] == quarantined[1:]


def test_a_row_that_is_gone_is_an_error_page(browser: Browser) -> None:
    for path in ("/dead-letters/show?id=7", "/quarantine/show?id=7", "/job?name=nope"):
        assert browser.get(path).status_code == 404, path
    assert browser.get("/dead-letters/show?id=seven").status_code == 422


def test_times_are_relative_where_their_age_matters(browser: Browser, store: SqlStore) -> None:
    store.record([*decoded_messages(1)], routes_all(), at=clock.now() - timedelta(hours=2, minutes=5))
    Deliveries(store.database).cancel([1], at=clock.now() - timedelta(hours=1, minutes=5, seconds=5))

    assert ">1h5m ago</time>" in browser.text("/dead-letters")
    assert NOON.isoformat() not in browser.text("/dead-letters")
