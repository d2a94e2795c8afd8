"""Whether a file has changed."""

from __future__ import annotations

import os

#: Device, inode, size and time of the last change. A file that is replaced gets another inode.
FileVersion = tuple[int, int, int, int]


def file_version(path: str) -> FileVersion | None:
    """The version of this file, which a change or a replacement makes different; None if it cannot be read."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
