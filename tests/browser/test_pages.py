"""The pages of a real daemon in a real browser: every page can be used, every action does what it says.

All in one module, so that the browser and the daemon start once; the event loop of the browser's driver must end before
other tests of the process begin.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.support.builders import a_callback
from tests.support.chromium import PHONE, WIDE, Tab, chromium, tab
from tests.support.filled_daemon import CAPTIONS, COVERS, PARKED, FilledDaemon, filled_daemon
from tests.support.pages import READER, WRITER
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.process, pytest.mark.browser]

#: Every page that needs nothing to be done first.
PAGES = (
    "/",
    "/jobs",
    "/jobs?state=Success&since=2h",
    "/jobs?name=nothing-like-this",
    "/job?name=talk-1",
    "/job?name=subtitles-0",
    "/dead-letters",
    "/dead-letters?route=covers",
    "/deliveries",
    "/parked",
    "/quarantine",
    "/quarantine/show?id=1",
    "/routes",
    "/queues",
    "/settings",
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilledDaemon]:
    with filled_daemon(tmp_path_factory.mktemp("pages")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def sign_in(opened: Tab, token: str = WRITER) -> None:
    opened.open("/sign-in")
    opened.page.get_by_label("Token").fill(token)
    opened.page.get_by_role("button", name="Sign in").click()
    expect(opened.page.get_by_role("heading", level=1)).to_have_text("Overview")


@pytest.mark.parametrize(
    ("size", "dark"),
    [
        pytest.param(WIDE, False, id="light"),
        pytest.param(WIDE, True, id="dark"),
        pytest.param(PHONE, False, id="phone"),
    ],
)
def test_everybody_can_use_every_page(
    browser: Browser, daemon: FilledDaemon, size: tuple[int, int], dark: bool
) -> None:
    with tab(browser, daemon.url, size=size, dark=dark) as opened:
        opened.open("/sign-in")
        assert (opened.violations(), opened.overflow()) == ([], 0)
        sign_in(opened)
        for path in PAGES:
            opened.open(path)
            assert opened.page.locator("h1").count() == 1, path
            assert (opened.violations(), opened.overflow()) == ([], 0), path


def test_one_signs_in_and_around_by_keyboard_alone(browser: Browser, daemon: FilledDaemon) -> None:
    with tab(browser, daemon.url) as opened:
        keyboard = opened.page.keyboard
        opened.open("/dead-letters")
        expect(opened.page.get_by_label("Token")).to_be_focused()
        keyboard.type(WRITER)
        keyboard.press("Enter")
        expect(opened.page.get_by_role("heading", level=1)).to_have_text("Dead letters")
        opened.page.wait_for_load_state()  # until then, Chromium moves the focus to a link's target more than once
        keyboard.press("Tab")
        expect(opened.page.get_by_text("Skip to content")).to_be_focused()
        keyboard.press("Enter")
        expect(opened.page.get_by_role("main")).to_be_focused()
        keyboard.press("Tab")
        expect(opened.page.get_by_text("Filters", exact=True)).to_be_focused()
        keyboard.press("Enter")
        keyboard.press("Tab")
        expect(opened.page.get_by_label("Function")).to_be_focused()


def test_the_overview_draws_its_charts_and_refreshes(browser: Browser, daemon: FilledDaemon) -> None:
    with tab(browser, daemon.url) as opened:
        sign_in(opened)
        expect(opened.page.locator(".chart canvas")).to_have_count(2)
        with opened.page.expect_response("**/overview.json") as refreshed:
            opened.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        counts = {tile["name"]: tile["count"] for tile in refreshed.value.json()["tiles"]}
        expect(opened.page.locator("[data-tile=dead] .count")).to_have_text(counts["dead"])


def test_a_job_is_found_by_its_reference_and_shows_its_callback(
    browser: Browser, daemon: FilledDaemon
) -> None:
    with tab(browser, daemon.url) as opened:
        sign_in(opened)
        opened.page.get_by_role("link", name="Jobs").click()
        expect(opened.page.locator("tbody tr")).to_have_count(COVERS + CAPTIONS)
        opened.page.get_by_role("searchbox").fill("talk-1")
        opened.page.get_by_role("button", name="Find").click()
        expect(opened.page.locator("h1")).to_contain_text("talk-1")
        expect(opened.page.locator(".timeline .title")).to_have_text(
            ["Intent stored", "Submitted", "Callback received", "Handled"]
        )
        opened.page.get_by_text("Callback", exact=True).click()
        expect(opened.page.locator(".timeline pre")).to_contain_text('"State"')


def test_dead_letters_are_replayed_and_dropped(browser: Browser, daemon: FilledDaemon) -> None:
    with tab(browser, daemon.url) as opened:
        page = opened.page
        sign_in(opened)
        opened.open("/dead-letters")
        expect(page.get_by_role("button", name="Replay…")).to_be_disabled()
        page.get_by_label("Select all rows of this page").check()
        page.locator("input[name=id]").first.uncheck()
        page.get_by_role("button", name="Replay…").click()
        expect(page.locator("h1")).to_have_text(f"Replay {CAPTIONS - 1} dead letters?")
        expect(page.get_by_text("to captions/subtitles")).to_be_visible()
        assert opened.violations() == []
        daemon.accept()
        page.get_by_role("button", name=f"Replay {CAPTIONS - 1} dead letters").click()
        expect(page.locator("h1")).to_have_text(f"{CAPTIONS - 1} dead letters replayed")
        wait_until(lambda: daemon.place.delivery_states().get("done") == COVERS + CAPTIONS - 1)

        page.get_by_role("link", name="Back to the list").click()
        page.get_by_label("All that match").check()
        page.get_by_role("button", name="Drop…").click()
        page.get_by_role("button", name="Drop 1 dead letter").click()
        expect(page.locator("h1")).to_have_text("1 dead letter dropped")
        page.get_by_role("link", name="Back to the list").click()
        expect(page.get_by_text("No dead letters.")).to_be_visible()


def test_a_message_is_explained_and_the_queue_is_asked(browser: Browser, daemon: FilledDaemon) -> None:
    with tab(browser, daemon.url) as opened:
        sign_in(opened, READER)
        opened.open("/routes")
        opened.page.get_by_label("Body of a message").fill(a_callback(FunctionName="Cover", JobId="new"))
        opened.page.get_by_role("button", name="Explain").click()
        expect(opened.page.get_by_role("heading", level=1)).to_have_text("What would happen to this message")
        expect(opened.page.locator(".notice")).to_contain_text("routed")
        assert (opened.violations(), opened.overflow()) == ([], 0)
        opened.open("/queues")
        opened.page.get_by_role("link", name="Ask MNS").click()
        expect(opened.page.locator("[data-label=Receiving]")).to_have_text("ok")
        expect(opened.page.locator("[data-label=Waiting]")).to_have_text("0")


def test_a_parked_result_says_why(browser: Browser, daemon: FilledDaemon) -> None:
    with tab(browser, daemon.url) as opened:
        sign_in(opened)
        opened.open("/parked")
        expect(opened.page.locator("tbody tr")).to_have_count(PARKED)
        opened.page.locator("tbody a").first.click()
        expect(opened.page.locator(".pairs")).to_contain_text('wanted "Cover"')
        assert (opened.violations(), opened.overflow()) == ([], 0)
        opened.page.get_by_role("button", name="Route…").click()
        expect(opened.page.get_by_text("1 cannot be routed")).to_be_visible()


def test_without_scripts_a_message_is_dropped_from_quarantine(browser: Browser, daemon: FilledDaemon) -> None:
    with tab(browser, daemon.url, scripts=False) as opened:
        sign_in(opened)
        opened.open("/quarantine")
        opened.page.locator("input[name=id]").first.check()
        opened.page.get_by_role("button", name="Retry…").click()
        expect(opened.page.locator("h1")).to_have_text("Retry 0 quarantined messages?")
        opened.page.get_by_role("link", name="Cancel").click()
        opened.page.locator("input[name=id]").first.check()
        opened.page.get_by_role("button", name="Drop…").click()
        opened.page.get_by_role("button", name="Drop 1 quarantined message").click()
        expect(opened.page.locator("h1")).to_have_text("1 quarantined message dropped")
        assert len(daemon.place.quarantined()) == 1


def test_a_token_that_may_only_read_shows_no_actions(browser: Browser, daemon: FilledDaemon) -> None:
    with tab(browser, daemon.url) as opened:
        sign_in(opened, READER)
        opened.open("/quarantine")
        expect(opened.page.get_by_text("read only")).to_be_visible()
        expect(opened.page.get_by_role("button")).to_have_text(["Sign out"])
        opened.page.get_by_role("button", name="Sign out").click()
        expect(opened.page.get_by_label("Token")).to_be_visible()
