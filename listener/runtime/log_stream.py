"""A text stream that neither fails nor blocks its writers, for a daemon's standard output and standard error.

Their other end is not under the daemon's control: a disk becomes full, a reader of a pipe ends or stalls. Log lines
are then dropped and counted; the work continues.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final, TextIO

#: How much text waits to be written at most. What exceeds it is dropped.
MAX_QUEUED: Final = 1 << 20
#: How long a writer waits for room when the reader is slow. After one such wait, lines are dropped without waiting,
#: until there is room again.
MAX_WAIT: Final = timedelta(seconds=1)
#: How long to wait before writing again what could not be written.
RETRY_INTERVAL: Final = timedelta(milliseconds=500)


class LogStream(io.TextIOBase):
    """Queues text, which a background thread writes to ``target``. Safe to use from several threads.

    ``report_dropped`` is called in that thread with the number of lines that were dropped, as soon as there is room
    for its own line about them.
    """

    def __init__(self, target: TextIO, *, report_dropped: Callable[[int], None]) -> None:
        self._target = target
        self._write_bytes = _bytes_writer(target)
        self._report_dropped = report_dropped
        self._owner = os.getpid()
        # Reentrant: the garbage collector may run code that writes a warning while this thread holds the lock.
        self._lock = threading.RLock()
        self._arrived = threading.Condition(self._lock)  #: there is text to write, or the thread is to end
        #: There is room, or writing fails, or the thread ends.
        self._progressed = threading.Condition(self._lock)
        self._queued: list[str] = []
        self._queued_length = 0
        self._unreported = 0  #: lines that were dropped since the last report
        self._thread: threading.Thread | None = None
        self._slow = False  #: whether a writer has waited for room without success since there was some
        self._failing = False  #: whether the last attempt to write raised an error
        self._finishing = threading.Event()
        self.dropped = 0  #: how many lines were dropped so far

    def write(self, text: str, /) -> int:
        """Write soon; returns at once unless the reader is slow."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if os.getpid() == self._owner:
            self._put(text)
        else:  # a forked child does not have the thread
            self._write_now(text)
        return len(text)

    def flush(self) -> None:
        """Does nothing: everything is written as soon as possible."""

    def finish(self, limit: timedelta) -> None:
        """Write what is queued, and wait for that, but not longer than the limit. What fails is not retried."""
        with self._lock:
            if self._thread is not None:
                self._finishing.set()
                self._arrived.notify()
                self._progressed.wait_for(lambda: self._thread is None, limit.total_seconds())

    # what else the users of sys.stderr and sys.stdout expect

    @property
    def encoding(self) -> str:  # type: ignore[override] # a class attribute in typeshed
        return self._target.encoding or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override] # a class attribute in typeshed
        return "backslashreplace"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._target.isatty()

    def fileno(self) -> int:
        return self._target.fileno()

    @property
    def buffer(self) -> io.RawIOBase:
        """For those who write bytes; as little as this stream, it fails or blocks."""
        return _Bytes(self)

    # in the threads that write

    def _put(self, text: str) -> None:
        with self._lock:
            if not self._has_room(text) and not (self._slow or self._failing):
                room = self._progressed.wait_for(
                    lambda: self._failing or self._has_room(text), MAX_WAIT.total_seconds()
                )
                self._slow = self._slow or not room
            if not self._has_room(text):
                lines = text.count("\n")
                self.dropped += lines
                self._unreported += lines
                return
            self._queued.append(text)
            self._queued_length += len(text)
            self._start_thread()
            self._arrived.notify()

    def _write_now(self, text: str) -> None:
        left = memoryview(self._encoded(text))
        with contextlib.suppress(OSError, ValueError):
            while left:
                left = left[self._write_bytes(left) :]

    def _has_room(self, text: str) -> bool:
        return not self._queued or self._queued_length + len(text) <= MAX_QUEUED

    def _start_thread(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="log stream", daemon=True)
            with contextlib.suppress(RuntimeError):  # no more threads are allowed: the next write tries again
                thread.start()
                self._thread = thread

    # in the background thread

    def _run(self) -> None:
        while (text := self._take()) is not None:
            self._write_out(self._encoded(text))

    def _take(self) -> str | None:
        """All that is queued, once there is something; None if the thread is to end."""
        with self._lock:
            self._slow = False
            while not self._queued:
                if self._finishing.is_set():
                    self._end()
                    return None
                self._arrived.wait()
            text = "".join(self._queued)
            self._queued.clear()
            self._queued_length = 0
            dropped, self._unreported = self._unreported, 0
            self._progressed.notify_all()
        if dropped:
            self._report_dropped(dropped)
        return text

    def _end(self) -> None:
        self._finishing.clear()
        self._thread = None
        self._progressed.notify_all()

    def _write_out(self, data: bytes) -> None:
        """Retried until it succeeds, or until the stream is to finish."""
        left = memoryview(data)
        while left:
            try:
                left = left[self._write_bytes(left) :]
                self._failing = False
            except BlockingIOError:  # another process that has the same file open made it non-blocking
                select.select([], [self._target], [], RETRY_INTERVAL.total_seconds())
            except (OSError, ValueError):  # a full disk, a reader that is gone; a closed stream
                self._fail()
                if self._finishing.is_set():
                    return
                self._finishing.wait(RETRY_INTERVAL.total_seconds())

    def _fail(self) -> None:
        with self._lock:
            self._failing = True
            self._progressed.notify_all()

    def _encoded(self, text: str) -> bytes:
        return text.encode(self.encoding, self.errors)


class _Bytes(io.RawIOBase):
    """Passes bytes on as text."""

    def __init__(self, stream: LogStream) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._stream.write(str(data, self._stream.encoding, self._stream.errors))
        return len(data)


def _bytes_writer(target: TextIO) -> Callable[[memoryview], int]:
    """Writes some of the bytes to the file, and returns how many.

    Not through the target's own buffer: it would keep what could not be written, and a thread that blocks while it
    holds the buffer's lock would abort the interpreter's exit.
    """
    try:
        return partial(os.write, target.fileno())
    except OSError:  # a stream in memory, as in tests
        return partial(_write_in_memory, target)


def _write_in_memory(target: TextIO, data: memoryview) -> int:
    target.write(str(data, target.encoding or "utf-8"))
    target.flush()
    return len(data)
