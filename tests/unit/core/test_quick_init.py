"""Values that are made faster are the same values."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from functools import cached_property

import pytest

from listener.core import model
from listener.core.quick_init import from_values, maker, quick_init
from tests.support.builders import a_delivery, a_job, a_message, a_result


@dataclass(frozen=True, slots=True)
class Slow:
    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)
    new: int = field(default=4, kw_only=True)


@quick_init
@dataclass(frozen=True, slots=True)
class Quick:
    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)
    new: int = field(default=4, kw_only=True)


def test_arguments_and_defaults_are_those_of_the_dataclass() -> None:
    values = [Quick(1), Quick(1, "2", [3], new=5), Quick(third=[], first=9)]

    assert [repr(each) for each in values] == [
        repr(each).replace("Slow", "Quick")
        for each in (Slow(1), Slow(1, "2", [3], new=5), Slow(third=[], first=9))
    ]
    assert inspect.signature(Quick) == inspect.signature(Slow)
    assert Quick(1).third is not Quick(1).third
    with pytest.raises(TypeError, match="first"):
        Quick()  # type: ignore[call-arg]  # that it is refused is what is tested


@dataclass(frozen=True)
class WithoutSlots:
    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)
    new: int = field(default=4, kw_only=True)

    @cached_property
    def sum(self) -> int:
        return self.first + self.new


def test_a_maker_takes_the_arguments_of_its_class() -> None:
    for cls in (Slow, Quick, WithoutSlots):
        make = maker(cls)
        values = [make(1), make(1, "2", [3], new=5), make(third=[], first=9)]

        assert values == [cls(1), cls(1, "2", [3], new=5), cls(third=[], first=9)]
        assert {type(each) for each in values} == {cls}
        assert inspect.signature(make).parameters.keys() == inspect.signature(cls).parameters.keys()
        assert make(1).third is not make(1).third
        with pytest.raises(TypeError, match="first"):
            make()  # type: ignore[call-arg]  # as above
        with pytest.raises(FrozenInstanceError):
            values[0].first = 2  # type: ignore[misc]  # as above
    assert maker(WithoutSlots)(1, new=5).sum == 6


@pytest.mark.parametrize("a_value", [a_message, a_result, a_job, a_delivery])
def test_values_stay_frozen_comparable_and_copyable(a_value: Callable[[], object]) -> None:
    value = a_value()
    name = fields(value)[0].name  # type: ignore[arg-type]  # all of them are dataclasses

    with pytest.raises(FrozenInstanceError):
        setattr(value, name, "other")
    assert type(value) is getattr(model, type(value).__name__)
    assert value == a_value() == pickle.loads(pickle.dumps(value)) == replace(value)  # type: ignore[type-var]  # as above
    assert hash(a_value()) == hash(value)


@pytest.mark.parametrize("a_value", [a_message, a_result, a_job, a_delivery])
def test_a_value_made_of_the_values_of_its_fields_is_the_same(a_value: Callable[[], object]) -> None:
    value = a_value()
    values = [getattr(value, each.name) for each in fields(value)]  # type: ignore[arg-type]  # as above
    made = from_values(type(value))

    assert made(values) == made(tuple(values)) == value
    assert type(made(values)) is type(value)
    with pytest.raises(FrozenInstanceError):
        setattr(made(values), fields(value)[0].name, "other")  # type: ignore[arg-type]  # as above
    for wrong in (values[1:], [*values, ""]):
        with pytest.raises(ValueError, match="values to unpack"):
            made(wrong)


def test_a_value_is_checked_by_its_class_however_it_is_made() -> None:
    @dataclass(frozen=True, slots=True)
    class Positive:
        number: int

        def __post_init__(self) -> None:
            assert type(self) is Positive
            if self.number <= 0:
                raise ValueError("not positive")

    made = maker(Positive), from_values(Positive), quick_init(Positive)

    for make, number in zip(made, (1, [1], 1), strict=True):
        assert make(number) == Positive(1)  # type: ignore[arg-type]  # one of them takes a sequence
    for make, number in zip(made, (0, [0], 0), strict=True):
        with pytest.raises(ValueError, match="not positive"):
            make(number)  # type: ignore[arg-type]  # as above


def test_a_class_with_fields_that_are_no_parameters_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Derived:
        first: int = field(init=False, default=1)

    for makes in (quick_init, maker, from_values):
        with pytest.raises(TypeError, match="Derived"):
            makes(Derived)
