"""Whether the time that a function takes grows with the size of its input, and not with its square."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

SMALL, LARGE = 4_096, 65_536


def assert_linear(run: Callable[[str], object], text_of: Callable[[int], str]) -> None:
    """Sixteen times the size may take eighty times as long, but not 256 times. ``run`` must not raise."""
    small, large = (_seconds(run, text_of(size)) for size in (SMALL, LARGE))

    assert large < max(small, 50e-6) * 80


def _seconds(run: Callable[[str], object], text: str) -> float:
    """The best of five, in seconds of CPU, as the machine may be busy; the garbage of other tests is not collected."""
    best = float("inf")
    gc.disable()
    try:
        for _ in range(5):
            started = time.thread_time()
            run(text)
            best = min(best, time.thread_time() - started)
    finally:
        gc.enable()
    return best
