"""Members are changed by their path, in all spellings that the document has."""

from __future__ import annotations

from typing import Any

import pytest

from listener.formats.member_paths import json_or_text, missing_member, with_member
from tests.support.cases import each_case


@each_case(
    ("document", "path", "expected"),
    [
        pytest.param({"a": 1}, "b", {"a": 1, "b": "x"}, id="added"),
        pytest.param({"State": 1, "state": 2}, "STATE", {"State": "x", "state": "x"}, id="both-spellings"),
        pytest.param({"Body": {"Status": 1}}, "body.status", {"Body": {"Status": "x"}}, id="within"),
        pytest.param({}, "a.b", {"a": {"b": "x"}}, id="added-within"),
        pytest.param({"a": [{"b": 1}, 2]}, "a.0.b", {"a": [{"b": "x"}, 2]}, id="item"),
    ],
)
def test_a_member_is_changed_wherever_it_is(
    document: dict[str, Any], path: str, expected: dict[str, Any]
) -> None:
    before = repr(document)

    assert with_member(document, path, "x") == expected
    assert repr(document) == before


@each_case("path", ["", "a.", "text.b", "list.1", "list.x", "list.-1"])
def test_a_path_that_leads_nowhere_is_refused_by_name(path: str) -> None:
    with pytest.raises(ValueError, match=r"empty name|leads nowhere") as caught:
        with_member({"text": "t", "list": [1]}, path, 1)

    assert repr(path) in str(caught.value)


def test_a_value_is_json_if_it_can_be() -> None:
    assert [json_or_text(text) for text in ("1", '{"a": null}', '"1"', "Fail", "")] == [
        1,
        {"a": None},
        "1",
        "Fail",
        "",
    ]


def test_a_member_that_is_missing_is_named_with_those_that_are_there() -> None:
    document = {"State": "Success", "Body": {"Status": 1, "list": [{"x": 1}]}}

    assert [missing_member(document, path) for path in ("state", "body.status", "Body.list.0.y")] == [""] * 3
    assert missing_member(document, "Stat") == "there is no member 'Stat'; there are State, Body"
    assert missing_member(document, "body.Stat") == "body has no member 'Stat'; there are Status, list"
