"""Standard output and standard error of a daemon: neither can fail or block the work, whatever is at the other end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Final

from listener.core import clock
from listener.core.logger import get_logger
from listener.runtime.log_stream import LogStream

log = get_logger(__name__)

#: How long the end of the process waits for a reader that takes what is still to be written.
FINISH_TIMEOUT: Final = timedelta(seconds=2)


class Output:
    """Both streams. Replaces ``sys.stdout`` and ``sys.stderr``, so that it includes what handlers print."""

    def __init__(self) -> None:
        # A handler's print must not block either. The log comes first, since it is finished first.
        self._streams = {
            "stderr": LogStream(sys.stderr, report_dropped=partial(_report_dropped, "stderr")),
            "stdout": LogStream(sys.stdout, report_dropped=partial(_report_dropped, "stdout")),
        }

    def lines_dropped(self) -> Mapping[str, int]:
        """How many lines could not be written, by the name of the stream."""
        return {name: stream.dropped for name, stream in self._streams.items()}

    def finish(self) -> None:
        """Write what is queued, as far as possible within ``FINISH_TIMEOUT``."""
        deadline = clock.monotonic() + FINISH_TIMEOUT.total_seconds()
        for stream in self._streams.values():
            stream.finish(timedelta(seconds=max(0.0, deadline - clock.monotonic())))

    def install(self) -> None:
        sys.stdout, sys.stderr = self._streams["stdout"], self._streams["stderr"]


@contextmanager
def background_output() -> Iterator[Output]:
    """Until the end of the ``with``, lines that cannot be written are dropped and counted; then the rest is written."""
    before = sys.stdout, sys.stderr
    output = Output()
    output.install()
    try:
        yield output
    finally:
        sys.stdout, sys.stderr = before
        output.finish()


def _report_dropped(stream: str, lines: int) -> None:
    log.warning("log.lines_dropped", stream=stream, lines=lines)
