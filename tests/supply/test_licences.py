"""docs/licences.md names every shipped package with its licence, and explains those that are not permissive."""

from __future__ import annotations

import re

import pytest

from tests.supply import licences
from tests.supply.licences import PAGE, copyleft, page_with, shipped, table


def test_the_page_names_every_shipped_package_and_its_licence() -> None:
    assert len(shipped()) > 40
    assert PAGE.read_text("utf-8") == page_with(table()), "make licences"


def test_every_licence_with_conditions_is_explained() -> None:
    section = PAGE.read_text("utf-8").split("## Copyleft")[1].split("## ")[0]
    explained = {
        name: licence
        for names, licence in re.findall(
            r"^\| ([\w, -]+) \| ([\w.-]+) \| \w.{40,} \|$", section, re.MULTILINE
        )
        for name in names.split(", ")
    }

    assert explained == copyleft()


@pytest.mark.parametrize("licence", ["GPL-3.0-only", "MIT AND AGPL-3.0-only", "UNKNOWN", "None"])
def test_an_unknown_licence_does_not_pass_for_permissive(
    licence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(licences, "licence_of", lambda name: licence if name == "click" else "MIT")

    assert copyleft() == {"click": licence}
