"""Which rules can never match, because of an earlier one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.rules.hidden_rules import covers, hidden_rules
from listener.rules.routing import Match, Rule, match_context, matches
from tests.support.builders import a_callback, a_result
from tests.support.cases import each_case

USUAL = ["Success", "Fail", "Cancelled"]


@each_case(
    ("earlier", "later", "hidden"),
    [
        pytest.param({}, {}, True, id="everything"),
        pytest.param({}, {"function": "Cover"}, True, id="no-conditions"),
        pytest.param({"function": "Cover"}, {}, False, id="narrower"),
        pytest.param({"function": "Cover"}, {"function": "Cover", "pipeline": "p"}, True, id="one-more"),
        pytest.param({"function": ["Cover", "ASR"]}, {"function": "ASR"}, True, id="one-of-several"),
        pytest.param({"function": "ASR"}, {"function": ["Cover", "ASR"]}, False, id="several"),
        pytest.param({"function": "Cover"}, {"function": "cover"}, False, id="function-is-exact"),
        pytest.param({"type": "transcode"}, {"type": "Transcode"}, True, id="type-ignores-case"),
        pytest.param({"route": "a"}, {"queue": "a"}, False, id="another-condition"),
        pytest.param({}, {"state": "Lost"}, False, id="lost-is-only-for-those-that-name-it"),
        pytest.param({}, {"state": "Processing"}, False, id="progress"),
        pytest.param({}, {"state": "Fail"}, True, id="one-state"),
        pytest.param({"state": USUAL}, {}, True, id="the-usual-states"),
        pytest.param({"state": "Fail"}, {}, False, id="only-one-state"),
        pytest.param({"state": ["Lost", "Fail"]}, {"state": "fail"}, True, id="states"),
        pytest.param({"user_data": "order-*"}, {"user_data": "order-7"}, True, id="pattern-and-text"),
        pytest.param({"user_data": "order-*"}, {"user_data": "order-[7]"}, False, id="two-patterns"),
        pytest.param({"user_data": "a?"}, {"user_data": ["a?"]}, True, id="the-same-pattern"),
        pytest.param({"user_data": "*"}, {}, True, id="any-user-data-or-none"),
        pytest.param({"user_data": "a*"}, {}, False, id="any-user-data"),
        pytest.param({"data": {"a": 1}}, {"data": {"a": 1, "b": 2}}, True, id="member"),
        pytest.param({"data": {"a": [1, 2]}}, {"data": {"a": 2}}, True, id="one-of-several-values"),
        pytest.param({"data": {"a": 1}}, {"data": {"a": True}}, False, id="true-is-not-one"),
        pytest.param({"data": {"a": []}}, {"data": {"a": 1}}, True, id="member-with-any-value"),
        pytest.param({"data": {"a": 1}}, {"data": {"a": []}}, False, id="member-with-one-value"),
        pytest.param({"data": {"a": 1}}, {"data": {"b": 1}}, False, id="another-member"),
        pytest.param({"data": {"a": 1}}, {"data": {"A": 1}}, False, id="members-of-user-data-are-exact"),
        pytest.param({"callback": {"a": 1}}, {"callback": {"A": 1}}, True, id="member-of-the-callback"),
        pytest.param({"callback": {"a": 1, "A": 2}}, {"callback": {"a": 1}}, False, id="both-spellings"),
        pytest.param({"callback": {"a": 1}}, {"data": {"a": 1}}, False, id="of-something-else"),
        pytest.param({"activity_state": "fail"}, {"activity_state": "Fail"}, True, id="activity"),
        pytest.param(
            {"activity_state": "Fail"}, {"activity_state": ["Fail", "Skipped"]}, False, id="activities"
        ),
        pytest.param({"activity_state": "Fail"}, {}, False, id="any-activities"),
    ],
)
def test_a_rule_is_hidden_by_one_that_matches_all_of_it(
    earlier: dict[str, Any], later: dict[str, Any], hidden: bool
) -> None:
    first, second = (Rule(name=name, match=Match(**match)) for name, match in (("a", earlier), ("b", later)))

    assert list(hidden_rules([first, second])) == ([(second, first)] if hidden else [])


CONDITIONS: dict[str, tuple[Any, ...]] = {
    "route": ("r", "s"),
    "user_data": ("*", "r:*", "r:1", "?:1", "[r]:1"),
    "function": ("Cover", "ASR"),
    "state": ("Success", "success", "Fail", "Lost", "Processing"),
    "activity_state": ("Fail", "fail", "Skipped"),
}
MEMBERS = st.dictionaries(st.sampled_from(["a", "a.b"]), st.sampled_from([1, True, "x", []]), max_size=2)
RAWS = (
    a_callback(),
    a_callback(a=1, **{"A.b": "x"}),
    a_callback(A=True, ActivityList=[{"State": "Fail"}]),
    a_callback(a={"B": "x"}, ActivityList=[{"State": "Skipped"}, {"State": "Fail"}]),
)
MEMBERS_IN_CAPITALS = MEMBERS.map(lambda members: {path.upper(): value for path, value in members.items()})
CONTEXTS = [
    match_context(
        a_result(function=function, state=state, user_data=user_data, raw=raw, run_id="R"), None, "q"
    )
    for raw in RAWS
    for function in ("Cover", "ASR", "")
    for state in ("Success", "Fail", "Cancelled", "Lost", "Processing", "Odd")
    for user_data in (None, "r:1", "s:1", '{"route":"r","a":1}', '{"a":{"b":"x"}}', '{"a":true}')
]


@st.composite
def two_matches(draw: st.DrawFn) -> tuple[Match, Match]:
    """They differ in one or two conditions, so that one often covers the other."""
    fields = {
        name: st.sampled_from(values) | st.lists(st.sampled_from(values), max_size=3)
        for name, values in CONDITIONS.items()
    } | {"data": MEMBERS, "callback": MEMBERS | MEMBERS_IN_CAPITALS}
    given = draw(st.fixed_dictionaries({}, optional=fields))
    changed = draw(st.lists(st.sampled_from(sorted(fields)), max_size=2))
    return Match(**given), Match(**given | {name: draw(fields[name]) for name in changed})


@settings(max_examples=150)
@given(two_matches())
def test_whatever_a_hidden_rule_matches_the_earlier_one_matches(both: tuple[Match, Match]) -> None:
    earlier, later = both
    if covers(earlier, later):
        found = [context for context in CONTEXTS if matches(later, context)]
        assert [context for context in found if not matches(earlier, context)] == []
