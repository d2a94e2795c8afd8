"""Text that is shown to people."""

from __future__ import annotations

import json

import pytest

from listener.formats.unicode_text import visible, visible_json, visible_lines
from tests.support.cases import each_case


@each_case(
    ("text", "shown"),
    [
        pytest.param("plain é 字幕\u3000🎬", "plain é 字幕\u3000🎬", id="printable"),
        pytest.param("a\nb\r\tc", r"a\nb\r\tc", id="blanks"),
        pytest.param("\x1b[31m\x07", r"\x1b[31m\x07", id="c0"),
        pytest.param("\x7f\x9b31m\x85", r"\x7f\x9b31m\x85", id="del-and-c1"),
        pytest.param("\u202ea\u2066b\u200f", r"\u202ea\u2066b\u200f", id="bidi"),
        pytest.param("\u2028\ud800", r"\u2028\ud800", id="separator-and-surrogate"),
    ],
)
def test_controls_are_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_lines_may_be_kept() -> None:
    assert visible_lines("one\ntwo\x1b") == "one\ntwo\\x1b"


def test_json_means_the_same_with_controls_escaped() -> None:
    value = {"text": "\x7f\x9b\u202e é"}
    shown = visible_json(json.dumps(value, ensure_ascii=False))

    assert json.loads(shown) == value
    assert shown.isprintable()
