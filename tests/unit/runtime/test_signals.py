"""Signals are collected, in order, and act on nothing by themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta

from listener.runtime.signals import collected_signals
from tests.support.cases import each_case

SOON = timedelta(seconds=30)


class TestSignals:
    @each_case("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_a_signal_is_collected_and_nothing_else_happens(self, number: signal.Signals) -> None:
        with collected_signals() as signals:
            os.kill(os.getpid(), number)

            assert signals.wait(SOON) is number
            assert signals.wait(timedelta(0)) is None

    def test_signals_are_reported_one_by_one_in_their_order(self) -> None:
        with collected_signals() as signals:
            for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):
                os.kill(os.getpid(), number)

            found = [signals.wait(SOON) for _ in range(3)]

        assert found == [signal.SIGHUP, signal.SIGTERM, signal.SIGTERM]

    def test_the_earlier_handlers_are_put_back(self) -> None:
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
        with collected_signals():
            pass

        assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == before
        assert signal.set_wakeup_fd(-1) == -1

    def test_children_can_still_be_ended_politely(self) -> None:
        with collected_signals():
            child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
            child.terminate()
            child.communicate(timeout=30)

        assert child.returncode == -signal.SIGTERM
