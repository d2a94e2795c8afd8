"""Many small cases in one test, written like those of ``pytest.mark.parametrize``, without the cost of a test each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any

import pytest

from tests.support.process_state import restored_process_state

ParameterSet = type(pytest.param())


def each_case(
    names: str | Sequence[str],
    cases: Iterable[object],
    *,
    ids: Sequence[str] | Callable[[Any], object] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call a test once for each case, each time with the process as it was, and name every case that fails.

    For bodies that take less time than pytest needs to start and end a test, and that change no fixture they share.
    """
    single = isinstance(names, str) and "," not in names
    split = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    named = [
        (case_name, dict(zip(split, values, strict=True)))
        for case_name, values in _named_values(cases, single=single, ids=ids)
    ]
    assert named, f"there is no case of {names}"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def with_each_case(*args: object, **fixtures: object) -> None:
            failures = [
                failure
                for case_name, values in named
                if (failure := _failure_of(test, case_name, args=args, values={**fixtures, **values}))
            ]
            if len(failures) == 1:
                raise failures[0]
            if failures:
                raise BaseExceptionGroup(f"{len(failures)} of {len(named)} cases fail", failures)

        signature = inspect.signature(test)
        others = [each for each in signature.parameters.values() if each.name not in split]
        # What pytest reads to find the fixtures of the test.
        with_each_case.__dict__["__signature__"] = signature.replace(parameters=others)
        return with_each_case

    return decorate


def _named_values(
    cases: Iterable[object], *, single: bool, ids: Sequence[str] | Callable[[Any], object] | None
) -> Iterator[tuple[str, Sequence[object]]]:
    for index, case in enumerate(cases):
        values: Any = case.values if isinstance(case, ParameterSet) else (case,) if single else case
        if isinstance(case, ParameterSet):
            assert not case.marks, "a case of a loop has no marks of its own"
        if isinstance(case, ParameterSet) and case.id:
            name = str(case.id)
        elif callable(ids):
            name = "-".join(str(ids(value)) for value in values)
        else:
            name = ids[index] if ids else "-".join(repr(value)[:80] for value in values)
        yield name, values


def _failure_of(
    test: Callable[..., None], name: str, *, args: Sequence[object], values: Mapping[str, object]
) -> BaseException | None:
    try:
        with restored_process_state():
            test(*args, **values)
    except (Exception, pytest.fail.Exception) as failure:
        failure.add_note(f"in the case {name}")
        return failure
    return None
