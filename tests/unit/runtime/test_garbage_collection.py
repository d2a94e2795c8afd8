"""What Python looks through for cycles."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from listener.runtime.garbage_collection import NEWEST, leave_out_present_objects


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


class Node:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_exists_is_left_out_without_what_is_unreachable_already() -> None:
    unreachable, present = weakref.ref(Node()), Node()
    leave_out_present_objects()

    assert unreachable() is None
    assert not any(found is present for found in gc.get_objects())


def test_cycles_that_are_made_later_are_found() -> None:
    leave_out_present_objects()
    later = [weakref.ref(Node()) for _ in range(2 * NEWEST)]

    assert later[0]() is None
