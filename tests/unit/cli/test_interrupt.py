"""The first SIGINT ends the reading of lines, the second one everything."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from listener.cli.interrupt import Interrupt


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def test_without_an_interrupt_every_line_is_read() -> None:
    interrupt = Interrupt()
    with interrupt.handled():
        assert list(interrupt.until(iter("abc"))) == ["a", "b", "c"]

    assert not interrupt.came


def test_an_interrupt_ends_the_lines_and_nothing_else() -> None:
    interrupt, done = Interrupt(), []
    with interrupt.handled():
        for line in interrupt.until(iter("abc")):
            press_ctrl_c()
            done.append(line)

    assert (done, interrupt.came) == (["a"], True)


def test_an_interrupt_ends_a_read_that_waits_for_the_next_line() -> None:
    def typed() -> Iterator[str]:
        yield "a"
        press_ctrl_c()
        pytest.fail("the read went on")

    interrupt = Interrupt()
    with interrupt.handled():
        assert list(interrupt.until(typed())) == ["a"]

    assert interrupt.came


def test_an_interrupt_after_the_last_line_ends_nothing() -> None:
    interrupt = Interrupt()
    with interrupt.handled():
        assert list(interrupt.until(iter("a"))) == ["a"]
        press_ctrl_c()

    assert interrupt.came


def test_a_second_interrupt_is_raised() -> None:
    interrupt = Interrupt()
    with interrupt.handled():
        press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        interrupt = Interrupt()
        with interrupt.handled():
            press_ctrl_c()
        assert (interrupt.came, signal.getsignal(signal.SIGINT)) == (False, signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGINT, before)
