"""Cursors of the event feed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.core.errors import UsageError
from listener.store.feed_position import MAX_OPEN, Position
from tests.support.cases import each_case

IDS = st.integers(0, 10**18 - 1)


@given(change=IDS, rows=st.integers(0, 500), missed=st.lists(IDS, max_size=5, unique=True))
def test_a_cursor_is_read_as_it_was_written(change: int, rows: int, missed: list[int]) -> None:
    position = Position(change, rows, dict.fromkeys(missed))

    assert Position.parse(str(position)) == position


@each_case("text", ["", "x", "1.", "1_", "-1", "1 ", "1\n", "\u0661", "1.2.3", "9" * 20, "1_x", "1" * 5000])
def test_any_other_text_is_refused_with_its_words(text: str) -> None:
    with pytest.raises(UsageError, match="is not the cursor of an event"):
        Position.parse(text)


def test_what_was_missed_stays_open_until_all_who_might_bring_it_have_ended() -> None:
    missed = Position(7).missing([5]).without_ended(oldest=100, next_number=103)

    assert missed.without_ended(oldest=102, next_number=110).open == {5: 103}
    assert missed.without_ended(oldest=103, next_number=110).open == {}


def test_what_comes_late_is_open_no_more_and_does_not_move_the_position() -> None:
    position = Position(7, 2).missing([5, 6])

    assert position.within(5, 1) == position
    assert position.after(5) == Position(7, 2, {6: None})


def test_few_of_very_many_missed_changes_are_remembered() -> None:
    position = Position(10**6).missing(range(10**4))

    assert list(position.open) == list(range(10**4 - MAX_OPEN, 10**4))
