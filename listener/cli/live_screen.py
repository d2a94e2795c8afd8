"""Lines that are shown again and again at a terminal, until a key ends it."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Group
from rich.live import Live
from rich.text import Text

from listener.cli.table import cell_text
from listener.core.check_result import Level
from listener.core.errors import StoreUnavailable

_STYLES: Final = {Level.OK: "", Level.WARNING: "yellow", Level.FAILED: "bold red"}


def show(lines: Callable[[], Sequence[tuple[Level, str]]], *, interval: float) -> None:
    """Until q is pressed. While the store is unavailable, the last lines stay, below the error."""
    shown: Sequence[tuple[Level, str]] = ()
    with _keys() as ended, Live(screen=True, auto_refresh=False) as live:
        while True:
            trouble = ""
            try:
                shown = lines()
            except StoreUnavailable as error:
                trouble = cell_text(str(error))
            above = [(Level.FAILED, trouble)] if trouble else []
            texts = [Text(line, style=_STYLES[level]) for level, line in (*above, *shown)]
            live.update(Group(*texts), refresh=True)
            if ended(interval):
                return


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """A function that waits for so many seconds, or until a key is pressed; returns whether it was q."""
    descriptor = sys.stdin.fileno()
    if not sys.stdin.isatty():
        yield lambda seconds: bool(select.select([], [], [], seconds)[0])
        return
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor, termios.TCSANOW)  # by default, it discards keys that were pressed before
    try:
        yield lambda seconds: _pressed_q(descriptor, seconds)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _pressed_q(descriptor: int, seconds: float) -> bool:
    if not select.select([descriptor], [], [], seconds)[0]:
        return False
    pressed = os.read(descriptor, 64)
    return not pressed or b"q" in pressed.lower()
