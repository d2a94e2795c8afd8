"""Lets a test set the wall clock of a program: the offset in seconds is in the file ``offset`` in its folder.

A program loads this through a ``sitecustomize`` module on its path. Requests are signed with the true time, so that the
emulator accepts them: the worst case, in which only the date of the replies shows that the clock is wrong.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from listener.core import clock

OFFSET = Path("offset")


def follow() -> None:
    true_now = clock.now

    def now() -> datetime:
        return true_now() + timedelta(seconds=float(OFFSET.read_text("ascii")))

    clock.now = now


def install(folder: Path) -> None:
    """Let the programs that are started in this folder load this."""
    (folder / "sitecustomize.py").write_text("from tests.support.shifted_clock import follow\nfollow()\n")
    set_clock(folder, timedelta(0))


def set_clock(folder: Path, offset: timedelta) -> None:
    """Set the clock of the running programs, without a moment in which the file is empty."""
    new = folder / "offset.new"
    new.write_text(str(offset.total_seconds()), "ascii")
    new.rename(folder / OFFSET)
