"""Ctrl-C in the middle of many submissions: those under way are finished, and no other one is begun."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

T = TypeVar("T")

_STANDARD_ERROR: Final = 2
_FINISHING: Final = (
    b"\nInterrupted: finishing the submissions under way. Press Ctrl-C again to stop at once.\n"
)


class Interrupt:
    """SIGINT, while it is ``handled``: the first one ends ``until``, the second one raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.came = False
        self._reading = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """For the main thread. Nothing changes where SIGINT is ignored, as in a background job of a shell script."""
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def until(self, lines: Iterator[T]) -> Iterator[T]:
        """The lines up to the first SIGINT, which also ends a read that waits for the next line."""
        while not self.came:
            try:
                self._reading = True
                line = next(lines, None)
                self._reading = False
            except KeyboardInterrupt:
                return
            if line is None:
                return
            yield line

    def _handle(self, _number: int, _frame: object) -> None:
        again, self.came = self.came, True
        if not again:
            # Straight to the descriptor: the main thread may be in the middle of a write to the stream.
            with suppress(OSError):
                os.write(_STANDARD_ERROR, _FINISHING)
        if again or self._reading:
            raise KeyboardInterrupt
