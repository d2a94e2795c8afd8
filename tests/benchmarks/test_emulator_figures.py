"""The figures of the emulator: each is measured, against another emulator in turn."""

from __future__ import annotations

import os

from listener.emulator import Options
from listener.emulator.server import running
from tests.benchmarks.emulator import QUEUE, Place, Sizes, measured

TINY = Sizes(rounds=1, batches=2, singles=2, polls=3, parked_seconds=0.01, held=32)


def test_every_figure_is_measured_and_every_message_arrives() -> None:
    options = Options(queues=(QUEUE,))
    with running(options) as ours, running(options) as theirs:
        places = [Place(pid=os.getpid(), port=each.port) for each in (ours, theirs)]
        figures = {figure.name: figure for figure in measured(places, TINY)}
        states = [each.emulator.state() for each in (ours, theirs)]

    assert figures["batches of 16: messages"].median > 0
    assert figures["one by one: CPU, ours / theirs"].median > 0
    assert figures["3 parked polls: CPU"].goal == "<= 0.1 %"
    assert {"memory: bytes held for a message", "batches of 16: CPU of one"} <= set(figures)
    # Four connections, twice (once to warm up): two batches of 16 and two single messages each.
    assert [state["queues"][QUEUE]["deleted"] for state in states] == [2 * 4 * (2 * 16 + 2)] * 2
