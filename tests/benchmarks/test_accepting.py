"""The figures of accepted jobs: every request is answered, and the calls of MPS are counted rightly."""

from __future__ import annotations

from datetime import timedelta

from tests.benchmarks.accepting import DEFAULT_RATE, accept, daemon_of, most
from tests.support import ROOT
from tests.support.builders import NOON
from tests.support.waiting import wait_until


def test_each_request_is_answered_whether_paced_or_not() -> None:
    with daemon_of(ROOT, rate_limit=DEFAULT_RATE) as place:
        fast = accept(place, count=6, connections=2, keyed=True)
        paced = accept(place, count=4, connections=2, rate=100)
        wait_until(lambda: len(place.calls()) == 10)

    assert (len(fast.latencies), len(paced.latencies)) == (6, 4)
    assert paced.seconds >= 3 / 100


def test_the_busiest_second_may_begin_with_any_call() -> None:
    assert most([NOON + timedelta(seconds=at) for at in (0, 0.9, 1.0, 1.5, 1.8, 2.0, 3.5)]) == 4
