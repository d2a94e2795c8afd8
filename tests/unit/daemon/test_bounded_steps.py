"""Whatever hangs at a stop, the other steps are run, and the stop ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from listener.core import clock
from listener.core.errors import StopTimedOut
from listener.daemon.bounded_steps import BoundedSteps

BRIEF, LONG = timedelta(milliseconds=20), timedelta(seconds=30)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def steps_within(limit: timedelta) -> BoundedSteps:
    return BoundedSteps(deadline=clock.monotonic() + limit.total_seconds())


def test_a_step_that_hangs_holds_up_neither_the_others_nor_the_end(released: threading.Event) -> None:
    steps, done = steps_within(LONG), threading.Event()
    steps.run("handlers", released.wait, limit=BRIEF)
    steps.run("settler", done.set, limit=LONG)

    assert done.is_set()
    with pytest.raises(StopTimedOut, match="did not end: handlers") as caught:
        steps.finish()
    assert caught.value.hung == ("handlers",)


def test_all_steps_together_end_at_the_deadline(released: threading.Event) -> None:
    steps = steps_within(BRIEF)
    for name in ("handlers", "settler"):
        steps.run(name, released.wait, limit=LONG)

    with pytest.raises(StopTimedOut, match="handlers, settler"):
        steps.finish()


def test_an_error_of_a_step_is_raised_once_the_others_were_run() -> None:
    steps, done = steps_within(LONG), threading.Event()

    def fail() -> None:
        raise ValueError("broken")

    steps.run("handlers", fail, limit=LONG)
    steps.run("settler", done.set, limit=LONG)

    assert done.is_set()
    with pytest.raises(ValueError, match="broken"):
        steps.finish()


def test_without_trouble_the_end_raises_nothing() -> None:
    steps = steps_within(LONG)
    steps.run("settler", threading.Event().is_set, limit=LONG)

    steps.finish()
