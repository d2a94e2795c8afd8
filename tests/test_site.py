"""The documentation builds as a site: strictly, without a network, and with everything that its pages load."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "mkdocs.yml")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of all that the site is built from."""
    folder = tmp_path / "source"
    shutil.copytree(ROOT / "docs", folder / "docs")
    for name in SOURCES:
        shutil.copy2(ROOT / name, folder / name)
    return folder


def build(source: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=source,
        # No warning about the next MkDocs from the theme; and a dead proxy, since nothing may be fetched.
        env={**os.environ, "NO_MKDOCS_2_WARNING": "true", "HTTPS_PROXY": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_site_builds_without_warnings_and_loads_nothing_from_elsewhere(source: Path) -> None:
    built = build(source)

    assert built.returncode == 0, built.stdout + built.stderr
    loaded = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)")
    pages = sorted((source / "site").rglob("*.html"))
    assert len(pages) > 15
    assert {page.name: urls for page in pages if (urls := loaded.findall(page.read_text("utf-8")))} == {}


def test_every_broken_link_is_reported_and_fails_the_build(source: Path) -> None:
    """With pages of one line each: what is in them takes most of the time."""
    broken = ["nowhere.md", "mps.md#no-such-heading", "/mps.md"]
    for page in source.rglob("*.md"):
        page.write_text("# A page\n", "utf-8")
    (source / "docs" / "mns.md").write_text("".join(f"[broken]({link})\n" for link in broken), "utf-8")

    built = build(source)

    assert built.returncode != 0
    assert [link for link in broken if f"'{link}'" not in built.stderr] == []
    assert f"Aborted with {len(broken)} warnings in strict mode!" in built.stdout
