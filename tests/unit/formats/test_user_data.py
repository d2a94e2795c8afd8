"""The token on its way through the user data."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from listener.formats import user_data
from listener.formats.user_data import UserData, embed_token, extract_token, parse
from tests.support.builders import TOKEN
from tests.support.cases import each_case

OTHER = "0123456789-_ABCDEFGHIJ"
OBJECT_WITH_TOKEN = f'{{"a":1,"mnsl":"{OTHER}"}}'

ANY_TEXT = st.text(st.characters(exclude_categories=()))
OBJECTS = st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=8), max_size=4)
OBJECT_TEXTS = st.builds(
    lambda value, indent, before, after: before + json.dumps(value, indent=indent) + after,
    OBJECTS,
    st.none() | st.integers(0, 3),
    st.text(" \t\r\n", max_size=3),
    st.text(" \t\r\n", max_size=3),
)
#: Texts built from fragments of tokens, which random text would hardly ever contain.
NEAR_TOKENS = st.lists(
    st.sampled_from(
        ["{", "}", "[", '"a":1', ",", '"mnsl":', f'"{OTHER}"', "#mnsl=", OTHER, TOKEN, " ", "\n", "x"]
    )
).map("".join)
TOKENS = st.text("abcXYZ019_-", min_size=22, max_size=22)


@given(ANY_TEXT | OBJECT_TEXTS | NEAR_TOKENS, TOKENS)
@example(f"#mnsl={OTHER}", TOKEN)
@example(f"abc#mnsl={OTHER}", TOKEN)
@example(OBJECT_WITH_TOKEN, TOKEN)
@example("{ }\n", TOKEN)
@example('{"a":{}}', TOKEN)
@example("null", TOKEN)
@example("{" * 70, TOKEN)
def test_extracting_returns_the_text_byte_for_byte(text: str, token: str) -> None:
    assert extract_token(embed_token(text, token)) == (text or None, token)


@given(ANY_TEXT | OBJECT_TEXTS | NEAR_TOKENS)
def test_only_embedded_tokens_are_extracted(wire: str) -> None:
    text, token = extract_token(wire)

    if token:
        assert embed_token(text, token) == wire
    else:
        assert (text or "null") == (wire or "null")


@given(ANY_TEXT | OBJECT_TEXTS)
def test_an_embedded_token_stays_within_128_bytes(text: str) -> None:
    overhead = len(embed_token(text, TOKEN).encode("utf-8", "surrogatepass")) - len(
        text.encode("utf-8", "surrogatepass")
    )

    assert 22 < overhead < 40


@given(OBJECTS)
def test_a_json_object_stays_one_for_other_readers(value: dict[str, object]) -> None:
    assert json.loads(embed_token(json.dumps(value), TOKEN)) == {**value, "mnsl": TOKEN}


@each_case(
    ("text", "embedded"),
    [
        pytest.param(None, f"#mnsl={TOKEN}", id="none"),
        pytest.param("", f"#mnsl={TOKEN}", id="empty"),
        pytest.param("order-7", f"order-7#mnsl={TOKEN}", id="text"),
        pytest.param("{}", f'{{"mnsl":"{TOKEN}"}}', id="empty-object"),
        pytest.param('{"a": 1}\n', f'{{"a": 1,"mnsl":"{TOKEN}"}}\n', id="object-and-white-space"),
        pytest.param("[1]", f"[1]#mnsl={TOKEN}", id="array"),
        pytest.param('{"a": 1', f'{{"a": 1#mnsl={TOKEN}', id="broken-object"),
    ],
)
def test_the_token_is_embedded_where_it_does_no_harm(text: str | None, embedded: str) -> None:
    assert embed_token(text, TOKEN) == embedded


@each_case("wire", [None, "", "null"])
def test_every_spelling_of_no_user_data_is_none(wire: str | None) -> None:
    assert extract_token(wire) == (None, "")
    assert parse(wire) == UserData()
    assert user_data.fields(wire) == {}


@each_case(
    "wire",
    [
        pytest.param("abc#mnsl=short", id="token-too-short"),
        pytest.param(f"abc#mnsl={TOKEN} ", id="something-after-it"),
        pytest.param(f'{{"mnsl":"{TOKEN}","a":1}}', id="not-the-last-member"),
        pytest.param(f'{{"b":{{"a":1,"mnsl":"{TOKEN}"}}}} x', id="no-object"),
        pytest.param(f'{{,"mnsl":"{TOKEN}"}}', id="stray-comma"),
        pytest.param(f'text,"mnsl":"{TOKEN}"}}', id="end-of-an-object-only"),
        pytest.param(f"{{}}#mnsl={TOKEN}", id="suffix-on-an-object"),
    ],
)
def test_what_only_looks_like_a_token_stays_unchanged(wire: str) -> None:
    assert extract_token(wire) == (wire, "")


@each_case("token", ["", "short", TOKEN + "x", "é" * 22, TOKEN[:-1] + "\n", TOKEN + "\n"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="not a valid token"):
        embed_token("abc", token)


@each_case(
    ("text", "route", "fields"),
    [
        pytest.param("clips:42:x", "clips", {}, id="before-the-first-colon"),
        pytest.param(" clips : 42", "clips", {}, id="blanks-around-it"),
        pytest.param("clips", "", {}, id="no-colon"),
        pytest.param(":42", "", {}, id="nothing-before-the-colon"),
        pytest.param('{"route":"clips","n":1}', "clips", {"route": "clips", "n": 1}, id="json"),
        pytest.param('{"route":7}', "", {"route": 7}, id="route-that-is-no-string"),
        pytest.param('{"n":1}', "", {"n": 1}, id="json-without-a-route"),
        pytest.param('{"n":1', "", {}, id="broken-json"),
        pytest.param('["a:b"]', "", {}, id="json-array"),
        pytest.param('"a:b"', "", {}, id="json-string"),
        pytest.param(r'{"a":"\ud800\u0000"}', "", {"a": "\ufffd\ufffd"}, id="unstorable-escapes"),
    ],
)
def test_the_route_is_read_from_json_or_text(text: str, route: str, fields: dict[str, object]) -> None:
    assert parse(text) == UserData(text=text, route=route, fields=fields)
    assert user_data.fields(text) == fields


@each_case("text", [None, "", "null", "clips", "{}"])
def test_without_members_each_call_makes_a_dictionary_of_its_own(text: str | None) -> None:
    user_data.fields(text)["added"] = "by a handler"

    assert user_data.fields(text) == {}


@given(ANY_TEXT | NEAR_TOKENS)
def test_parsing_never_raises_and_keeps_the_text(text: str) -> None:
    assert parse(text).text == ("" if text == "null" else text)
