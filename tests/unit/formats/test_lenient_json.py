"""Untrusted JSON."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.formats import lenient_json
from listener.formats.unicode_text import shortened, storable
from tests.support.cases import each_case

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_what_is_written_reads_the_same(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)

    assert lenient_json.parse(text) == json.loads(text.replace("\\u0000", "\\ufffd"))
    assert lenient_json.parse(lenient_json.render(lenient_json.parse(text))) == lenient_json.parse(text)


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_survives_as_a_member_without_nul_and_surrogates(text: str) -> None:
    assert lenient_json.parse(json.dumps({"a": text})) == {"a": storable(text)}


@each_case(
    ("text", "value"),
    [
        pytest.param(r'"\u0000"', "\ufffd", id="escaped-nul"),
        pytest.param(r'"\\u0000"', r"\u0000", id="escaped-backslash"),
        pytest.param(r'"\\\u0000"', "\\\ufffd", id="escaped-nul-after-a-backslash"),
        pytest.param(r'"\ud83d\ude00"', "\U0001f600", id="pair"),
        pytest.param(r'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600", id="lone-before-a-pair"),
        pytest.param(r'"\ude00\ud83d"', "\ufffd\ufffd", id="pair-the-wrong-way-round"),
        pytest.param('"a\tb\0c"', "a\tb\ufffdc", id="raw-control-characters"),
        pytest.param("[NaN, -Infinity, 1e999]", ["NaN", "-Infinity", "1e999"], id="not-finite"),
        pytest.param('{"a":1,"a":2}', {"a": 2}, id="duplicate-keys"),
        pytest.param("[" * 64 + "]" * 64, json.loads("[" * 64 + "]" * 64), id="as-deep-as-allowed"),
    ],
)
def test_harmful_values_become_harmless(text: str, value: Any) -> None:
    assert lenient_json.parse(text) == value
    assert lenient_json.render(lenient_json.parse(text)).encode()


@each_case(
    ("text", "complaint"),
    [
        pytest.param("", "not valid JSON", id="empty"),
        pytest.param('{"State":"Succes', "not valid JSON", id="cut-off"),
        pytest.param("{} {}", "not valid JSON", id="two-documents"),
        pytest.param(r'"\ud8"', "not valid JSON", id="bad-escape"),
        pytest.param("9" * 1_000_000, "not valid JSON", id="a-million-digits"),
        pytest.param("[" * 65 + "]" * 65, "64 levels deep", id="just-too-deep"),
        pytest.param('{"a":' * 65 + "1" + "}" * 65, "64 levels deep", id="objects-too-deep"),
        pytest.param("[" * 10_000 + "]" * 10_000, "64 levels deep", id="ten-thousand-deep"),
        pytest.param('{"a":' * 100_000, "64 levels deep", id="deep-and-cut-off"),
    ],
)
def test_what_is_no_json_is_refused_with_a_reason(text: str, complaint: str) -> None:
    with pytest.raises(lenient_json.BadJson, match=complaint):
        lenient_json.parse(text)


BLANKS = st.text("\t\n\r \x0b\xa0\ufeff", max_size=3)


@given(
    BLANKS,
    st.one_of(VALUES.map(json.dumps), st.text('{}[]",:x0 \\', max_size=5)),
    BLANKS,
    st.sampled_from(["", "", "]", "{}", "0"]),
)
def test_blanks_and_what_follows_are_those_of_the_standard_library(
    before: str, document: str, after: str, rest: str
) -> None:
    text = f"{before}{document}{after}{rest}".replace("\0", "").replace("\\u", "")
    try:
        expected = json.JSONDecoder(strict=False, parse_constant=str).decode(text)
    except json.JSONDecodeError as error:
        with pytest.raises(lenient_json.BadJson, match=f"^{re.escape(f'not valid JSON: {error}')}$"):
            lenient_json.parse(text)
    else:
        assert lenient_json.parse(text) == expected


def test_broad_values_are_not_taken_for_deep_ones() -> None:
    assert len(lenient_json.parse(json.dumps([{"a": []}] * 1000))) == 1000


@given(st.text(st.characters(exclude_categories=())))
def test_storable_text_is_storable_and_otherwise_unchanged(text: str) -> None:
    stored = storable(text)

    assert "\0" not in stored
    assert stored.encode().decode() == stored
    assert storable(stored) == stored
    if "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert stored == text


def test_shortened_text_shows_that_it_was_cut() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"
