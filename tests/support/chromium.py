"""A real browser without a screen: Debian's chromium, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

EXECUTABLE: Final = Path("/usr/bin/chromium")
FLAGS: Final = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
#: Milliseconds after which a step has failed; no step takes this long otherwise.
BOUND: Final = 90_000
WIDE, PHONE = (1280, 900), (390, 844)
#: Kinds of violations that keep people from using a page.
GRAVE: Final = ("serious", "critical")


@contextmanager
def chromium() -> Iterator[Browser]:
    if not EXECUTABLE.exists():
        pytest.fail(f"{EXECUTABLE} does not exist; install the Debian package chromium")
    expect.set_options(timeout=BOUND)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Tab:
    """One tab, which remembers what went wrong in its pages."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)  #: errors of the console and of scripts

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}")

    def heading(self) -> str:
        return self.page.locator("h1").inner_text()

    def violations(self) -> list[str]:
        """What axe-core finds on this page that keeps people from using it."""
        found: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {node['html']}"
            for each in found
            if each["impact"] in GRAVE
            for node in each["nodes"]
        ]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        width: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return width


@contextmanager
def tab(
    browser: Browser, url: str, *, size: tuple[int, int] = WIDE, dark: bool = False, scripts: bool = True
) -> Iterator[Tab]:
    """A tab without cookies; its complaints must be empty at the end."""
    context: BrowserContext = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
    )
    context.set_default_timeout(BOUND)
    try:
        opened = Tab(context.new_page(), url)
        opened.page.on(
            "console",
            lambda said: opened.complaints.append(said.text) if said.type in ("error", "warning") else None,
        )
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        yield opened
        assert opened.complaints == []
    finally:
        context.close()
