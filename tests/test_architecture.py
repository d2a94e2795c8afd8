"""docs/architecture.md and docs/glossary.md name files and symbols that are there."""

from __future__ import annotations

import re

from tests.support import ROOT
from tests.support.cases import each_case
from tests.support.import_rules import ALLOWED, EDGES, WITHOUT_IO

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")
CHANGES = 25


def code_in(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def is_path(code: str) -> bool:
    return code.startswith(("listener/", "handlers/", "docs/", "tests/"))


def table_rows(text: str, *, columns: int) -> list[list[str]]:
    """The cells of every table row with so many columns, without headings and rulers."""
    lines = re.findall(r"^\| (.*) \|$", text, re.MULTILINE)
    cells = [re.split(r" +\| +", line) for line in lines]
    return [row for row in cells if len(row) == columns and row[0] not in ("change", "word")]


CHANGE_ROWS = table_rows(ARCHITECTURE.split("## Where to change what")[1], columns=3)
WORD_ROWS = [*table_rows(GLOSSARY, columns=3), *table_rows(GLOSSARY, columns=4)]


def missing(files: list[str], names: list[str]) -> list[str]:
    """The files that are not there, and the names that occur in none of the files."""
    absent = [name for name in files if not (ROOT / name).exists()]
    paths = [ROOT / name for name in files if (ROOT / name).is_file()]
    text = "\n".join(path.read_text("utf-8") for path in paths)
    return absent + [name for name in names if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]


def test_the_table_has_every_change() -> None:
    assert len(CHANGE_ROWS) == CHANGES


@each_case(("change", "files", "names"), CHANGE_ROWS, ids=[row[0] for row in CHANGE_ROWS])
def test_a_change_is_found_where_the_table_says(change: str, files: str, names: str) -> None:
    named = [code for code in code_in(files) if is_path(code)]
    wanted = [code for code in code_in(files) + code_in(names) if not is_path(code)]

    assert named, f"{change}: no file"
    assert code_in(names), f"{change}: nothing to look for"
    assert missing(named, wanted) == []


@each_case("row", WORD_ROWS, ids=[row[0] for row in WORD_ROWS])
def test_a_word_is_defined_where_the_glossary_says(row: list[str]) -> None:
    file, name = code_in(row[-1])

    assert missing([file], [name]) == []


def test_every_file_of_the_reading_order_is_there() -> None:
    order = ARCHITECTURE.split("## Reading order")[1].split("\n## ")[0]
    files = [code for code in code_in(order) if is_path(code)]

    assert len(files) > 15
    assert missing(files, []) == []


def test_the_import_rules_are_those_of_the_layer_test() -> None:
    section = ARCHITECTURE.split("## Import rules")[1].split("\n## ")[0]
    documented = {
        folder: set(code_in(allowed))
        for folder, allowed in re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.M)
    }
    (edges,) = re.findall(r"^\| (.*) \| everything above", section, re.MULTILINE)
    (without_io,) = re.findall(r"^- (.*) use no sockets", section, re.MULTILINE)

    assert documented == {folder: allowed for folder, allowed in ALLOWED.items() if folder not in EDGES}
    assert code_in(edges) == [folder for folder in EDGES if folder != "__main__"]
    assert code_in(without_io) == list(WITHOUT_IO)
