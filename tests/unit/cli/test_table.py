"""Tables never cut what a person must type, and are plain tab-separated lines in a pipe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from listener.cli import common
from listener.cli.folded_table import terminal_lines
from listener.cli.table import cell_text, piped_lines
from tests.support.builders import JOB_ID, NOON, a_job
from tests.support.cases import each_case
from tests.support.program import Place
from tests.support.terminal import run_at_terminal

COLUMNS = ("id", "job", "reference", "state", "error")
LONG = "no such file: " + "x" * 200
ROWS = [["1", JOB_ID, "talk-7", "Fail", LONG], ["2", "job-2", "", "Success", ""]]
WHOLE = ("id", "job", "reference")


@each_case("width", [78, 100, 200, 500])
def test_long_cells_are_folded_and_all_others_are_whole(width: int) -> None:
    lines = list(terminal_lines(COLUMNS, ROWS, width=width, whole=WHOLE))

    assert max(map(len, lines)) <= width
    assert lines[0].split() == list(COLUMNS)
    assert lines[1].split()[:4] == ["1", JOB_ID, "talk-7", "Fail"]
    assert "".join(line.split()[-1] for line in lines[1:-1]).count("x") == 200
    assert lines[-1].split() == ["2", "job-2", "Success"]


def test_cells_are_folded_at_blanks_and_only_longer_words_are_split() -> None:
    lines = list(terminal_lines(("a",), [["one two three fourteen, " + "x" * 25]], width=20))

    assert lines == ["a", "one two three", "fourteen,", "x" * 20, "x" * 5]


def test_a_row_that_fits_no_table_is_a_paragraph() -> None:
    lines = list(terminal_lines(COLUMNS, ROWS, width=40, whole=WHOLE))

    assert lines[:3] == ["id: 1", f"  job: {JOB_ID}", "  reference: talk-7  state: Fail"]
    assert lines[-1] == "id: 2  job: job-2  state: Success"


def test_what_is_longer_than_a_line_of_a_paragraph_is_folded_unless_it_is_a_name() -> None:
    row = ["1", JOB_ID, "r" * 50, "Fail", "no such file: " + "x" * 30]
    lines = list(terminal_lines(COLUMNS, [row], width=40, whole=WHOLE))

    assert lines == [
        "id: 1",
        f"  job: {JOB_ID}",
        f"  reference: {'r' * 50}",
        "  state: Fail",
        "  error: no such file:",
        f"    {'x' * 30}",
    ]


@given(value=st.text("ab 字", max_size=200), width=st.integers(30, 100))
def test_no_line_of_a_paragraph_is_wider_than_the_terminal(value: str, width: int) -> None:
    names = [f"column{number}" for number in range(8)]
    lines = list(terminal_lines(names, [[value.strip() or "a"] * 8], width=width))

    assert [line for line in lines if cell_len(line) > width] == []


def test_wide_characters_do_not_move_the_columns_behind_them() -> None:
    lines = list(terminal_lines(("a", "b"), [["字幕" * 15, "x"], ["字", "x"]], width=40))

    assert lines == ["a" + " " * 38 + "b", "字幕" * 9 + "   x", "字幕" * 6, "字" + " " * 37 + "x"]


@given(
    rows=st.lists(
        st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=3, max_size=3), max_size=4
    ),
    width=st.integers(1, 120),
)
def test_no_name_is_ever_cut(rows: list[list[str]], width: int) -> None:
    cells = [
        [f"name{number}" + "n" * len(row[0]), *map(cell_text, row[1:])] for number, row in enumerate(rows)
    ]
    text = "\n".join(terminal_lines(("name", "b", "c"), cells, width=width, whole=("name",)))

    assert [row[0] for row in cells if row[0] not in text] == []


def test_lines_in_a_pipe_are_cells_between_tabs() -> None:
    rows = [
        list(map(cell_text, (1, JOB_ID, None, "a\tb\nc", " "))),
        ["2", "", "talk-7", NOON.tzname() or "", LONG],
    ]

    assert list(piped_lines(COLUMNS, rows)) == [
        "id\tjob\treference\tstate\terror",
        f"1\t{JOB_ID}\t-\ta\\tb\\nc\t-",
        f"2\t-\ttalk-7\tUTC\t{LONG}",
    ]


def test_a_job_can_be_copied_from_a_terminal_of_80_columns(place: Place) -> None:
    reference = "a-reference-of-two-words-and-more"
    with place.store() as store:
        store.add_job(a_job(reference=reference, user_data='{"article": 7}' * 9, error=LONG))
    status, displayed = run_at_terminal("jobs", "list", folder=place.folder)

    assert status == 0
    assert (JOB_ID in displayed, reference in displayed, "…" in displayed) == (True, True, False)


def test_long_values_are_folded_at_a_terminal_unless_they_are_copied_from_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    fields = {"cover": ["file oss://bucket/" + "x" * 90, "size 1280 x 720, " * 9], "raw": "a b " * 40}
    common.print_fields(fields)
    piped = capsys.readouterr().out.splitlines()
    monkeypatch.setattr(common, "is_for_people", lambda: True)
    common.print_fields(fields)
    displayed = capsys.readouterr().out.splitlines()

    assert len(piped) == 3
    assert [line for line in displayed if len(line) > 80 and "x" * 90 not in line] == [displayed[-1]]
    assert displayed[-1].rstrip().endswith("a b " * 39 + "a b")
    assert " ".join(" ".join(displayed).split()) == " ".join(" ".join(piped).split())
