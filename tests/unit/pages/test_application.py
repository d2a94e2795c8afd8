"""What holds for every page: headers, static files, errors."""

from __future__ import annotations

import re

import pytest
from structlog.testing import capture_logs

from listener.core.errors import StoreFailureKind, StoreUnavailable
from listener.pages.rendering import FOLDER
from listener.pages.security import HEADERS
from listener.store.queries import Queries
from tests.support.cases import each_case
from tests.support.pages import Browser


def unavailable(*_arguments: object, **_named: object) -> None:
    raise StoreUnavailable("the store: disk I/O error", kind=StoreFailureKind.DATABASE, hint="check the disk")


def broken(*_arguments: object, **_named: object) -> None:
    raise ZeroDivisionError("secret detail")


@each_case("path", ["/", "/jobs", "/nope", "/static/app.css", "/overview.json", "/sign-in"])
def test_every_answer_keeps_foreign_scripts_and_frames_away(browser: Browser, path: str) -> None:
    reply = browser.get(path)

    assert {name: reply.headers[name] for name in HEADERS} == HEADERS
    assert "script-src 'self';" in reply.headers["content-security-policy"]
    assert reply.headers["cache-control"] == ("no-cache" if "static" in path else "no-store")


def test_no_template_has_inline_scripts_or_styles() -> None:
    for path in (FOLDER / "templates").iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]* src=)|javascript:", text), (
            path.name
        )
        assert not re.search(r"""(?:src|href|action)=["']?(?:https?:)?//""", text), path.name


def test_static_files_are_kept_by_browsers_until_they_change(visitor: Browser) -> None:
    page = visitor.text("/sign-in")
    [address] = re.findall(r'href="(/static/app\.css[^"]*)"', page)
    reply = visitor.get(address)

    assert re.search(r"\?v=[0-9a-f]{12}$", address)
    assert reply.headers["content-type"].startswith("text/css")
    assert "immutable" in reply.headers["cache-control"]
    assert visitor.get("/static/..%2Fvisit.py").status_code == 404
    assert visitor.get("/static/nope.css").status_code == 404


def test_an_outage_of_the_store_is_a_page_that_says_so(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Queries, "jobs", unavailable)
    reply = browser.get("/jobs")

    assert (reply.status_code, "disk I/O error" in reply.text, "check the disk" in reply.text) == (
        503,
        True,
        True,
    )


def test_a_bug_is_logged_and_shows_nothing(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Queries, "jobs", broken)
    with capture_logs() as logs:
        reply = browser.get("/jobs")

    assert (reply.status_code, "secret detail" in reply.text) == (500, False)
    assert [(each["event"], each["path"]) for each in logs] == [("pages.failed", "/jobs")]


def test_other_methods_and_addresses_are_error_pages(browser: Browser) -> None:
    assert browser.call("DELETE", "/jobs").status_code == 405
    assert "There is no such page." in browser.get("/nope").text
    many = "&".join(f"a{number}=" for number in range(2000))
    assert browser.get(f"/jobs?{many}").status_code == 422


def test_the_page_that_is_shown_is_marked_in_the_navigation(browser: Browser) -> None:
    assert '<a href="/jobs" aria-current="page">' in browser.text("/jobs")
    assert '<a href="/" aria-current="page">' in browser.text("/")
    assert browser.text("/jobs").count("aria-current") == 1
