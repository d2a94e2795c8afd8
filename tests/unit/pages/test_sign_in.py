"""Who may see the pages, and who may change anything there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from listener.pages.application import SIGN_IN_PAUSE_SECONDS, SIGN_INS, Pages
from listener.pages.sessions import LIFETIME, MAX_SESSIONS, Sessions, cookie_name
from listener.pages.sign_in import local_path
from listener.settings.sections import Settings
from listener.store.sql_store import SqlStore
from tests.support.cases import each_case
from tests.support.clocks import let_pass
from tests.support.pages import READER, WRITER, Browser, browsing

DROP = "/dead-letters/drop"


def test_without_a_session_every_page_leads_to_the_sign_in(visitor: Browser) -> None:
    for path in ("/", "/jobs?state=Fail", "/dead-letters", "/quarantine", "/overview.json"):
        reply = visitor.get(path)
        assert (reply.status_code, reply.headers["location"][:8]) == (303, "/sign-in"), path
    assert visitor.get("/jobs?state=Fail").headers["location"] == "/sign-in?next=%2Fjobs%3Fstate%3DFail"
    assert visitor.call("HEAD", "/jobs").headers["location"] == "/sign-in?next=%2Fjobs"
    assert visitor.call("POST", DROP, data={"id": "1"}).headers["location"] == "/sign-in"


def test_a_token_opens_a_session_whose_cookie_tells_nothing_and_no_script_reads(visitor: Browser) -> None:
    reply = visitor.sign_in(WRITER, after="/jobs?state=Fail")

    cookie = reply.headers["set-cookie"]
    assert (reply.status_code, reply.headers["location"]) == (303, "/jobs?state=Fail")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert WRITER not in cookie
    assert visitor.get("/jobs").status_code == 200
    assert visitor.get("/sign-in").headers["location"] == "/"


def test_the_cookie_stays_on_https_if_the_page_came_that_way(visitor: Browser) -> None:
    visitor.base_url = "https://localhost"
    reply = visitor.sign_in(WRITER)

    assert "Secure" in reply.headers["set-cookie"].split("; ")


def test_a_wrong_token_is_answered_after_a_pause_and_logged_without_it(visitor: Browser) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    visitor.pages = Pages(visitor.api.context, pause=pause)
    with capture_logs() as logs:
        reply = visitor.sign_in("wrong-0123456789")

    assert (reply.status_code, pauses) == (401, [SIGN_IN_PAUSE_SECONDS])
    assert "Unknown token" in reply.text
    assert "set-cookie" not in reply.headers
    assert [each["event"] for each in logs] == ["pages.sign_in_failed"]
    assert "wrong-0123456789" not in f"{logs}{reply.text}"


def test_guessing_in_parallel_is_no_faster(visitor: Browser) -> None:
    replies: list[int] = []

    async def guess_again(_seconds: float) -> None:
        """Another guess, while the answer to the last one is held back."""
        replies.append((await guess()).status_code)

    async def guess() -> httpx.Response:
        return await visitor.ask("POST", "/sign-in", data={"token": "guess-0123456789"})

    visitor.pages = Pages(visitor.api.context, pause=guess_again)
    visitor.api.run(guess())
    assert replies == [429] + [401] * (SIGN_INS - 1)


@each_case(
    "elsewhere",
    ["https://attacker.example/", "//attacker.example", "/\\attacker.example", "", "javascript:x", "/\n/a"],
)
def test_the_sign_in_leads_to_no_other_host(elsewhere: str) -> None:
    assert local_path(elsewhere) == "/"


def test_signing_out_ends_the_session_also_for_a_copy_of_its_cookie(browser: Browser) -> None:
    copy = dict(browser.cookies)
    assert browser.post("/sign-out").headers["location"] == "/sign-in"

    browser.cookies = httpx.Cookies(copy)
    assert browser.get("/jobs").status_code == 303


def test_a_session_expires(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    let_pass(LIFETIME - timedelta(seconds=30), monkeypatch)
    assert browser.get("/jobs").status_code == 200
    let_pass(timedelta(seconds=30), monkeypatch)
    assert browser.get("/jobs").status_code == 303


def test_a_session_ends_with_its_token(browser: Browser, tokens: Path) -> None:
    assert browser.get("/jobs").status_code == 200
    tokens.write_text(f"write another-{WRITER}\n")

    assert browser.get("/jobs").status_code == 303


def test_no_number_of_sign_ins_fills_the_memory(browser: Browser) -> None:
    sessions = Sessions(browser.api.context.tokens)
    other = sessions.begin(READER)
    made = [sessions.begin(WRITER) for _ in range(MAX_SESSIONS + 1)]

    assert [each and sessions.find(each.id) for each in made[:2]] == [None, made[1]]
    assert other
    assert sessions.find(other.id) == other, "those with another token are not ended"


def test_whoever_may_only_read_sees_no_buttons_and_can_change_nothing(
    visitor: Browser, dead_letters: list[int]
) -> None:
    visitor.sign_in(READER)
    page = visitor.text("/dead-letters")

    assert "read only" in page
    assert "Drop" not in page
    reply = visitor.post(DROP, id=str(dead_letters[0]), confirmed="1")
    assert reply.status_code == 403
    assert "may only read" in reply.text
    assert str(dead_letters[0]) in visitor.text("/dead-letters")


@pytest.mark.parametrize("csrf", ["", "0" * 64, "é"])
def test_a_form_without_the_token_of_its_session_changes_nothing(
    browser: Browser, dead_letters: list[int], csrf: str
) -> None:
    reply = browser.post(DROP, csrf=csrf, id=str(dead_letters[0]), confirmed="1")

    assert (reply.status_code, "out of date" in reply.text) == (403, True)
    assert str(dead_letters[0]) in browser.text("/dead-letters")
    assert browser.post("/sign-out", csrf=csrf).status_code == 403


def test_the_token_of_another_session_does_not_count(browser: Browser, dead_letters: list[int]) -> None:
    of_another = browser.csrf()
    browser.sign_in(WRITER)

    assert browser.post(DROP, csrf=of_another, id=str(dead_letters[0]), confirmed="1").status_code == 403


def test_at_a_unix_socket_no_one_signs_in_but_forms_are_verified(
    store: SqlStore, settings: Settings, dead_letters: list[int]
) -> None:
    with browsing(store, settings) as browser:
        assert browser.get("/sign-in").headers["location"] == "/"
        assert "Sign out" not in browser.text("/dead-letters")
        fields = {"id": str(dead_letters[0]), "confirmed": "1"}
        assert browser.post(DROP, csrf="0" * 64, **fields).status_code == 403
        assert browser.post(DROP, **fields).status_code == 200


def test_daemons_at_two_ports_of_one_host_do_not_share_a_cookie() -> None:
    assert cookie_name("127.0.0.1:8471") != cookie_name("127.0.0.1:8472")
