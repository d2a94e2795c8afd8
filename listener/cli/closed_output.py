"""Output that cannot be written: its reader has ended (``jobs list | head -1``), or it is closed (``>&-``)."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from listener.core.exit_codes import ExitCode


def open_closed_streams() -> None:
    """Standard streams that the process was started without lead nowhere.

    Otherwise the next file, such as the store, would get the descriptor of standard output.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest descriptor that is free: this one
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the process ends
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the process ends


@contextmanager
def ended_by_reader() -> Iterator[None]:
    """End the process with the status of SIGPIPE, without a word, if its output cannot be read any more."""
    try:
        yield
    except BrokenPipeError:  # of the output, or of anything else
        if not _discard_unread():
            raise
        sys.exit(ExitCode.READER_ENDED)
    except BaseException:  # raised again, with its own status
        _discard_unread()
        raise


def wait_for_reader(seconds: float) -> None:
    """Wait for so long. Raises BrokenPipeError as soon as the reader of standard output has ended, which a program that
    has nothing to write would not notice."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # not a file, as in tests
        descriptor = None
    poll = select.poll()
    if descriptor is not None:
        poll.register(descriptor, 0)
    if _has_ended(poll.poll(seconds * 1000)):
        raise BrokenPipeError


def _discard_unread() -> bool:
    """Whether standard output or standard error has lost its reader.

    What is still buffered for it is discarded, since Python would write it at the end of the process, and complain.
    """
    unread = [stream for stream in (sys.stdout, sys.stderr) if _lost_its_reader(stream)]
    for stream in unread:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    return bool(unread)


def _lost_its_reader(stream: TextIO) -> bool:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # not a file, as in tests; or closed
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return _has_ended(poll.poll(0))


def _has_ended(found: list[tuple[int, int]]) -> bool:
    return any(what & (select.POLLERR | select.POLLHUP) for _, what in found)
