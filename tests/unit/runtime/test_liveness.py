"""A process has started once every loop has run, and a loop that is silent for too long has stalled."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from listener.runtime.liveness import LivenessMonitor
from tests.support.clocks import FrozenClock, freeze_time

MINUTE = timedelta(minutes=1)


@pytest.fixture
def time() -> Iterator[FrozenClock]:
    with freeze_time() as frozen:
        yield frozen


class TestLivenessMonitor:
    def test_everything_has_started_once_every_loop_has_turned(self) -> None:
        liveness = LivenessMonitor()
        heartbeats = [liveness.heartbeat(name, limit=MINUTE) for name in ("poll", "claim")]
        heartbeats[0].beat()
        assert not liveness.started

        heartbeats[1].beat()
        assert liveness.started

    def test_a_loop_that_is_silent_for_too_long_has_stalled(self, time: FrozenClock) -> None:
        liveness = LivenessMonitor()
        poll, claim = (liveness.heartbeat(name, limit=MINUTE) for name in ("poll", "claim"))
        poll.beat()
        claim.beat()
        time.tick(MINUTE)
        assert liveness.stalled() == []

        claim.beat()
        time.tick(timedelta(seconds=1))
        assert liveness.stalled() == ["poll"]

        poll.beat()
        assert liveness.stalled() == []

    def test_a_loop_that_is_paused_has_started_and_is_not_stalled(self, time: FrozenClock) -> None:
        liveness = LivenessMonitor()
        worker = liveness.heartbeat("worker", limit=MINUTE)
        worker.pause()
        time.tick(10 * MINUTE)
        assert (liveness.started, liveness.stalled()) == (True, [])

        worker.beat()
        time.tick(2 * MINUTE)
        assert liveness.stalled() == ["worker"]
