"""Append every result to a file, one JSON object per line."""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from listener import JobResult, Unavailable

from .json_encoding import json_bytes


def jsonl(*, path: Path, fsync: bool = False) -> JsonLines:
    """Build a handler that appends to ``path``; with ``fsync``, a line counts once it is on the disk.

    Raises OSError if the file cannot be written. It is not created yet: whoever checks the settings may be
    another user than the one that the listener runs as.
    """
    target = path if path.exists() else path.parent
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not target.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target))
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    return JsonLines(path=path, fsync=fsync)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLines:
    """Appends lines atomically with respect to other threads and processes.

    The file is opened for each line, so that it may be renamed or removed at any time, e.g. by logrotate.
    """

    path: Path
    fsync: bool = False

    def __call__(self, result: JobResult, /) -> None:
        """Append one line. Raises Unavailable if the file cannot be written, e.g. on a full disk."""
        try:
            self._append(json_bytes(result) + b"\n")
        except OSError as error:
            raise Unavailable(f"{self.path}: {error.strerror}") from error

    def _append(self, line: bytes) -> None:
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # released by close, or by the exit of a crashed process
            size = os.fstat(file).st_size
            _write_atomically(file, _line_break_if_incomplete(file, size) + line, size)
            if self.fsync:
                os.fsync(file)
        finally:
            os.close(file)


def _line_break_if_incomplete(file: int, size: int) -> bytes:
    """A line break if a crashed writer left a partially written line, which is kept."""
    return b"\n" if size and os.pread(file, 1, size - 1) != b"\n" else b""


def _write_atomically(file: int, data: bytes, size: int) -> None:
    """Write all or nothing: a disk that fills up may accept only the first part of a line."""
    if os.write(file, data) < len(data):
        os.ftruncate(file, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
