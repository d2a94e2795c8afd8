from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from listener.core import clock
from listener.formats.durations import (
    MAX_DURATION,
    Duration,
    PositiveDuration,
    duration_text,
    parse_duration,
    to_duration,
)
from listener.formats.toml_text import toml_text
from tests.support.cases import each_case

DURATION = TypeAdapter(Duration)


@each_case(
    ("text", "duration"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("1h30m", timedelta(minutes=90)),
        ("1h 30m", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
        ("1.5h", timedelta(minutes=90)),
        (" 0s ", timedelta(0)),
        ("90", timedelta(seconds=90)),
        ("0.5", timedelta(milliseconds=500)),
    ],
)
def test_text_is_read(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@each_case("text", ["", "s", "5x", "5 minutes", "-5s", "-5", "1h-30m", "nan", "inf", "1e999", "٣s"])
def test_other_text_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid duration; use a number of seconds") as refusal:
        parse_duration(text)

    assert repr(text) in str(refusal.value)


@each_case("value", ["3651d", "9999999d", "9" * 400 + "d", 1e300, 10**400, timedelta.max])
def test_a_duration_has_an_upper_bound_that_the_error_names(value: object) -> None:
    with pytest.raises(ValueError, match="is too long; use at most 3650d") as refusal:
        to_duration(value)

    assert toml_text(value)[:30] in str(refusal.value)


def test_timestamps_computed_from_the_longest_durations_are_valid() -> None:
    assert clock.now() + 10 * MAX_DURATION < datetime.max.replace(tzinfo=UTC)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    try:
        duration = parse_duration(text)
    except ValueError:
        duration = timedelta(0)
    assert duration >= timedelta(0)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 9999))
def test_parts_add_up(days: int, hours: int, minutes: int, seconds: int, milliseconds: int) -> None:
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s{milliseconds}ms") == timedelta(
        days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds
    )


@each_case("value", ["1m", 60, 60.0, timedelta(minutes=1)])
def test_models_take_text_numbers_and_timedeltas(value: object) -> None:
    assert DURATION.validate_python(value) == timedelta(minutes=1)


@each_case("value", [True, None, -1, -0.5, timedelta(-1), float("nan"), [], "PT1M"])
def test_models_refuse_anything_else(value: object) -> None:
    with pytest.raises(ValidationError, match="is not a valid duration"):
        DURATION.validate_python(value)


def test_nought_is_a_duration_but_no_positive_one() -> None:
    assert DURATION.validate_python(0) == timedelta(0)
    with pytest.raises(ValidationError, match="must be between 1ms and 7d"):
        TypeAdapter(PositiveDuration).validate_python(0)


@each_case("text", ["0s", "30s", "1m", "1m5s", "2h", "1h30m", "4d", "3d12h", "1d"], ids=lambda text: text)
def test_a_duration_is_shown_as_it_is_written(text: str) -> None:
    assert duration_text(parse_duration(text)) == text


def test_what_is_shown_has_two_neighbouring_units() -> None:
    assert duration_text(timedelta(days=1, hours=2, minutes=3, seconds=4)) == "1d2h"
    assert duration_text(timedelta(days=1, minutes=3)) == "1d"
