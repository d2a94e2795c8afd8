"""Many cases in one test: each runs, in the state in which a test begins, and what fails is named."""

from __future__ import annotations

import inspect
import os

import pytest

from tests.support.cases import each_case


def test_every_case_runs_with_its_values_and_the_fixtures_of_the_test() -> None:
    seen = []

    @each_case(("first", "second"), [(1, 2), pytest.param(3, 4, id="named")])
    def sums(second: int, first: int, fixture: str) -> None:
        seen.append((fixture, first + second))

    sums(fixture="f")

    assert seen == [("f", 3), ("f", 7)]
    assert list(inspect.signature(sums).parameters) == ["fixture"]


def test_a_case_that_fails_is_named_and_stops_no_other() -> None:
    seen = []

    @each_case("number", [1, 2, 3], ids=["one", "two", "three"])
    def is_odd(number: int) -> None:
        seen.append(number)
        assert number % 2, "even"

    with pytest.raises(AssertionError, match="even") as raised:
        is_odd()

    assert raised.value.__notes__ == ["in the case two"]
    assert seen == [1, 2, 3]


def test_all_cases_that_fail_are_reported() -> None:
    @each_case("number", [0, 1, 2], ids=lambda number: f"n{number}")
    def is_odd(number: int) -> None:
        if not number % 2:
            pytest.fail("even")

    with pytest.raises(BaseExceptionGroup, match="2 of 3 cases fail") as raised:
        is_odd()

    assert [each.__notes__ for each in raised.value.exceptions] == [["in the case n0"], ["in the case n2"]]


def test_cases_of_two_lists_are_combined() -> None:
    seen = []

    @each_case("letter", "ab")
    @each_case("number", [1, 2])
    def combine(letter: str, number: int) -> None:
        seen.append(f"{letter}{number}")

    combine()

    assert seen == ["a1", "a2", "b1", "b2"]


def test_what_a_case_changes_in_the_process_is_put_back_for_the_next() -> None:
    @each_case("number", [1, 2])
    def change(number: int) -> None:
        assert "CHANGED_BY_A_CASE" not in os.environ
        os.environ["CHANGED_BY_A_CASE"] = str(number)

    change()

    assert "CHANGED_BY_A_CASE" not in os.environ


def test_a_list_without_cases_is_refused() -> None:
    with pytest.raises(AssertionError, match="no case of number"):
        each_case("number", [])
